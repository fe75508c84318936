# SPDX-License-Identifier: GPL-2.0
"""What tests need: kernels and programs, built once, and runs in guests."""

import math
import os
import time

from . import clock, console, costs, log, paths, proc, selftests


class Jobs:
    """What has to be built, once, and where results go."""

    def __init__(self, report):
        self.report = report
        self.place = paths.Place()
        self.costs = costs.Costs()
        self.built = {}		# {what: whether it worked}

    def log(self, name):
        os.makedirs(self.place.logs, exist_ok=True)
        return f"{self.place.logs}/check-{name}.log"

    def tree(self):
        return self.once(self.named("tree"), [f"{paths.SCRIPTS}/tree"])

    def kernel(self, lane):
        return self.once(self.named(f"kernel-{lane}"),
                         [f"{paths.SCRIPTS}/kernel", lane])

    def named(self, name, lane="fast"):
        """A result's name, with what is not as usual."""
        unusual = [x for x in (lane if lane != "fast" else "",
                               self.place.version) if x]
        return f"{name} ({', '.join(unusual)})" if unusual else name

    def once(self, name, cmd):
        """Run a step that others need; it is a result of its own."""
        if name not in self.built:
            began = time.monotonic()
            ok = not proc.together(cmd)
            self.built[name] = ok
            self.report.result(ok, name, "" if ok else " ".join(cmd), began)
        return self.built[name]

    def programs(self):
        """Build the guest programs from the scratch tree; returns if it did."""
        if "programs" not in self.built:
            began = time.monotonic()
            ok, text = selftests.build(self.place)
            if not ok or "warning:" in text:
                self.report.result(False, "build of selftests", text, began)
            self.built["programs"] = ok
        return self.built["programs"]

    # In a guest.

    def vm(self, name, options, command, lane=None):
        """(status, stdout, log of everything)"""
        kept = self.log(name)
        cmd = [f"{paths.SCRIPTS}/vm", "run", "--lane", lane or self.place.lane,
               "--log", f"{kept}.kernel", *options, "--", *command]
        p = self.again(cmd)
        with open(kept, "w") as f:
            f.write(p.stdout)
        return p.returncode, p.stdout, kept

    def again(self, cmd, limit=math.inf, **kw):
        """Run it, and up to twice more if it was the emulator that failed."""
        for last in False, False, True:
            p = clock.run(cmd, limit, **kw)
            why = [x for x in (console.STALE, console.CRASHED)
                   if x in p.stdout]
            if last or not why:
                return p
            log.note(f"{why[0]}; once again")
