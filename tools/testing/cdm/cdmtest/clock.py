# SPDX-License-Identifier: GPL-2.0
"""Time limits that do not depend on what else the machine has to do."""

import glob
import os
import signal
import subprocess
import threading
import time

from . import files

# With nothing but delays, time still passes, this many times more slowly.
SLOWEST = 20
# Look that often, in seconds: it takes a file for each thread.
LOOK = 1


def descendants(pid):
    """A process and all below it."""
    yield pid
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            below = files.read(path, b"").split()
        except OSError:		# it ended meanwhile
            below = []
        for child in below:
            yield from descendants(int(child))


def ran_and_waited(pid):
    """{thread: (seconds on a CPU, seconds that it could run but had none)}"""
    found = {}
    for process in descendants(pid):
        for path in glob.glob(f"/proc/{process}/task/*/schedstat"):
            try:
                ran, waited, _ = files.read(path).split()
            except (OSError, ValueError):	# it ended meanwhile
                continue
            found[path] = int(ran) / 1e9, int(waited) / 1e9
    return found


def stolen():
    """Seconds, of each CPU, that went to other virtual machines."""
    try:
        field = files.read("/proc/stat").split(b"\n")[0].split()
        return int(field[8]) / os.sysconf("SC_CLK_TCK") / os.cpu_count()
    except (OSError, IndexError):
        return 0


class Clock:
    """Seconds of a process and those below it, without those in which they
    waited for a CPU.

    On an idle machine these are seconds; on one that has twice as much to do
    as it can, half of them. They pass for a process that sleeps, and for one
    that runs in circles: a hang of either kind ends at the limit.
    """

    def __init__(self, pid):
        self.pid, self.time = pid, 0
        self.last, self.stolen = time.monotonic(), stolen()
        self.threads = ran_and_waited(pid)

    def read(self):
        now = time.monotonic()
        passed = now - self.last
        if passed < LOOK / 2:
            return self.time
        gone, threads = stolen(), ran_and_waited(self.pid)
        ran, waited = (sum(
            x[i] - self.threads.get(k, (0, 0))[i] for k, x in threads.items())
            for i in (0, 1))
        # Of several threads that wait at a time none is the one that counts:
        # take what is typical of them.
        lost = waited if ran + waited <= passed else \
            passed * waited / (ran + waited)
        self.time += max(passed - lost - (gone - self.stolen),
                         passed / SLOWEST)
        self.last, self.stolen, self.threads = now, gone, threads
        return self.time


def run(cmd, limit, **kw):
    """As subprocess.run() with text=True and both outputs as one; a program
    that is not at its end after limit seconds of its clock is killed, with all
    that it started, and has exit status 124.
    """
    p = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         errors="replace", start_new_session=True, **kw)
    said = []
    reader = threading.Thread(target=lambda: said.append(p.stdout.read()))
    reader.start()
    clock, late = Clock(p.pid), False
    try:
        while True:
            # Its output ends with the last program that can write to it.
            reader.join(LOOK)
            if not reader.is_alive():
                break
            if clock.read() > limit:
                late = True
                os.killpg(p.pid, signal.SIGKILL)
                reader.join()
        p.wait()
    except BaseException:
        os.killpg(p.pid, signal.SIGTERM)
        raise
    return subprocess.CompletedProcess(
        cmd, 124 if late else p.returncode, said[0])
