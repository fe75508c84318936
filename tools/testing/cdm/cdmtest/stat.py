# SPDX-License-Identifier: GPL-2.0
"""Lines that the hooks add to and remove from existing kernel files.

  $ scripts/stat
    +2   -0  mm/page_alloc.c
    +2   -0  total: 2 changed lines of at most 252

Fails when they exceed the budget: what can live in our own files should.
"""

import argparse
import re
import sys

from . import files, hooks, log, paths

BUDGET = 252


def count(patch):
    """{file: [lines added, lines removed]}"""
    found, here, left, right = {}, None, 0, 0
    for line in files.read(patch).decode().splitlines():
        # Only inside a hunk: its header tells how many lines follow.
        if left > 0 or right > 0:
            kind = line[:1]
            if kind == "\\":
                continue
            left -= kind != "+"
            right -= kind != "-"
            here[0] += kind == "+"
            here[1] += kind == "-"
            continue
        m = re.match(r"\+\+\+ (?:b/)?(\S+)", line)
        if m:
            here = found.setdefault(m[1], [0, 0])
        m = re.match(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", line)
        if m:
            left, right = (1 if x is None else int(x) for x in m.groups())
    return found


def main():
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    ).parse_args()
    place = paths.Place()
    if not hooks.series(place):
        log.die(f"no series in {place.hooks}")
    total = {}
    for _, path in hooks.paths_of(place):
        for name, (add, cut) in count(path).items():
            old = total.get(name, (0, 0))
            total[name] = (old[0] + add, old[1] + cut)
    adds, cuts = (sum(x[i] for x in total.values()) for i in (0, 1))
    rows = [*sorted(total.items()),
            (f"total: {adds + cuts} changed lines of at most {BUDGET}",
             (adds, cuts))]
    for name, (add, cut) in rows:
        print(f"{f'+{add}':>6} {f'-{cut}':>6}  {name}")
    sys.exit(adds + cuts > BUDGET)
