# SPDX-License-Identifier: GPL-2.0
"""What is asked of the costs that the bench measures, and what they were.

Documentation/mm/cdm/bench.rst has the reasons of each target.
"""

import json

from . import files, paths

BENCH = f"{paths.TESTING}/bench"


class Row:
    """A target: what must be, what would be good, and what is. Where the
    first is out of reach, and Documentation/mm/cdm/bench.rst shows why, floor
    is what it has come down to: that must not be exceeded then.
    """

    def __init__(self, title, must, aim, measured, note="", digits=0,
                 key=None, floor=None):
        self.title, self.must, self.aim = title, must, aim
        self.measured, self.note, self.digits = measured, note, digits
        self.key = key		# in the recorded baseline
        self.floor = floor

    @property
    def state(self):
        if self.measured is None:
            return "-"
        # A digit more than the target has: 1.0246 is more than 1.02.
        value = round(self.measured, self.digits + 1)
        if value <= self.aim:
            return "aim"
        if value <= self.must:
            return "must"
        if self.floor is not None and value <= self.floor:
            return f"floor ({self.floor:g})"
        return "MISSED"

    def cells(self):
        def number(x):
            return "-" if x is None else f"{x:.{self.digits}f}"
        shown = "-" if self.measured is None else \
            f"{self.measured:.{max(self.digits, 1)}f}"
        return [self.title, number(self.must), number(self.aim), shown,
                self.state, self.note]


class Figures:
    """Looks up figures of several cases; None where one is missing."""

    def __init__(self, results):
        self.results = results

    def get(self, kernel, case, what="p50"):
        return self.results.get(kernel, {}).get(case, {}).get(what)

    def total(self, kernel, *cases, what="p50"):
        found = [self.get(kernel, c, what) for c in cases]
        return None if None in found else sum(found)

    def more(self, kernel, base, *cases, what="p50"):
        """What the cases cost in one kernel beyond another."""
        a, b = self.total(kernel, *cases, what=what), \
            self.total(base, *cases, what=what)
        return None if a is None or b is None else a - b

    @staticmethod
    def ratio(a, b):
        return a / b if a is not None and b else None


def targets(results, lines, removal, own):
    """The rows; lines is (of cdm, of memcg's charge, of what cdm counts in),
    shared writes a pair, removal the functions that remove a group, and own
    those of cdm.
    """
    f = Figures(results)
    old, idle, cdm = "unpatched", "no-node", "cdm"

    def pair(depth, what="p50"):
        return f.more(cdm, old, f"page/device/d{depth}",
                      f"page-free/device/d{depth}", what=what)

    def charge(depth):
        """What cdm's own functions do for a pair, whatever else they save."""
        cases = [results[cdm].get(f"{c}/device/d{depth}") for c in
                 ("page", "page-free")]
        return None if None in cases else sum(
            v[0] for c in cases for k, v in c["functions"].items() if k in own)

    ram = ["fault/ram/d1", "free/ram/d1"]
    account = f.total(old, "account/ram/d1", "account-free/ram/d1")
    plain = f.total(old, "kernel/ram/d1", "kernel-free/ram/d1")
    account = account - plain if account and plain else 0
    one, eight, spread = (
        f.more(cdm, old, c, what="locked")
        for c in ("turns/1", "turns/8", "turns/8-spread"))
    huge = f.more(cdm, old, "page2m/device/d1")
    hooks = f.more(cdm, old, "fault/ram/d1")
    split = results[cdm].get("demote-max-2m/d1", {}).get("split")

    def removing(nr):
        case = results[cdm].get(f"rmdir-held/{nr}")
        return case and sum(v[0] for k, v in case["functions"].items()
                            if k in removal)

    big = max((int(c.split("/")[1]) for c in results[cdm]
               if c.startswith("rmdir-held/")), default=0)
    depleted = f.ratio(f.get(cdm, "fault/prefer/d1/full"),
                       f.get(old, "fault/prefer/d1/full"))

    def other(text, value, digits=2):
        return "" if value is None else text.format(f"{value:.{digits}f}")

    return [
        Row("RAM fault + free, no CDM node", 8, 4, f.more(idle, old, *ram),
            "over unpatched", key="no-node"),
        Row("  locked operations of it", 0, 0,
            f.more(idle, old, *ram, what="locked"), "over unpatched"),
        Row("RAM fault + free, CDM node, in a cdm leaf", 16, 10,
            f.more(cdm, old, *ram), "over unpatched", key="cdm", floor=24),
        Row("pair at depth 1", 90, 60, pair(1),
            f"__GFP_ACCOUNT: {account:.0f}" if account else ""),
        Row("  cdm's own functions at depth 4 over depth 1", 1.10, 1.02,
            f.ratio(charge(4), charge(1)),
            other("{} a pair", charge(1), 0), 2),
        Row("locked operations a pair at depth 1", 0.063, 0.016,
            pair(1, "locked"), "cdm.max exact", 3),
        Row("shared-line writes a pair, 2 CPUs, 1 group", 0.13, 0.03, lines[0],
            other("__GFP_ACCOUNT: {}", lines[1], 3), 3, floor=0.5),
        Row("  to the lock and the counters, of that", 0.13, 0.03, lines[2],
            "the others by chance", 3),
        Row("eight groups in turn, locked over one's", 2, 1,
            f.ratio(eight, one), other("slots that collide: {}",
                                       f.ratio(spread, one)), 2),
        Row("cdm's share of a 2M fault", 300, 120,
            huge + hooks if huge is not None and hooks is not None else None),
        Row("demotion at cdm.max over memory.reclaim", 1.02, 0.85,
            f.ratio(f.get(cdm, "demote-max/d1"),
                    f.get(old, "demote-memory.reclaim/d1")),
            other("{} a 4K page", f.get(cdm, "demote-max/d1"), 0), 2,
            floor=1.10),
        Row("demotion of 2M mappings, by 4K page", 1700, 1700,
            f.get(cdm, "demote-max-2m/d1"),
            {"0": "not split", None: ""}.get(split, f"{split} SPLIT")),
        Row("fallback at cdm.max over that of a full node", 1.05, 1.00,
            f.ratio(f.get(cdm, "fault/prefer/d1/max"),
                    f.get(old, "fault/prefer/d1/full")),
            other("CDM node full: {}", depleted), 2),
        Row("move_pages to the node, cdm on over off", 1.02, 1.01,
            f.ratio(f.get(cdm, "move-in/d1"), f.get(idle, "move-in/d1")),
            other("2M: {}", f.ratio(f.get(cdm, "move2m-in/d1"),
                                    f.get(idle, "move2m-in/d1"))), 2),
        Row(f"rmdir with {big} charged pages over 100", 1.05, 1.00,
            f.ratio(removing(big), removing(100)), "", 2),
    ]


