# SPDX-License-Identifier: GPL-2.0
"""Run the tests that go by chance again and again in one guest of the debug
lane, each time with another seed.

  $ scripts/soak 30
  soak: seed 41230: test_stress
  ...
  soak: 28 rounds in 30 min from seed 41230: no failure

A round that fails ends it, and prints its seed: scripts/soak -s SEED starts
there. At the end no page of a device is in use, the kernel's log has no
complaint, and no memory was leaked.
"""

import argparse
import random
import subprocess
import sys
import time

from . import log, paths


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("minutes", nargs="?", type=float, default=30)
    ap.add_argument("-s", "--seed", type=int,
                    default=random.randrange(1, 1 << 16) * 10)
    ap.add_argument("--lane", default="debug")
    args = ap.parse_args()

    place = paths.Place(args.lane)
    if subprocess.call([f"{paths.SCRIPTS}/check", "--build", place.lane]):
        sys.exit(1)
    to = f"{place.logs}/soak.log"
    # The limit is in time of the fast lane; the guest stops by itself.
    limit = 300 + args.minutes * 60
    began, rounds = time.monotonic(), 0
    cmd = [f"{paths.SCRIPTS}/vm", "run", "--lane", place.lane, "--leaks",
           "--log", f"{to}.kernel", "--timeout", str(limit), "--",
           f"{paths.GUEST}/soak", str(int(args.minutes * 60)),
           str(args.seed)]
    with open(to, "w") as out, subprocess.Popen(
            cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace") as p:
        for line in p.stdout:
            out.write(line)
            out.flush()
            if line.startswith("soak: "):
                rounds += 1
                print(line, end="", flush=True)
    if p.returncode:
        log.note(log.tail(to))
    print(f"soak: {rounds} rounds in {(time.monotonic() - began) / 60:.0f} min "
          f"from seed {args.seed}: "
          + (f"FAILED, see {to}" if p.returncode else "no failure"))
    sys.exit(p.returncode != 0)

