# SPDX-License-Identifier: GPL-2.0
"""Results: printed as they come, and counted."""

import re
import sys
import time

from . import log

LINES = 40	# of a failure's details
# What a test program says of a check that did not hold.
BROKEN = re.compile(r"^# \w+\.[ch]:\d+: ")
CASE = re.compile(r"^\s*(ok|not ok) \d+(?: -)? ?(.*?)\s*(?:#\s*(.*))?$")


class Report:
    """Prints results as they come, and counts them."""

    def __init__(self):
        self.passed = self.failed = 0

    def result(self, ok, name, detail="", began=None):
        took = f" ({time.monotonic() - began:.0f} s)" if began else ""
        text = f"{'ok    ' if ok else 'not ok'}  {name}{took}\n"
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            lines = detail.splitlines()
            if len(lines) > LINES:
                lines[LINES:] = [f"... ({len(lines) - LINES} lines more)"]
            text += "".join(f"    {line}\n" for line in lines)
        # In one go: other steps print as well.
        sys.stdout.write(text)
        sys.stdout.flush()

    def tap(self, name, text, status, began, kept, again=None):
        """The cases of a program that printed TAP, and its end as one more."""
        cases = plan = 0
        broken = []
        for line in text.splitlines():
            if BROKEN.match(line):
                broken.append(line)
            m = re.match(r"^1\.\.(\d+)", line)
            if m:
                plan = int(m[1])
            m = CASE.match(line)
            if m and not line.startswith((" ", "\t")):
                cases += 1
                skip = "SKIP" in (m[3] or "")
                self.result(m[1] == "ok" and not skip, f"{name}: {m[2]}",
                            "\n".join(broken) or
                            (skip and f"skipped: {m[3]}") or "")
                broken = []
        why = []
        if status:
            why.append(f"exit status {status}")
        if not cases or cases != plan:
            why.append(f"{cases} cases, {plan} planned")
        if why:
            why += [log.tail(kept), f"all of it: {kept}",
                    f"again: make test T={again or name}"]
        self.result(not why, name, "\n".join(why), began)
