# SPDX-License-Identifier: GPL-2.0
"""What the steps of a check cost: seconds, and seconds of CPUs."""

SHOWN = 12


class Costs:
    def __init__(self):
        self.steps = {}		# {name: [seconds, seconds of CPUs]}

    def add(self, name, seconds, cpus):
        self.steps[name] = [seconds, cpus]

    def table(self):
        """Lines: the most expensive steps, and the sum of all. Steps run side
        by side, so the sum of seconds is more than went by.
        """
        rows = sorted(self.steps.items(), key=lambda x: -x[1][1])
        rest = rows[SHOWN:]
        if rest:
            rows[SHOWN:] = [(f"{len(rest)} others", [
                sum(x[1][i] for x in rest) for i in (0, 1)])]
        rows.append(("all", [sum(x[1][i] for x in rows) for i in (0, 1)]))
        return ["seconds  of CPUs  step",
                *[f"{wall:7.0f}  {used:7.0f}  {name}"
                  for name, (wall, used) in rows]]
