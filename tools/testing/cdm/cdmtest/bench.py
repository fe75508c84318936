# SPDX-License-Identifier: GPL-2.0
"""Count what operations on memory cost, in instructions of the guest's kernel.

  $ scripts/bench --out now.json
  $ scripts/bench --baseline now.json

Three kernels, with the same configuration and compiler: the unpatched one, the
patched one without a CDM node, and the same with one. The machine's load makes
no difference to a count. Documentation/mm/cdm/bench.rst says how to read it.

Exit status: 1 if a target is missed or a guest failed.
"""

import argparse
import json
import os
import subprocess
import sys

from . import files, measure, packages, paths, targets

COLUMNS = ["unpatched", "no-node", "cdm"]


def grid(rows, align):
    """Columns as wide as they have to be; align is < or > for each of them."""
    wide = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  " + "  ".join(f"{cell:{a}{w}}" for cell, a, w
                               in zip(row, align, wide)).rstrip())


def show_cases(results):
    names = []
    for column in COLUMNS:
        for name in results[column]:
            if name not in names:
                names.append(name)
    rows = [["", *[x for c in COLUMNS for x in (c, "mean", "%", "lock")]]]
    for name in names:
        row = [name]
        for column in COLUMNS:
            case = results[column].get(name, {})
            if "p50" in case:
                row += [f"{case['p50']:.0f}", f"{case['mean']:.0f}",
                        f"{case['spread'] * 100:.2f}"]
            else:
                row += ["-", f"{case['insns']:.0f}" if "insns" in case else "-",
                        "-"]
            row.append(f"{case['locked']:.2f}" if "locked" in case else "-")
        rows.append(row)
    print("\nInstructions an operation: median, mean, spread of the median "
          "over repeats in %,\nand locked instructions\n")
    grid(rows, "<" + ">" * 4 * len(COLUMNS))


def show_targets(rows):
    print("\nTargets (medians of this run)\n")
    grid([["", "must", "aim", "measured", "", ""],
          *[r.cells() for r in rows]], "<>>><<")


def show_memory(sizes, measured):
    print("\nMemory, bytes\n")
    grid([["for each", ""], *[[k, str(v)] for k, v in sizes.items()]], "<>")
    if measured is not None:
        print("  (a group with files and all, as the guest's allocator has "
              f"it: {measured:.0f} more\n  than one that has the memory "
              "controller alone)")


def show_changes(old, new):
    if old["stamp"]["compiler"] != new["stamp"]["compiler"] or \
            old["kind"] != new["kind"]:
        print("\nThe baseline is of another compiler or set of cases: "
              f"{old['stamp']['compiler']}, {old['kind']}")
    print(f"\nChanges against {old['stamp']['when']}, instructions an operation"
          "\n")
    found = targets.changes(old, new)
    for kernel, name, a, b, functions in found:
        print(f"  {kernel}: {name}: {a:.1f} -> {b:.1f} ({b - a:+.1f})")
        for function, x, y in functions[:8]:
            print(f"      {function}: {x:.1f} -> {y:.1f} ({y - x:+.1f})")
    if not found:
        print("  none")


def build(lanes):
    for lane in lanes:
        if subprocess.call([f"{paths.SCRIPTS}/kernel", lane],
                           env=dict(os.environ, LANE=lane)):
            sys.exit(1)


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("--quick", action="store_true",
                    help="what the targets need, on a smaller device")
    ap.add_argument("--lanes", nargs=2, metavar=("UNPATCHED", "PATCHED"),
                    default=["bench-vanilla", "bench"])
    ap.add_argument("--repeat", type=int, default=3, metavar="N",
                    help="guests for each kernel, with other seeds (3)")
    ap.add_argument("--record", action="store_true",
                    help="make this the baseline that \"make check\" holds "
                    "RAM to;\nwith --quick --lanes vanilla fast, as there")
    ap.add_argument("--out", help="where the results go, as JSON")
    ap.add_argument("--baseline", help="an earlier run's, to compare with")
    args = ap.parse_args()

    packages.need("python", "tree", "build", "vm")
    old = json.loads(files.read(args.baseline)) if args.baseline else None
    build(args.lanes)
    kind = "quick" if args.quick else "full"
    new, rows, wrong = measure.collect(args.lanes, kind, args.repeat)
    path = args.out or f"{paths.Place().work}/bench.json"
    files.write(os.path.abspath(path), json.dumps(new, indent=1) + "\n")
    show_cases(new["results"])
    show_memory(new["memory"], new["group_bytes_measured"])
    if old:
        show_changes(old, new)
    show_targets(rows)
    if args.record:
        targets.record(new["stamp"]["compiler"], rows)
    print(f"\n{new['stamp']['compiler']}, {new['stamp']['qemu']}\n{path}")
    sys.exit(bool(wrong) or any(r.state == "MISSED" for r in rows))

