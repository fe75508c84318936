# SPDX-License-Identifier: GPL-2.0
"""Kernels that are built ahead, beside the tests of those that are there.

A test in a guest keeps one CPU busy, seldom two; the builds take the rest.
"""

import atexit
import os
import signal
import subprocess
import threading

from . import paths

NICE = 10


class Ahead:
    """Builds of kernels, one after the other."""

    def __init__(self, log):
        self.log = log		# the name of a log, for a lane
        self.events = {}	# {lane: set when it is in results}
        self.results = {}	# {lane: (status, seconds of CPUs)}
        self.running = None

    def start(self, lanes):
        self.events = {lane: threading.Event() for lane in lanes}
        threading.Thread(target=self.build, daemon=True).start()
        atexit.register(self.stop)

    def build(self):
        for lane, event in self.events.items():
            with open(self.log(f"kernel-{lane}"), "w") as out:
                p = subprocess.Popen(
                    ["nice", "-n", str(NICE), f"{paths.SCRIPTS}/kernel", lane],
                    stdin=subprocess.DEVNULL, stdout=out,
                    stderr=subprocess.STDOUT, start_new_session=True)
            self.running = p.pid
            _, status, used = os.wait4(p.pid, 0)
            self.running = None
            p.returncode = os.waitstatus_to_exitcode(status)
            self.results[lane] = (status, used.ru_utime + used.ru_stime)
            event.set()

    def stop(self):
        if self.running:
            os.killpg(self.running, signal.SIGTERM)

    def wait(self, lane):
        self.events[lane].wait()
        return self.results[lane]

    def cpu(self):
        """Seconds of CPUs of all that are done."""
        return sum(x[1] for x in list(self.results.values()))
