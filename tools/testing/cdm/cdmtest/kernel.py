# SPDX-License-Identifier: GPL-2.0
"""Configure and build the kernel of one lane, outside the repository.

  $ scripts/kernel fast
  kernel fast: /home/me/.cache/cdm/clones/.../build/fast (244 s)

The configuration is allnoconfig with the lane's fragments on top (see
tools/testing/cdm/configs/lanes); an option that did not stick is an error. With
--source and --build any tree can be built anywhere.
"""

import argparse
import os
import re
import subprocess
import sys

from . import files, kbuild, log, packages, paths

# Steps of a build from nothing, to show its progress the first time.
STEPS = 2150


def build(place):
    to = f"{place.logs}/build-{place.lane}.log"
    count = f"{place.build}/.steps"
    first = not os.path.exists(count)
    ok, done = kbuild.make(place, [place.arch.target], to,
                           f"kernel {place.lane}", STEPS if first else 0)
    if not ok:
        log.note(log.tail(to, 40,
                          r"error|Error|\*\*\*|undefined|warning:"))
        log.die(f"the build failed; all of it is in {to}")
    files.write(count, f"{done}\n")
    text = files.read(to).decode(errors="replace")
    warnings = [x for x in text.splitlines()
                if "warning:" in x and re.search(r"\bcdm", x)]
    if warnings:
        log.note("\n".join(warnings))


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("lane", nargs="?")
    ap.add_argument("--source", help="build this tree as it is")
    ap.add_argument("--build", help="build in this directory")
    ap.add_argument("--config-only", action="store_true")
    args = ap.parse_args()

    packages.need("build")
    place = paths.Place(args.lane)
    if args.source:
        place.tree = os.path.abspath(args.source)
        place.kind = "patched"
    elif subprocess.call([f"{paths.SCRIPTS}/tree", place.kind]):
        sys.exit(1)
    if args.build:
        place.build = os.path.abspath(args.build)
    place.lock(f"{place.lane} build")
    bar = log.Progress("")
    kbuild.configure(place)
    if not args.config_only:
        build(place)
    log.note(f"kernel {place.lane}: {place.build} ({bar.done():.0f} s)")

