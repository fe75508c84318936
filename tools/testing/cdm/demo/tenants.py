#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: GPL-2.0-only
"""Show the samples of the demo of two tenants: charts, numbers, a verdict.

  tenants.py [--png FILE] SAMPLES

SAMPLES has the lines that tenants-guest.sh prints. The charts are text: plain
ASCII unless the locale says UTF-8, with colours only on a terminal. --png draws
them with gnuplot as well. The exit status is 1 if the run with cdm.low was not
as it should be, as the last lines say.
"""

import argparse
import itertools
import os
import shutil
import subprocess
import sys

MIB = 1 << 20
ROWS = 10
TITLES = {
    "none": "No control: cdm is there, and no group has a limit or protection.\n"
            "What finds no room takes RAM (the default policy, fallback)",
    "max": "cdm.max only: each tenant may have half of the device",
    "low": "cdm.low and policy reclaim: the protected tenant is promised half\n"
           "of the device, the greedy one may have all that is there",
}
SHORT = {"none": "no control", "max": "cdm.max", "low": "cdm.low"}
# What the run with cdm.low has to reach.
PROTECTED, IN_USE, DEMOTIONS = 0.95, 0.99, 1.2


def parse(path):
    """(the setup, {run: [{"greedy": {...}, "node": {...}, ...} of a round]})"""
    setup, runs = {}, {}
    with open(path, encoding="ascii") as f:
        for line in f:
            row = dict(word.split("=", 1) for word in line.split())
            row = {k: int(v) if v.isdigit() else v for k, v in row.items()}
            if row["name"] == "setup":
                setup = row
                continue
            rounds = runs.setdefault(row["run"], [])
            if row["round"] > len(rounds):
                rounds.append({})
            rounds[-1][row["name"]] = row
    return setup, runs


