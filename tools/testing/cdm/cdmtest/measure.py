# SPDX-License-Identifier: GPL-2.0
"""What operations on memory cost: from runs of guests to figures."""

import re
import statistics
import time

from . import files, kbuild, log, proc, targets
from .benchguest import Bench, kernels

# Functions of each operation that are kept: those of so many instructions.
LEAST = 0.05

# Objects of the kernel.
COUNTERS = "kernel/cgroup/cdm.o"
OWN = f"mm/cdm/*.o {COUNTERS}"
MEMCG = "mm/memcontrol.o mm/page_counter.o"
# What removes a group. The rest of the guest goes on meanwhile.
REMOVAL = f"{OWN} {MEMCG} kernel/cgroup/*.o fs/kernfs/*.o"


def functions_of(place, objects):
    """Names of the functions that these objects of the kernel define, and that
    no other object does.
    """
    names, count = set(), {}
    for line in proc.run(["sh", "-c", f"nm --defined-only {objects}"],
                         cwd=place.build).splitlines():
        f = line.split()
        if len(f) == 3 and f[1] in "tT":
            names.add(f[2])
    for line in files.read(f"{place.build}/System.map").decode().splitlines():
        f = line.split()
        if f[1] in "tT":
            count[f[2]] = count.get(f[2], 0) + 1
    return {n for n in names if count.get(n) == 1}


def per_op(case, column, names=None):
    """A column of the profile by operation, of all functions or of some."""
    return sum(v[column] for k, v in case["functions"].items()
               if names is None or k in names) / case["n"]


def summary(runs):
    """One kernel's results over repeats: {case: figures}"""
    out = {}
    for name, first in runs[0].cases.items():
        same = [r.cases[name] for r in runs if name in r.cases]
        case = {"n": int(first["n"])}
        if "p50" in first:
            p50 = [c["p50"] for c in same]
            middle = statistics.median(p50)
            mean = statistics.median(c["mean"] for c in same)
            case.update(p50=middle, mean=round(mean, 2), spread=round(
                (max(p50) - min(p50)) / (middle or 1), 6))
        if first["functions"]:
            case["insns"] = round(statistics.median(
                per_op(c, 1) for c in same), 2)
            case["locked"] = round(statistics.median(
                per_op(c, 2) for c in same), 4)
            case["functions"] = {
                k: [round(x / first["n"], 3) for x in v[1:3]]
                for k, v in first["functions"].items()
                if v[1] / first["n"] >= LEAST or v[2] / first["n"] >= 0.001}
        for note, what in runs[0].notes.items():
            if note == f"split {name}":
                case["split"] = what
        out[name] = case
    return out


def group_bytes(runs):
    """What a group costs more than one without the controller, as measured."""
    kb = [runs[k][0].notes.get("kB of 1000 groups")
          for k in ("unpatched", "cdm")]
    return None if None in kb else (int(kb[1]) - int(kb[0])) * 1024 / 1000


def shared_writes(run, name, names):
    """Writes to shared lines by these functions, by pair of alloc and free.
    Which pages a CPU gets goes by chance, and so does whether the entries of
    two CPUs' pages share a line: the median of some windows.
    """
    found = [per_op(case, 3, names) for k, case in run.cases.items()
             if k.startswith(name)]
    return statistics.median(found) if found else None


# Bytes.

KMALLOC = [8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192]


def sizes(place):
    """Bytes by what they are for, from an object that has our structures."""
    where = f"{place.build}/bench"
    ok, _ = kbuild.make(place, [f"M={where}", "sizes.o"],
                        f"{place.logs}/bench-sizes.log", "bench", show=False)
    if not ok:
        log.note(log.tail(f"{place.logs}/bench-sizes.log"))
        log.die("could not compile sizes.c")
    found = {}
    for line in proc.run(["nm", "-S", f"{where}/sizes.o"]).splitlines():
        m = re.match(r"\w+ (\w+) \w size_(\w+)$", line)
        if m:
            found[m[2]] = int(m[1], 16)
    return found