def interrupts(calls):
    """Rows of what a CPU sends to the others; calls is {CPUs: {case: ...}}.
    Those of a drain are limited by time, to ten a second for each CPU that the
    group runs on; the others should be none, but for what is not ours.
    """
    def row(cpus, case, what, limit):
        got = calls[cpus].get(f"calls/{case}")
        return Row(f"interrupts by 1000 {what}, {cpus} CPUs", limit, limit / 2,
                   got and 1000 * got["calls"] / got["n"], digits=0)
    return [row(cpus, *rest) for cpus in calls for rest in (
        ("reader", "reads", 25 * cpus),
        ("full", "rounds at a full quota", 25 * cpus),
        ("drain", "drains", 100 * (cpus - 1)))]


# What RAM cost when that was last recorded, by compiler.

RECORD = f"{BENCH}/baseline.json"
GROWTH = 2


def recorded(compiler):
    return json.loads(files.read(RECORD, b"{}")).get(compiler, {})


def record(compiler, rows):
    new = json.loads(files.read(RECORD, b"{}"))
    new.setdefault("license", "SPDX-License-Identifier: GPL-2.0")
    new[compiler] = {r.key: round(r.measured, 1) for r in rows if r.key}
    files.write(RECORD, json.dumps(new, indent=1) + "\n")


# Comparison with an earlier run.

def changes(old, new, least=0.5):
    """[(kernel, case, old p50, new p50, [(function, old, new), ...])]"""
    found = []
    for kernel, cases in new["results"].items():
        for name, case in cases.items():
            was = old["results"].get(kernel, {}).get(name)
            if not was:
                continue
            a, b = was.get("p50", was.get("insns")), \
                case.get("p50", case.get("insns"))
            before, after = was.get("functions", {}), case.get("functions", {})
            scale = max(least, 0.001 * (b or 0))
            names = {k for k in {**before, **after} if abs(
                after.get(k, [0])[0] - before.get(k, [0])[0]) >= scale}
            rows = sorted(((k, before.get(k, [0])[0], after.get(k, [0])[0])
                           for k in names), key=lambda r: -abs(r[2] - r[1]))
            if a is not None and b is not None and \
                    abs(a - b) >= max(least, 0.001 * b):
                found.append((kernel, name, a, b, rows))
    return found
