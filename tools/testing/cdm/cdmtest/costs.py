# SPDX-License-Identifier: GPL-2.0
"""What the steps of a check cost: seconds, and seconds of CPUs."""

import contextlib
import resource
import time

SHOWN = 10


def cpu():
    """Seconds of CPUs, of this process and of those that it waited for."""
    return sum(u.ru_utime + u.ru_stime for u in map(
        resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


class Costs:
    def __init__(self, apart=lambda: 0):
        self.apart = apart	# seconds of CPUs that are of no step
        self.steps = {}		# {name: [seconds, seconds of CPUs]}
        self.inner = []		# for each running step, those of steps in it

    @contextlib.contextmanager
    def step(self, name):
        """Steps nest; what one costs is without those that it needs."""
        began, used = time.monotonic(), cpu() - self.apart()
        self.inner.append([0, 0])
        try:
            yield
        finally:
            spent = [time.monotonic() - began, cpu() - self.apart() - used]
            within = self.inner.pop()
            self.add(name, *[a - b for a, b in zip(spent, within)])
            if self.inner:
                self.inner[-1] = [a + b for a, b
                                  in zip(self.inner[-1], spent)]

    def add(self, name, seconds, cpus):
        old = self.steps.get(name, [0, 0])
        self.steps[name] = [old[0] + seconds, old[1] + cpus]

    def table(self):
        """Lines: the most expensive steps, and the sum of all."""
        rows = sorted(self.steps.items(), key=lambda x: -x[1][1])
        rest = rows[SHOWN:]
        if rest:
            rows[SHOWN:] = [(f"{len(rest)} others", [
                sum(x[1][i] for x in rest) for i in (0, 1)])]
        rows.append(("all", [sum(x[1][i] for x in rows) for i in (0, 1)]))
        return ["seconds  of CPUs  step",
                *[f"{wall:7.0f}  {used:7.0f}  {name}"
                  for name, (wall, used) in rows]]
