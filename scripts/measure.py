# SPDX-License-Identifier: GPL-2.0
"""What operations on memory cost, in instructions: the guests that count, what
they say, and what is asked of it.

A guest has one CPU under -icount, where its time stamp counter goes on by one
with every instruction, and QEMU's plugin insncount tells in which function. So
the machine's load, and the machine, make no difference.
"""

import json
import os
import re
import statistics
import subprocess
import time

import kbuild
import lib

BENCH = f"{lib.REPO}/tools/testing/cdm/bench"
# Node 0 has the CPU and RAM. Node 1 is the device, and the firmware's tables
# call it the faster one, so that an unpatched kernel demotes from it to RAM.
RAM_MB = 1024
DEVICE_MB = {"full": 4352, "quick": 512}
RANK = [(100, 10240), (50, 40960)]
CMDLINE = ("console=ttyS0 quiet panic=-1 nokaslr noreplace-smp no_timer_check "
           "mitigations=off")
# Functions of each operation that are kept: those of so many instructions.
LEAST = 0.05


class Kernel:
    """One of the kernels that are compared."""

    def __init__(self, name, title, place, append=""):
        self.name, self.title = name, title
        self.place, self.append = place, append


def kernels(vanilla, patched):
    """The same patched kernel twice, as the same code is the point."""
    vanilla, patched = lib.Place(vanilla), lib.Place(patched)
    return [Kernel("unpatched", "unpatched" if vanilla.kind == "pristine"
                   else f"lane {vanilla.lane}", vanilla),
            Kernel("no-node", "no CDM node", patched),
            Kernel("cdm", "CDM node", patched, "cdm_nodes=1")]


# What runs in the guest, and the plugin.

def module(place):
    """Build cdm_bench.ko for a kernel that is built, beside it."""
    where = f"{place.build}/bench"
    for f in ("Kbuild", "cdm_bench.c", "cdm_bench.h", "mark.h", "sizes.c"):
        lib.write(f"{where}/{f}", lib.read(f"{BENCH}/{f}"))
    log = f"{place.logs}/bench-{place.lane}.log"
    ok, _ = kbuild.make(place, ["modules_prepare"], log, "bench", show=False)
    if ok:
        # There are no modules but ours, and so no Module.symvers.
        ok, _ = kbuild.make(
            place, [f"M={where}", "modules",
                    f"KBUILD_EXTRA_SYMBOLS={place.build}/vmlinux.symvers"],
            log, "bench", show=False)
    if not ok:
        lib.note(lib.tail(log))
        lib.die(f"could not build cdm_bench.ko; all of it is in {log}")
    return f"{where}/cdm_bench.ko"


def programs(place):
    """(guest program, plugin)"""
    out = f"{place.programs}/bench"
    os.makedirs(out, exist_ok=True)
    lib.run(["gcc", "-O2", "-Wall", "-static", "-o", f"{out}/bench",
             f"{BENCH}/bench.c"])
    lib.run(["gcc", "-O2", "-Wall", "-fPIC", "-shared", "-o",
             f"{out}/insncount.so", f"{BENCH}/insncount.c"])
    return f"{out}/bench", f"{out}/insncount.so"


def functions_of(place, objects):
    """Names of the functions that these objects of the kernel define, and that
    no other object does.
    """
    names, count = set(), {}
    for line in lib.run(["sh", "-c", f"nm --defined-only {objects}"],
                        cwd=place.build).splitlines():
        f = line.split()
        if len(f) == 3 and f[1] in "tT":
            names.add(f[2])
    for line in lib.read(f"{place.build}/System.map").decode().splitlines():
        f = line.split()
        if f[1] in "tT":
            count[f[2]] = count.get(f[2], 0) + 1
    return {n for n in names if count.get(n) == 1}


COUNTERS = "kernel/cgroup/cdm.o"
OWN = f"mm/cdm/*.o {COUNTERS}"
MEMCG = "mm/memcontrol.o mm/page_counter.o"
# What removes a group. The rest of the guest goes on meanwhile.
REMOVAL = f"{OWN} {MEMCG} kernel/cgroup/*.o fs/kernfs/*.o"


# A guest.