class Numbers:
    """What is said about a run; None where there is nothing to say."""

    def __init__(self, setup, rounds):
        page, capacity = setup["page"], setup["capacity"]
        both = [r for r in rounds if "protected" in r]
        alone = rounds[len(rounds) - len(both) - 1]
        last = both[-1]

        self.served = {
            name: sum(r[name]["served"] for r in both) /
            sum(r[name]["accesses"] for r in both)
            for name in ("greedy", "protected")}

        # Of the pages that cdm.low promises to protect, once they are there.
        shares = [r["protected"]["device"] /
                  min(r["protected"]["pages"], setup["low"] // page)
                  for r in both]
        self.resident, self.resident_least = shares[-1], min(shares)

        self.used_alone = alone["node"]["used"] / capacity
        wanted = [r["node"]["used"] / capacity for r in rounds
                  if r["greedy"]["pages"] * page >= capacity]
        self.used, self.used_least = sum(wanted) / len(wanted), min(wanted)
        # kswapd works for the policy reclaim, and keeps some of it free.
        self.free = setup["reserve"] / capacity
        self.used_of_all = self.used / (1 - self.free)

        # Bytes, of whole pages.
        self.demoted = sum(last[n]["demoted"]
                           for n in self.served) // page
        self.own = last["protected"]["demoted"] // page
        self.given = max(0, alone["greedy"]["device"] -
                         last["greedy"]["device"])
        self.per_page = self.demoted / self.given if self.given else None


def percent(x):
    return f"{100 * x:.1f} %"


def table(runs):
    """The numbers of all runs, side by side."""
    def each(title, function):
        print(f"  {title:46}" +
              "".join(f"{function(n):>12}" for n in runs.values()))

    print(f"  {'':46}" + "".join(f"{SHORT[r]:>12}" for r in runs))
    each("accesses served by the device: greedy",
         lambda n: percent(n.served["greedy"]))
    each("                               protected",
         lambda n: percent(n.served["protected"]))
    each("protected tenant's pages on the device: least",
         lambda n: percent(n.resident_least))
    each("                                        at end",
         lambda n: percent(n.resident))
    each("device in use: greedy tenant alone",
         lambda n: percent(n.used_alone))
    each("               since it wants all",
         lambda n: percent(n.used))
    each("               the least since then",
         lambda n: percent(n.used_least))
    each("               kept free by kswapd, if asked to",
         lambda n: percent(n.free))
    each("pages that the greedy tenant handed over", lambda n: n.given)
    each("pages demoted", lambda n: n.demoted)
    each("  per page handed over",
         lambda n: "-" if n.per_page is None else f"{n.per_page:.3f}")
    each("  the protected tenant's own", lambda n: n.own)


def verdict(n):
    """Whether cdm.low did what it is for, and each reason why (not)."""
    wrong = False

    def line(ok, text):
        nonlocal wrong
        wrong |= not ok
        print(f"  {'ok   ' if ok else 'WRONG'}  {text}")

    line(n.resident_least >= PROTECTED,
         f"{percent(n.resident_least)} of the protected pages are on the device in "
         f"every sample (at least {percent(PROTECTED)})")
    line(n.used_of_all >= IN_USE,
         f"{percent(n.used_of_all)} of what the device can give are in use "
         f"(at least {percent(IN_USE)})")
    line(n.per_page is not None and n.per_page <= DEMOTIONS,
         (f"{n.per_page:.3f} pages are demoted per page handed over" if n.given
          else "no page is handed over") + f" (at most {DEMOTIONS})")
    line(n.own == 0,
         f"{n.own} of the protected tenant's own pages are demoted (none)")
    return not wrong


# Charts in the terminal.

def utf8():
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        if os.environ.get(name):
            return "utf" in os.environ[name].lower()
    return False


class Chart:
    """Who has the device, round by round: the greedy tenant's part from below,
    the protected one's on top of it.
    """

    def __init__(self):
        self.axis, self.corner = "|", "+"
        self.cells = {"greedy": ":", "protected": "#", "": " "}
        self.line = "-"
        if utf8():
            self.axis, self.corner, self.line = "│", "└", "─"
            self.cells.update(greedy="░", protected="█")
        self.colour = {}
        if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" \
                and "NO_COLOR" not in os.environ:
            self.colour = {"greedy": "\033[33m", "protected": "\033[32m"}

    def cell(self, who, times=1):
        text = self.cells[who] * times
        return f"{self.colour[who]}{text}\033[0m" if who in self.colour else text

    def legend(self):
        return "   ".join(f"{self.cell(who)} the {who} tenant's"
                          for who in ("greedy", "protected"))

    def draw(self, setup, rounds):
        capacity, page = setup["capacity"], setup["page"]
        for row in range(ROWS, 0, -1):
            label = {ROWS: f"{capacity // MIB} M",
                     ROWS // 2: f"{capacity // 2 // MIB} M"}.get(row, "")
            middle, whose = (row - 0.5) / ROWS * capacity, []
            for r in rounds:
                greedy = r["greedy"]["device"] * page
                both = greedy + r.get("protected", {}).get("device", 0) * page
                whose.append("greedy" if greedy > middle else
                             "protected" if both > middle else "")
            cells = "".join(self.cell(who, len(list(same)))
                            for who, same in itertools.groupby(whose))
            print(f"  {label:>6} {self.axis}{cells.rstrip()}")
        print(f"  {'':6} {self.corner}{self.line * len(rounds)}")
        alone, before = setup["alone"], "greedy alone"
        before = before if len(before) < alone else ""
        print(f"  {'':7} {before:{alone}}^ both, and "
              f"{setup['requests']} requests of each per column")


# The same by gnuplot.

PLOT = """
set terminal pngcairo size 1500,760 font "DejaVu Sans,10"
set output "{png}"
set multiplot layout 2,{columns} title "{title}" font ",13"
set style fill solid 0.8 noborder
set grid
set xrange [0:{last}]
set xlabel "thousand requests of the greedy tenant"
set arrow from {came},graph 0 to {came},graph 1 nohead front dashtype 2
set key bottom right opaque
"""


def data(setup, run, rounds):
    """A block of data: x, who has how much (MiB), accesses served (%)."""
    lines = [f"${run} << END", "0 0 0 NaN NaN"]
    for i, r in enumerate(rounds, 1):
        greedy, protected = r["greedy"], r.get("protected")
        mib = [x["device"] * setup["page"] / MIB if x else 0
               for x in (greedy, protected)]
        served = [100 * x["served"] / x["accesses"] if x else "NaN"
                  for x in (greedy, protected)]
        lines.append(f"{i * setup['requests'] / 1000} {mib[0]} {sum(mib)} "
                     f"{served[0]} {served[1]}")
    return "\n".join(lines + ["END", ""])


def plot(setup, runs, path):
    """Draw path; says why when it cannot."""
    if not shutil.which("gnuplot"):
        print(f"  no gnuplot here (package gnuplot-nox), so no {path}")
        return
    text = "".join(data(setup, *r) for r in runs.items())
    text += PLOT.format(
        png=path, columns=len(runs),
        title="Two tenants on one device: who has it, and what it serves",
        last=max(len(r) for r in runs.values()) * setup["requests"] / 1000,
        came=setup["alone"] * setup["requests"] / 1000)
    text += (f"set yrange [0:{setup['capacity'] / MIB}]\n"
             "set ylabel \"on the device, MiB\"\n")
    for run in runs:
        text += (f"set title \"{SHORT[run]}\"\n"
                 f"plot ${run} using 1:2 with filledcurves y1=0 "
                 "lc rgb \"#e0a030\" title \"greedy\", "
                 f"${run} using 1:2:3 with filledcurves lc rgb \"#308050\" "
                 "title \"protected\"\n")
    text += ("unset title\nset yrange [0:105]\n"
             "set ylabel \"accesses served by the device, %\"\n"
             "unset key\n")
    for run in runs:
        text += (f"plot ${run} using 1:4 with lines lw 2 lc rgb \"#e0a030\", "
                 f"${run} using 1:5 with lines lw 2 lc rgb \"#308050\"\n")
    p = subprocess.run(["gnuplot"], input=text, text=True, check=False,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if p.returncode:
        print(f"  gnuplot failed, so no {path}: {p.stdout.strip()}")
    else:
        print(f"  The charts as a picture: {path}")


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("--png", metavar="FILE", help="draw the charts there")
    ap.add_argument("samples")
    args = ap.parse_args()
    sys.stdout.reconfigure(encoding="utf-8")

    setup, runs = parse(args.samples)
    numbers = {run: Numbers(setup, rounds) for run, rounds in runs.items()}
    chart = Chart()
    print(f"  {chart.legend()} pages on the device")
    for i, (run, rounds) in enumerate(runs.items(), 1):
        title = TITLES[run].replace("\n", "\n     ")
        print(f"\n  {i}. {title}\n")
        chart.draw(setup, rounds)
    print()
    table(numbers)
    print()
    if args.png:
        plot(setup, runs, args.png)
        print()
    if "low" not in numbers:
        print("  WRONG  there is no run with cdm.low")
    passed = "low" in numbers and verdict(numbers["low"])
    print("\nPASS: the protected tenant has what cdm.low promises" if passed
          else "\nFAIL: cdm.low did not do its work")
    sys.exit(not passed)


if __name__ == "__main__":
    main()
