# SPDX-License-Identifier: GPL-2.0
"""The guests that count instructions, and what they say.

A guest has one CPU under -icount, where its time stamp counter goes on by one
with every instruction, and QEMU's plugin insncount tells in which function. So
the machine's load, and the machine, make no difference.
"""

import os
import re

from . import clock, cpio, files, kbuild, log, machine, paths, proc

BENCH = f"{paths.TESTING}/bench"
# Node 0 has the CPU and RAM. Node 1 is the device, and the firmware's tables
# call it the faster one, so that an unpatched kernel demotes from it to RAM.
RAM_MB = 1024
DEVICE_MB = {"full": 4352, "quick": 512}
RANK = [(100, 10240), (50, 40960)]
CMDLINE = "quiet panic=-1 nokaslr mitigations=off"


class Kernel:
    """One of the kernels that are compared."""

    def __init__(self, name, title, place, append=""):
        self.name, self.title = name, title
        self.place, self.append = place, append


def kernels(vanilla, patched):
    """The same patched kernel twice, as the same code is the point."""
    vanilla, patched = paths.Place(vanilla), paths.Place(patched)
    return [Kernel("unpatched", "unpatched" if vanilla.kind == "pristine"
                   else f"lane {vanilla.lane}", vanilla),
            Kernel("no-node", "no CDM node", patched),
            Kernel("cdm", "CDM node", patched, "cdm_nodes=1")]


# What runs in the guest, and the plugin.

def module(place):
    """Build cdm_bench.ko for a kernel that is built, beside it."""
    where = f"{place.build}/bench"
    for f in ("Kbuild", "cdm_bench.c", "cdm_bench.h", "mark.h", "sizes.c"):
        files.write(f"{where}/{f}", files.read(f"{BENCH}/{f}"))
    to = f"{place.logs}/bench-{place.lane}.log"
    ok, _ = kbuild.make(place, ["modules_prepare"], to, "bench", show=False)
    if ok:
        # There are no modules but ours, and so no Module.symvers.
        ok, _ = kbuild.make(
            place, [f"M={where}", "modules",
                    f"KBUILD_EXTRA_SYMBOLS={place.build}/vmlinux.symvers"],
            to, "bench", show=False)
    if not ok:
        log.note(log.tail(to))
        log.die(f"could not build cdm_bench.ko; all of it is in {to}")
    return f"{where}/cdm_bench.ko"


def programs(place):
    """(guest program, plugin)"""
    out = f"{place.programs}/bench"
    os.makedirs(out, exist_ok=True)
    proc.run(["gcc", "-O2", "-Wall", "-static", "-o", f"{out}/bench",
              f"{BENCH}/bench.c"])
    proc.run(["gcc", "-O2", "-Wall", "-fPIC", "-shared", "-o",
              f"{out}/insncount.so", f"{BENCH}/insncount.c"])
    return f"{out}/bench", f"{out}/insncount.so"


# A guest.

def qemu(kernel, words, plugin, initrd, profile, device_mb, seed, cpus, what):
    place, arch = kernel.place, kernel.place.arch
    cmdline = f"console={arch.console} {arch.bench_cmdline} {CMDLINE} " \
        f"{kernel.append}"
    cmd = [arch.qemu, "-cpu", arch.bench_cpu,
           "-machine", arch.machine.format(low=RAM_MB) + arch.hmat,
           "-m", f"{RAM_MB + device_mb}M", "-smp", str(cpus),
           "-nodefaults", "-no-user-config", "-display", "none",
           "-serial", "stdio", "-no-reboot",
           "-kernel", place.image, "-initrd", initrd,
           "-append", f"{cmdline} -- {words}",
           # A disk without content, for page cache.
           "-blockdev", "null-co,node-name=disk,size=8388608,read-zeroes=on",
           "-device", "virtio-blk-pci,drive=disk"]
    for i, size in enumerate((RAM_MB, device_mb)):
        who = "initiator=0" if i else f"cpus=0-{cpus - 1}"
        cmd += ["-object", f"memory-backend-ram,id=ram{i},size={size}M",
                "-numa", f"node,nodeid={i},memdev=ram{i},{who}"]
    cmd += ["-numa", "dist,src=0,dst=1,val=40"]
    cmd += machine.ranks(RANK, 1)
    load = f"{plugin},map={place.build}/System.map,out={profile}"
    if cpus == 1:
        # Another day and another seed for each repeat.
        cmd += ["-accel", "tcg", "-icount", "shift=0,sleep=off", "-seed",
                str(seed), "-rtc", f"base=2025-01-{seed:02}T00:00:00,clock=vm"]
    else:
        # With several CPUs there is no -icount that a plugin survives.
        cmd += ["-accel", "tcg,thread=multi"]
        load += ",lines=on"
    # Interrupts are counted by the guest itself.
    return cmd if what == "calls" else [*cmd, "-plugin", load]


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
    for line in files.read(path, b"").decode().splitlines():
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

    def boot(self, kernel, seed=1, cpus=1, what="lines"):
        place = kernel.place
        if place.lane not in self.modules:
            self.modules[place.lane] = module(place)
        initrd, profile = (f"{self.work}/{x}-{os.getpid()}"
                           for x in ("initrd", "profile"))
        files.write(initrd, cpio.archive([
            ("init", 0o100755, files.read(self.program)),
            ("cdm_bench.ko", 0o100644,
             files.read(self.modules[place.lane]))]))
        words = ("quick" if self.kind == "quick" else "") + \
            (f" {what}" if cpus > 1 else "")
        cmd = qemu(kernel, words, self.plugin, initrd, profile,
                   DEVICE_MB[self.kind], seed, cpus, what)
        p = clock.run(cmd, 1500)
        kept = f"{place.logs}/bench-{kernel.name}-{seed}-{cpus}" + \
            ("-calls.log" if what == "calls" else ".log")
        files.write(kept, p.stdout)
        run = Run(p.stdout, profile)
        for f in (initrd, profile):
            if os.path.exists(f):
                os.unlink(f)
        if run.wrong:
            log.note(f"bench, {kernel.title} (all of it: {kept}):")
            for line in run.wrong:
                log.note(f"    {line}")
        return run
