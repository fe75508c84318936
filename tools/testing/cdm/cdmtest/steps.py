# SPDX-License-Identifier: GPL-2.0
"""Walk the series: after each patch, what it touches compiles without a new
warning of the compiler (W=1) or of sparse; and all that includes what it
touches, if that is a header.

Without the controller a file differs by what headers, Kconfig and conditionals
make of it, so only patches of those are compiled so, without sparse; and the
last state, all of it.
"""

import copy
import os
import re
import shutil
import time

from . import files, hooks, kbuild, log, paths, proc, repo

WARNING = re.compile(r"^(?:\.\./)*(\S+?):\d+(?::\d+)?: (warning|error): (.*)$")
OURS = ["mm/cdm/", "kernel/cgroup/cdm.o"]
# sparse cannot follow pcp_spin_trylock(), and says so of each function that it
# is inlined into: in the base too, of rmqueue_pcplist() and three more.
TRYLOCK = re.compile(
    r"context imbalance in '(rmqueue_pcplist|__alloc_pages_zone|"
    r"get_page_from_freelist)' - different lock contexts")
# Objects that a kernel without cgroups has not.
OF_CGROUPS = ("kernel/cgroup/", "mm/memcontrol.o")
CONDITIONAL = re.compile(rb"^\+\s*#\s*(if|el|endif)|^\+.*IS_ENABLED", re.M)
# What the build does not read.
UNBUILT = ("Documentation/", "MAINTAINERS")


def objects(names):
    return [f[:-2] + ".o" for f in names if f.endswith(".c")]


class Walk:
    def __init__(self, place):
        self.place = place
        self.dir = f"{place.work}/steps"
        self.tree = f"{self.dir}/tree"
        self.log = f"{place.logs}/check-series.log"
        self.known = set()
        files.write(self.log, "")

    def start(self):
        """The base and our files, but no hook: hard links are quick. Nothing
        is built yet, so that all warnings of the base are seen.
        """
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        proc.run(["cp", "-al", self.place.pristine, self.tree])
        for f in repo.sources():
            files.write(f"{self.tree}/{f}", files.read(f"{paths.REPO}/{f}"))

    def push(self, patch):
        for f in hooks.touched(patch):
            target = f"{self.tree}/{f}"
            if os.path.exists(target):  # a link no more
                shutil.copy2(target, target + ".own")
                os.replace(target + ".own", target)
        proc.run(["patch", "-d", self.tree, "-p1", "-s", "--fuzz=0",
                 "--no-backup-if-mismatch", "-i", patch])

    def wired(self):
        """Is the controller in the configuration, and so in the build?"""
        return b"mm/cdm/Kconfig" in files.read(f"{self.tree}/init/Kconfig")

    def configure(self, on):
        return self.configured(
            "y" if on else "n",
            ["base", "cdm"] if on and self.wired() else ["base"])

    def configured(self, name, fragments):
        place = copy.copy(self.place)
        place.kind, place.tree = "patched", self.tree
        place.build = f"{self.dir}/build-{name}"
        place.lane = f"series-{name}"
        place.fragments = fragments
        kbuild.configure(place)
        return place

    def compile(self, place, targets, sparse=True):
        """What is wrong; with no more to say, the new warnings."""
        to = f"{self.log}.{place.lane}"
        # Whole lines, whichever of several compilers they are from.
        ok, _ = kbuild.make(place, ["-O", "W=1", f"C={int(sparse)}", *targets],
                            to, "series", show=False)
        text = files.read(to).decode(errors="replace")
        with open(self.log, "a") as f:
            f.write(text)
        if not ok:
            return log.tail(to, 20, r"error:|\*\*\*")
        found = {}
        for line in text.splitlines():
            m = WARNING.match(line)
            if m and not TRYLOCK.match(m[3]):
                name = os.path.relpath(m[1], self.tree) \
                    if os.path.isabs(m[1]) else m[1]
                found[(name, re.sub(r"\d+", "N", m[3]))] = line
        new = [line for key, line in found.items() if key not in self.known]
        self.known.update(found)
        return "\n".join(new)

    def errors(self, place, targets):
        """What does not compile."""
        to = f"{self.log}.{place.lane}"
        ok, _ = kbuild.make(place, ["-O", *targets], to, "series", show=False)
        return "" if ok else log.tail(to, 20, r"error:|\*\*\*")


def walk(place, report):
    series = hooks.paths_of(place)
    every = sorted({o for _, path in series
                    for o in objects(hooks.touched(path))})
    w = Walk(place)
    began = time.monotonic()
    w.start()
    # What the base itself warns of is known before the first patch.
    on = w.configure(True)
    w.compile(on, every)
    log.note(f"series: {len(every)} files as they were "
             f"({time.monotonic() - began:.0f} s)")
    for name, patch in series:
        began = time.monotonic()
        touched = [x for x in hooks.touched(patch)
                   if not x.startswith(UNBUILT)]
        w.push(patch)
        targets = sources = objects(touched)
        both = bool(CONDITIONAL.search(files.read(patch)))
        if len(targets) != len(touched):
            on = w.configure(True)
            targets, both = every, True
        wrong = []
        if touched:
            wrong = [w.compile(on, targets + (OURS if w.wired() else []))]
        if sources and both:
            wrong.append(w.compile(w.configure(False), sources, False))
        report.result(
            not any(wrong), f"series: {name[:-6]}",
            "\n".join(f"CGROUP_CDM={v}:\n{x}"
                      for v, x in zip("yn", wrong) if x), began)
    report.result(w.wired(), "series: the controller is built")
    began = time.monotonic()
    wrong = w.compile(w.configure(False), every, False)
    report.result(not wrong, "series: all, without the controller", wrong,
                  began)
    began = time.monotonic()
    wrong = w.errors(w.configured("plain", ["base", "plain"]),
                     [x for x in every if not x.startswith(OF_CGROUPS)])
    report.result(not wrong, "series: a kernel without cgroups", wrong, began)