def qemu(kernel, words, plugin, files, device_mb, seed, cpus):
    place = kernel.place
    initrd, profile = files
    cmd = ["qemu-system-x86_64", "-cpu", "max,-erms,-fsrm",
           "-machine", f"q35,hmat=on,max-ram-below-4g={RAM_MB}M",
           "-m", f"{RAM_MB + device_mb}M", "-smp", str(cpus),
           "-nodefaults", "-no-user-config", "-display", "none",
           "-serial", "stdio", "-no-reboot",
           "-kernel", place.image, "-initrd", initrd,
           "-append", f"{CMDLINE} {kernel.append} -- {words}",
           # A disk without content, for page cache.
           "-blockdev", "null-co,node-name=disk,size=8388608,read-zeroes=on",
           "-device", "virtio-blk-pci,drive=disk"]
    for i, size in enumerate((RAM_MB, device_mb)):
        who = "initiator=0" if i else f"cpus=0-{cpus - 1}"
        cmd += ["-object", f"memory-backend-ram,id=ram{i},size={size}M",
                "-numa", f"node,nodeid={i},memdev=ram{i},{who}"]
    cmd += ["-numa", "dist,src=0,dst=1,val=40"]
    for i, (latency, bandwidth) in enumerate(RANK):
        lb = f"hmat-lb,initiator=0,target={i},hierarchy=memory,data-type="
        cmd += ["-numa", f"{lb}access-latency,latency={latency}",
                "-numa", f"{lb}access-bandwidth,bandwidth={bandwidth}M"]
    load = f"{plugin},map={place.build}/System.map,out={profile}"
    if cpus == 1:
        # Another day and another seed for each repeat.
        cmd += ["-accel", "tcg", "-icount", "shift=0,sleep=off", "-seed",
                str(seed), "-rtc", f"base=2025-01-{seed:02}T00:00:00,clock=vm"]
    else:
        # With several CPUs there is no -icount that a plugin survives.
        cmd += ["-accel", "tcg,thread=multi"]
        load += ",lines=on"
    return [*cmd, "-plugin", load]


class Run:
    """What one guest said: results by case, notes by name, and failures."""

    def __init__(self, text, profile):
        self.cases, self.notes, self.wrong = {}, {}, []
        for line in text.splitlines():
            line = line.strip()
            if line.startswith("= ") and "=" in line[2:]:
                name, *fields = line[2:].split()
                self.cases[name] = {k: float(v) for k, v in
                                    (f.split("=") for f in fields)}
            elif line.startswith("# "):
                name, _, what = line[2:].rpartition(" ")
                self.notes[name] = what
            elif line.startswith("! ") or re.search(
                    r"\b(WARNING|BUG|Oops|panic)\b", line):
                self.wrong.append(line)
        if "= end" not in text:
            self.wrong.append("the guest did not come to its end: "
                              + text.strip()[-300:])
        windows = read_profile(profile)
        for case in self.cases.values():
            case["functions"] = windows.get(int(case.pop("window")), {})


def read_profile(path):
    """{window: {function: [calls, insns, locked]}}, or with shared lines
    {function: [loads, stores, shared loads, shared stores]}
    """
    windows, here = {}, {}
    for line in lib.read(path, b"").decode().splitlines():
        f = line.split("\t")
        if line.startswith("window "):
            here = windows[int(line.split()[1])] = {}
        elif len(f) > 3:
            # Static functions can have the same name.
            old = here.get(f[0], [0] * (len(f) - 1))
            here[f[0]] = [a + float(b) for a, b in zip(old, f[1:])]
    return windows


