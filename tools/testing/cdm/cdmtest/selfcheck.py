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


# Leaks of each kind, see mm/cdm/audit.c, and what has to be said of them. CPUs
# may keep some address spaces, so there are more of those. There is no module
# in the guest whose users could be counted.
PLANTS = """
cd /sys/fs/cgroup
echo +cdm >cgroup.subtree_control
plant() {
	mkdir -p "$1"
	sh -c 'echo 0 >"$1/cgroup.procs" &&
		echo "$2" >/sys/kernel/debug/cdm/plant' plant "$1" "$2"
}
for i in 1 2 3 4; do
	plant group mm
done
plant css css
plant owner owner
rmdir css owner
for kind in pid slab percpu "page 2" "movable 2" "unowned 2" "wrong 2"; do
	plant group "$kind"
done
echo "fake 1 1 - Live 0" >/tmp/modules
mount --bind /tmp/modules /proc/modules
echo 3 >/run/cdm/looks/max
"""
PLANTED = r"""
audit of device nodes: node2 .* unowned 1 stale 0 foreign 1 .* BAD
audit of device nodes: node2 .* wrong [1-9]\d* BAD
audit of device nodes: owners \d+ idle 1 BAD
kernel: nr_dying_subsys_memory: 0 at the start, 1
kernel: module:fake: 0 at the start, 1
kernel: pages:node2: 0 at the start, 4
kernel: percpu: \d+
kernel: slab:kmalloc\S+: \d+
kernel: slab:mm_struct: \d+
kernel: slab:pid: \d+
""".strip().splitlines()


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
    status, out, _ = jobs.vm("runner", ["--compare"], ["sh", "-c", PLANTS])
    lost = [x for x in PLANTED if not re.search(x, out)]
    jobs.report.result(status == 125 and not lost,
                       "runner: every kind of leak",
                       f"status {status}, not said:\n" + "\n".join(lost)
                       + f"\n{out}", began)
    began = time.monotonic()
    _, out, kept = jobs.vm("runner", [], ["sh", "-c", "\n".join(
        f"echo {shlex.quote(x)} >/dev/kmsg" for x in console.EXAMPLES)])
    kernel = files.read(f"{kept}.kernel").decode(errors="replace")
    lost = [x for x in console.EXAMPLES
            if x not in kernel or not re.search(
                r"^    \[.*\] " + re.escape(x) + "$", out, re.M)]
    jobs.report.result(not lost, "runner: every kind of complaint",
                       "\n".join(lost), began)
