# SPDX-License-Identifier: GPL-2.0
"""Tests that run in guests, by kind: how each is run, and what it says.

Each function takes the jobs (jobs.py): what is built, and where results go.
"""

import os
import re
import time

from . import files, log, paths, selftests
from .report import CASE

# Tests that the debug lane runs again, whose kernel under emulation is slow:
# those that come by the most of our code in a minute or two. The limits and
# policies, case by case, are not among them: test_policy alone fills and
# empties the node dozens of times. Memory takes a minute to come and go there,
# so only some cases of that do. Beside them it runs the tests that say "lane:
# debug", which are of no use elsewhere.
DEBUG = ["test_hotplug short", "test_core", "test_migrate", "test_charge",
         "test_stress"]

# A line for every controller below the heading; debug is the 15th of the
# base, and cdm the last that a 16 bit mask has room for.
FULL = """
    grep -qw cdm /sys/fs/cgroup/cgroup.controllers
    test $(grep -vc '^#' /proc/cgroups) = 16"""


def selftest(jobs, name, source, lane=None):
    """One program of the selftests, in a guest of its own."""
    lane = lane or selftests.wants(source, "lane") or jobs.place.lane
    if not (jobs.kernel(lane) and jobs.programs()):
        return
    options = selftests.wants(source, "vm").split()
    title = jobs.named(name, lane)
    began = time.monotonic()
    status, out, kept = jobs.vm(
        f"{name}-{lane}", options,
        [selftests.program(jobs.place, name, source)], lane)
    jobs.report.tap(title, out, status, began, kept)


def together(jobs, names, lane):
    """Several tests, perhaps with arguments, in one guest: its boot, and to look
    for leaks at its end, take longer than they do.
    """
    if not (jobs.kernel(lane) and jobs.programs()):
        return
    began = time.monotonic()
    script = "".join(
        f"echo '@ start {n.split()[0]}'; {jobs.place.programs}/selftests/{n}; "
        "echo \"@ end $?\"\n" for n in names)
    status, out, kept = jobs.vm(f"tests-{lane}", ["--leaks"],
                                ["sh", "-c", script], lane)
    found = dict(re.findall(r"^@ start (\w+)\n(.*?)(?=^@ start |\Z)", out,
                            re.M | re.S))
    for name in [n.split()[0] for n in names]:
        text = found.get(name, "")
        end = re.search(r"^@ end (\d+)$", text, re.M)
        jobs.report.tap(f"{name} ({lane})", text,
                        int(end[1]) if end else "unknown", None, kept,
                        f"{name} LANE={lane}")
    jobs.report.result(not status, f"the guest of lane {lane}", status and
                       f"exit status {status}\n{log.tail(kept)}", began)


def kunit(jobs):
    """The kernel's own unit tests, which run while it boots."""
    if not jobs.kernel(jobs.place.lane):
        return
    began = time.monotonic()
    status, _, kept = jobs.vm(
        "kunit", ["--append", "kunit.enable=1 kunit.filter_glob=cdm*"],
        ["true"])
    # The kernel prints KTAP; the cases are those below a suite.
    cases = 0
    text = files.read(f"{kept}.kernel", b"").decode(errors="replace")
    for line in text.splitlines():
        line = re.sub(r"^\[ *[\d.]+\] ", "", line)
        m = CASE.match(line)
        if m and line.startswith("    "):
            cases += 1
            skip = "SKIP" in (m[3] or "")
            jobs.report.result(m[1] == "ok" and not skip,
                               f"kunit: {m[2]}", line.strip())
    bad = status or not cases
    jobs.report.result(
        not bad, "kunit", bad and f"{cases} cases, exit status {status}\n"
        f"{log.tail(kept)}\n{log.tail(kept + '.kernel')}", began)


def hosttest(jobs, name, source):
    """A script of tools/testing/cdm/tests/, which boots guests itself."""
    if not (jobs.kernel(jobs.place.lane) and jobs.programs()):
        return
    kept = jobs.log(name)
    env = dict(os.environ, CDM_VM=f"{paths.SCRIPTS}/vm", CDM_REPO=paths.REPO,
               CDM_BUILD=jobs.place.programs, CDM_LANE=jobs.place.lane)
    began = time.monotonic()
    p = jobs.again([source], 1200, env=env)
    with open(kept, "w") as f:
        f.write(p.stdout)
    jobs.report.tap(name, p.stdout, p.returncode, began, kept)


# The other lanes: each boots, and has of cdm what it should.

def smoke(jobs, lane, script):
    if not jobs.kernel(lane):
        return
    began = time.monotonic()
    status, out, _ = jobs.vm(f"boot-{lane}", [], ["sh", "-exc", script], lane)
    jobs.report.result(status == 0, f"boot {lane}", out, began)


def lane_off(jobs):
    # Not with "!": that is no failure to a shell's -e.
    smoke(jobs, "off", """
        test $(grep -cw cdm /sys/fs/cgroup/cgroup.controllers) = 0
        test ! -e /sys/devices/system/node/has_coherent_memory
        test ! -e /sys/kernel/debug/cdm
        test $(grep -c Cdm /proc/meminfo) = 0""")


def lane_full(jobs):
    smoke(jobs, "full", FULL)
    selftest(jobs, "test_core", selftests.programs()["test_core"], "full")


def lane_debug(jobs):
    smoke(jobs, "debug", FULL + """
        test -e /proc/lockdep
        test -e /sys/kernel/debug/kmemleak
        test -e /proc/self/fail-nth""")
    together(jobs, DEBUG, "debug")


def lane_kcsan(jobs):
    lane = "kcsan"
    if not (jobs.kernel(lane) and jobs.programs()):
        return
    for name in ("test_quota", "test_stress"):
        began = time.monotonic()
        status, out, kept = jobs.vm(
            f"{name}-{lane}", [],
            [f"{paths.GUEST}/kcsan",
             f"{jobs.place.programs}/selftests/{name}"], lane)
        jobs.report.tap(f"{name} ({lane})", out, status, began, kept,
                        f"lane-{lane}")