class Bench:
    """The kernels, and runs of their guests."""

    def __init__(self, systems, kind):
        self.systems, self.kind = systems, kind
        self.place = systems[-1].place
        self.work = f"{self.place.work}/bench"
        os.makedirs(self.work, exist_ok=True)
        self.program, self.plugin = programs(self.place)
        self.modules = {}

    def boot(self, kernel, seed=1, cpus=1):
        place = kernel.place
        if place.lane not in self.modules:
            self.modules[place.lane] = module(place)
        files = [f"{self.work}/{x}-{os.getpid()}" for x in ("initrd", "profile")]
        lib.write(files[0], lib.cpio([
            ("init", 0o100755, lib.read(self.program)),
            ("cdm_bench.ko", 0o100644, lib.read(self.modules[place.lane]))]))
        words = ("quick" if self.kind == "quick" else "") + \
            (" lines" if cpus > 1 else "")
        cmd = qemu(kernel, words, self.plugin, files, DEVICE_MB[self.kind],
                   seed, cpus)
        p = subprocess.run(
            ["timeout", "-k", "5", "1500", *cmd], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace")
        log = f"{place.logs}/bench-{kernel.name}-{seed}-{cpus}.log"
        lib.write(log, p.stdout)
        run = Run(p.stdout, files[1])
        for f in files:
            if os.path.exists(f):
                os.unlink(f)
        if run.wrong:
            lib.note(f"bench, {kernel.title} (all of it: {log}):")
            for line in run.wrong:
                lib.note(f"    {line}")
        return run


# From runs to figures.

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
            case.update(p50=statistics.median(p50),
                        mean=round(statistics.median(c["mean"] for c in same), 2),
                        spread=round((max(p50) - min(p50)) /
                                     (statistics.median(p50) or 1), 6))
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
    kb = [runs[k][0].notes.get("kB of 1000 groups") for k in ("unpatched", "cdm")]
    return None if None in kb else (int(kb[1]) - int(kb[0])) * 1024 / 1000


def shared_writes(run, name, names):
    """Writes to shared lines by these functions, by pair of alloc and free.
    Which pages a CPU gets goes by chance, and so does whether the entries of
    two CPUs' pages share a line: the median of some windows.
    """
    found = [per_op(case, 3, names) for k, case in run.cases.items()
             if k.startswith(name)]
    return statistics.median(found) if found else None


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


# What RAM cost when that was last recorded, by compiler.

RECORD = f"{BENCH}/baseline.json"
GROWTH = 2


def recorded(compiler):
    return json.loads(lib.read(RECORD, b"{}")).get(compiler, {})


def record(compiler, rows):
    new = json.loads(lib.read(RECORD, b"{}"))
    new.setdefault("license", "SPDX-License-Identifier: GPL-2.0")
    new[compiler] = {r.key: round(r.measured, 1) for r in rows if r.key}
    lib.write(RECORD, json.dumps(new, indent=1) + "\n")


# Bytes.

KMALLOC = [8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192]


def sizes(place):
    """Bytes by what they are for, from an object that has our structures."""
    where = f"{place.build}/bench"
    ok, _ = kbuild.make(place, [f"M={where}", "sizes.o"],
                        f"{place.logs}/bench-sizes.log", "bench", show=False)
    if not ok:
        lib.note(lib.tail(f"{place.logs}/bench-sizes.log"))
        lib.die("could not compile sizes.c")
    found = {}
    for line in lib.run(["nm", "-S", f"{where}/sizes.o"]).splitlines():
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
        "node": s["tree"] + s["pending_cpus"],
        "node, for each 128 MiB of a directory": s["directory"],
        "CPU": s["stock"] + s["pending"] + s["fallbacks"],
    }


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


def stamp(place):
    """What a result depends on, besides the code."""
    config = lib.read(f"{place.build}/.config").decode()
    compiler = re.search(r'CONFIG_CC_VERSION_TEXT="(.*)"', config)[1]
    version = lib.run(["qemu-system-x86_64", "--version"]).split("\n")[0]
    release = lib.read(f"{place.build}/include/config/kernel.release")
    return {"compiler": compiler, "qemu": version,
            "kernel": release.decode().strip(), "lane": place.lane,
            "when": time.strftime("%Y-%m-%d")}


def collect(lanes, kind, repeats):
    """(all that there is to say, the targets, what went wrong)"""
    bench = Bench(kernels(*lanes), kind)
    steps = len(bench.systems) * repeats + 1
    runs, results, wrong, step = {}, {}, [], 0
    for kernel in bench.systems:
        runs[kernel.name] = []
        for seed in range(1, repeats + 1):
            step += 1
            lib.note(f"bench: guest {step} of {steps}: {kernel.title}")
            runs[kernel.name].append(bench.boot(kernel, seed))
        results[kernel.name] = summary(runs[kernel.name])
    lib.note(f"bench: guest {steps} of {steps}: two CPUs")
    two = bench.boot(bench.systems[-1], cpus=2)
    for run in [*sum(runs.values(), []), two]:
        wrong += run.wrong
    lines = [shared_writes(two, case, functions_of(bench.place, objects))
             for case, objects in (("lines/device", OWN),
                                   ("lines/account", MEMCG),
                                   ("lines/device", COUNTERS))]
    rows = targets(results, lines, functions_of(bench.place, REMOVAL),
                   functions_of(bench.place, OWN))
    return {
        "license": "SPDX-License-Identifier: GPL-2.0", "kind": kind,
        "stamp": stamp(bench.place), "repeats": repeats,
        "targets": [{"title": r.title.strip(), "must": r.must, "aim": r.aim,
                     "measured": r.measured, "state": r.state} for r in rows],
        "memory": memory(bench.place), "group_bytes_measured": group_bytes(runs),
        "results": results}, rows, wrong
