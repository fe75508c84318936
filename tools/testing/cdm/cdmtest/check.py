# SPDX-License-Identifier: GPL-2.0
"""Run the checks and tests: all of them, or those named.

  $ scripts/check codespell test_core
  ok      codespell (1 s)
  ok      test_core: cdm.max of the root is refused
  ...
  ok      test_core (9 s)
  12 passed, 0 failed

Every case of a test program is a result, and so is its clean end. A skipped
case has failed. LANE=full picks another kernel for the tests in the guest.
"""

import argparse
import signal
import sys
import time

from . import log, packages
from .checks import ASIDE, builds, catalogue
from .jobs import Jobs
from .pool import Pool, closure
from .report import Report


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("--list", action="store_true", help="only show the names")
    ap.add_argument("--build", metavar="LANE",
                    help="only build that kernel and the guest's programs")
    ap.add_argument("name", nargs="*")
    args = ap.parse_args()

    # What is still running ends with this, as at any other exit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    report = Report()
    jobs = Jobs(report)
    todo = catalogue(jobs)
    if args.list:
        print("\n".join(todo))
        return
    if args.build:
        packages.need("python", "tree", "build", "vm")
        sys.exit(not (jobs.tree() and jobs.kernel(args.build) and
                      jobs.programs()))
    unknown = [n for n in args.name if n not in todo]
    if unknown:
        log.die(f"no such test: {' '.join(unknown)} (make test shows them)")
    packages.need("python", "tree", "build", "vm", "check")
    began = time.monotonic()
    names = args.name or [n for n in todo if n not in ASIDE]
    Pool(jobs).run(closure({**builds(jobs), **todo}, names))
    log.note("\n".join(jobs.costs.table()))
    log.note(f"({(time.monotonic() - began) / 60:.0f} min; logs in "
             f"{jobs.place.logs})")
    print(f"{report.passed} passed, {report.failed} failed")
    sys.exit(report.failed > 0 or report.passed == 0)

