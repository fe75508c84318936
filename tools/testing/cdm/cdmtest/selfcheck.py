# SPDX-License-Identifier: GPL-2.0
"""The check of the guest runner itself."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

from . import console, files, paths


def crash(cmd):
    """Output and status of a guest whose emulator is made to crash."""
    vm = subprocess.Popen(cmd, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT)
    out = ""
    for line in vm.stdout:
        out += line
        if line.strip() == "up":
            for pid in files.read(f"/proc/{vm.pid}/task/{vm.pid}/children"
                                  ).split():
                os.kill(int(pid), signal.SIGSEGV)
    return vm.wait(), out


def run(jobs):
    """It tells what happened in the guest, and how that ended."""
    lane = jobs.place.lane
    if not jobs.kernel(lane):
        return
    cases = [
        ("exit status", 3, "", [], "exit 3"),
        ("standard output", 0, "hello", [], "echo hello >/dev/stdout"),
        ("warning in the log", 125, "kernel complained", [],
         "echo 'WARNING: a test' >/dev/kmsg"),
        ("allowed warning", 0, "", ["--allow", "a test"],
         "echo 'WARNING: a test' >/dev/kmsg"),
        ("panic", 125, "sysrq triggered crash", [],
         "echo c >/proc/sysrq-trigger; sleep 60"),
        ("a breakpoint that is not there", 125, console.STALE, [],
         "echo 'Oops: int3: 0000 [#1] SMP' >/dev/kmsg;"
         "echo 'Code: 45 c2 89 44 24 18 e9 <19> 01 00' >/dev/kmsg;"
         "echo c >/proc/sysrq-trigger; sleep 60"),
        ("hang", 124, "no end after", ["--timeout", "12"], "sleep 60"),
        ("memory comes and goes", 0, "", [], "cdm-hotplug add && "
         "cdm-hotplug remove && ! cdm-hotplug remove"),
    ]
    for title, want, text, options, script in cases:
        began = time.monotonic()
        status, out, _ = jobs.vm("runner", options, ["sh", "-c", script])
        jobs.report.result(status == want and text in out,
                           f"runner: {title}",
                           f"status {status}, not {want}\n{out}", began)
    began = time.monotonic()
    status, out = crash([f"{paths.SCRIPTS}/vm", "run", "--lane", lane, "--log",
                         f"{jobs.log('runner')}.kernel", "--",
                         "sh", "-c", "echo up; sleep 60"])
    jobs.report.result(status == 125 and console.CRASHED in out,
                       "runner: the emulator crashes",
                       f"status {status}, not 125\n{out}", began)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir="/tmp") as top:
        for path in (paths.SCRIPTS, paths.TESTING):
            shutil.copytree(path, f"{top}{path.removeprefix(paths.REPO)}")
        os.symlink(f"{paths.REPO}/patches", f"{top}/patches")
        p = jobs.again([f"{top}/scripts/vm", "run", "--image",
                        paths.Place(lane).image, "--log",
                        f"{jobs.log('runner')}.kernel", "--",
                        "ls", f"{top}/scripts/vm"])
    jobs.report.result(p.returncode == 0, "runner: a clone below /tmp",
                       p.stdout, began)
    began = time.monotonic()
    _, out, kept = jobs.vm("runner", [], ["sh", "-c", "\n".join(
        f"echo {shlex.quote(x)} >/dev/kmsg" for x in console.EXAMPLES)])
    kernel = files.read(f"{kept}.kernel").decode(errors="replace")
    lost = [x for x in console.EXAMPLES
            if x not in kernel or not re.search(
                r"^    \[.*\] " + re.escape(x) + "$", out, re.M)]
    jobs.report.result(not lost, "runner: every kind of complaint",
                       "\n".join(lost), began)
