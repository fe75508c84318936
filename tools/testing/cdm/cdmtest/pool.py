# SPDX-License-Identifier: GPL-2.0
"""Steps of a check side by side, each in a process of its own.

A guest keeps one CPU busy, seldom two, and often waits. So two steps run at a
time, and beside them a kernel is built that later ones need.
"""

import json
import os
import signal
import sys
import tempfile
import time
import traceback

from . import log

WIDTH = 2
NICE = 10


class Step:
    """Something to run once what it needs is there."""

    def __init__(self, name, run, needs=(), build=False):
        self.name, self.run = name, run
        self.needs = needs	# names of other steps
        self.build = build	# it is a kernel


def closure(steps, names):
    """These steps, each behind what it needs, and that in order of use."""
    found = {}

    def add(name):
        if name not in found:
            for other in steps[name].needs:
                add(other)
            found[name] = steps[name]

    for name in names:
        add(name)
    return list(found.values())


class Pool:
    def __init__(self, jobs):
        self.jobs = jobs
        self.running = {}	# {process: (step, when, what it says)}

    def run(self, steps):
        """All of them; results are those of jobs.report."""
        pending = list(steps)
        try:
            while pending or self.running:
                ready = next((s for s in pending if self.may_start(s)), None)
                if ready:
                    pending.remove(ready)
                    self.start(ready)
                elif self.running:
                    self.wait()
                else:
                    log.die("nobody does what these need: "
                            + " ".join(s.name for s in pending))
        finally:
            for pid in self.running:
                os.kill(pid, signal.SIGTERM)
            for pid in self.running:
                os.waitpid(pid, 0)

    def may_start(self, step):
        beside = sum(s.build == step.build for s, *_ in self.running.values())
        return beside < (1 if step.build else WIDTH) and \
            all(x in self.jobs.built for x in step.needs)

    def start(self, step):
        sys.stdout.flush()
        said = tempfile.TemporaryFile("w+")
        pid = os.fork()
        if pid:
            self.running[pid] = step, time.monotonic(), said
            return
        status = 1
        try:
            if step.build:
                os.nice(NICE)
            self.inside(step, said)
            status = 0
        except (KeyboardInterrupt, SystemExit):
            pass
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)

    def inside(self, step, said):
        """In a process of its own: nothing but what it says comes back."""
        report, known = self.jobs.report, set(self.jobs.built)
        report.passed = report.failed = 0
        step.run()
        self.jobs.built.setdefault(step.name, True)
        json.dump({"passed": report.passed, "failed": report.failed,
                   "built": {k: v for k, v in self.jobs.built.items()
                             if k not in known}}, said)
        said.flush()

    def wait(self):
        pid, status, used = os.wait4(-1, 0)
        step, began, said = self.running.pop(pid)
        self.jobs.costs.add(step.name, time.monotonic() - began,
                            used.ru_utime + used.ru_stime)
        said.seek(0)
        text = said.read()
        if status or not text:
            self.jobs.built[step.name] = False
            self.jobs.report.result(False, step.name,
                                    "this step of the check ended badly")
            return
        found = json.loads(text)
        self.jobs.built.update(found["built"])
        self.jobs.report.passed += found["passed"]
        self.jobs.report.failed += found["failed"]
