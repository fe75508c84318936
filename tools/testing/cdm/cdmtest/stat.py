# SPDX-License-Identifier: GPL-2.0
"""Lines that the hooks change in existing kernel files, and for what.

  $ scripts/stat
    +2   -0  mm/page_alloc.c
    +2   -0  total: 2 changed lines of at most 410

    +2   -0  mm/page_alloc: charge for device memory at the door

Documents do not count. Fails when the budget is exceeded: each of these lines
is carried from one kernel to the next, and read by maintainers who have no such
device, so what can be in our own files should be.
"""

import argparse
import re
import sys

from . import files, hooks, log, paths

# 116 of them are code that only the files' own functions can do: to allocate
# behind the door, in page_alloc.c, and to demote pages of a group, in vmscan.c.
# 79 are hugetlb's, which has to know for each page of a pool, each reservation
# and each target if it is RAM's. The others are the hooks, some 60 of three
# lines each.
BUDGET = 410
# What is not code.
DOCUMENTS = ("Documentation/", "MAINTAINERS")


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


def summed(table):
    return tuple(sum(n[i] for n in table.values()) for i in (0, 1))


def show(rows):
    for name, (add, cut) in rows:
        print(f"{f'+{add}':>6} {f'-{cut}':>6}  {name}")


def main():
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    ).parse_args()
    place = paths.Place()
    if not hooks.series(place):
        log.die(f"no series in {place.hooks}")
    total, concerns = {}, []
    for _, path in hooks.paths_of(place):
        code = {name: n for name, n in count(path).items()
                if not name.startswith(DOCUMENTS)}
        for name, (add, cut) in code.items():
            old = total.get(name, (0, 0))
            total[name] = (old[0] + add, old[1] + cut)
        title, _, _ = hooks.message_of(path).partition("\n")
        concerns.append((title, summed(code)))
    adds, cuts = summed(total)
    show(sorted(total.items()))
    show([(f"total: {adds + cuts} changed lines of at most {BUDGET}",
           (adds, cuts))])
    print()
    show((title, n) for title, n in concerns if any(n))
    sys.exit(adds + cuts > BUDGET)