def allocated(n):
    """What kmalloc() gives for n bytes."""
    return next(k for k in KMALLOC if n <= k)


def memory(place):
    s = sizes(place)
    return {
        "CDM page": s["entry"],
        "group": allocated(s["group"]) + allocated(s["owner"]),
        "group and node": allocated(s["counter"]),
        "node": s["tree"],
        "node, for each 128 MiB of a directory": s["directory"],
        "CPU": s["stock"] + s["pending"] + s["fallbacks"],
    }


def stamp(place):
    """What a result depends on, besides the code."""
    config = files.read(f"{place.build}/.config").decode()
    compiler = re.search(r'CONFIG_CC_VERSION_TEXT="(.*)"', config)[1]
    version = proc.run([place.arch.qemu, "--version"]).split("\n")[0]
    release = files.read(f"{place.build}/include/config/kernel.release")
    return {"compiler": compiler, "qemu": version,
            "kernel": release.decode().strip(), "lane": place.lane,
            "when": time.strftime("%Y-%m-%d")}


def collect(lanes, kind, repeats):
    """(all that there is to say, the targets, what went wrong)"""
    bench = Bench(kernels(*lanes), kind)
    # Interrupts by the number of CPUs of the guest.
    many = [2] if kind == "quick" else [2, 8]
    steps = len(bench.systems) * repeats + 1 + len(many)
    runs, results, wrong, step = {}, {}, [], 0
    for kernel in bench.systems:
        runs[kernel.name] = []
        for seed in range(1, repeats + 1):
            step += 1
            log.note(f"bench: guest {step} of {steps}: {kernel.title}")
            runs[kernel.name].append(bench.boot(kernel, seed))
        results[kernel.name] = summary(runs[kernel.name])
    log.note(f"bench: guest {step + 1} of {steps}: two CPUs")
    two = bench.boot(bench.systems[-1], cpus=2)
    calls = {}
    for i, cpus in enumerate(many):
        log.note(f"bench: guest {step + 2 + i} of {steps}: interrupts, {cpus} "
                 "CPUs")
        calls[cpus] = bench.boot(bench.systems[-1], cpus=cpus, what="calls")
    for run in [*sum(runs.values(), []), two, *calls.values()]:
        wrong += run.wrong
    lines = [shared_writes(two, case, functions_of(bench.place, objects))
             for case, objects in (("lines/device", OWN),
                                   ("lines/account", MEMCG),
                                   ("lines/device", COUNTERS))]
    rows = targets.targets(results, lines, functions_of(bench.place, REMOVAL),
                           functions_of(bench.place, OWN))
    rows += targets.interrupts({cpus: run.cases for cpus, run in calls.items()})
    found = {
        "license": "SPDX-License-Identifier: GPL-2.0", "kind": kind,
        "stamp": stamp(bench.place), "repeats": repeats,
        "targets": [{"title": r.title.strip(), "must": r.must, "aim": r.aim,
                     "measured": r.measured, "state": r.state} for r in rows],
        "memory": memory(bench.place),
        "group_bytes_measured": group_bytes(runs), "results": results}
    return found, rows, wrong


def check(lanes, report):
    """A quick run: each target is a result, and what RAM costs."""
    began = time.monotonic()
    found, rows, wrong = collect(lanes, "quick", 1)
    compiler = found["stamp"]["compiler"]
    was = targets.recorded(compiler)
    for row in rows:
        report.result(
            row.state not in ("-", "MISSED"), f"bench: {row.title.strip()}",
            f"{row.measured}, must be at most {row.floor or row.must} "
            f"{row.note}")
        if row.key in was and row.measured is not None:
            report.result(
                row.measured <= was[row.key] + targets.GROWTH,
                f"bench: {row.title.strip()}, against the baseline",
                f"{row.measured}, was {was[row.key]} "
                "(scripts/bench --record makes this the baseline)")
    if not was:
        log.note(f"bench: no baseline of {compiler}: RAM not compared")
    report.result(not wrong, "bench", "\n".join(wrong), began)
