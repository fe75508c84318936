# SPDX-License-Identifier: GPL-2.0
"""The kernel's own tests of cgroups and memory, on the unpatched kernel and on
ours: what passes there has to pass here.

Both guests have the same RAM, and ours has a device node beside it. What the
tests find there or not (libraries, huge pages, CPU features) is the same too,
so that a case that fails on both says nothing of the patches.
"""

import json
import os
import re
import shutil
import subprocess
import time

from . import files, log, packages, paths, proc

# (directory below selftests, command, seconds). Each runs in /scratch, after a
# pool of huge pages was filled and the caches were dropped.
#
# Left out, and why: test_kmem and test_zswap (minutes, and fail unpatched as
# often as not), test_cpu and test_cpuset (nothing of memory),
# test_cpuset_prs.sh (minutes), hugetlb_reparenting_test.sh and
# charge_reserved_hugetlb.sh (their sums are off by what other tests left),
# migration (a minute for each case, and needs a third CPU),
# split_huge_page_test (minutes), hmm-tests (needs a module),
# virtual_address_range and va_high_addr_switch (address space only),
# protection_keys (nothing of placement, a minute), write_to_hugetlbfs and
# hugepage-vmemmap (helpers of other tests, or need an option that is off),
# soft-dirty (as that) and hugetlb_madv_vs_map (wants a pool of one page).
TESTS = [
    ("cgroup", "test_core", 60),
    ("cgroup", "test_freezer", 60),
    ("cgroup", "test_hugetlb_memcg", 60),
    ("cgroup", "test_kill", 60),
    ("cgroup", "test_memcontrol", 120),
    ("cgroup", "test_pids", 60),
    ("mm", "compaction_test", 60),
    ("mm", "cow", 120),
    ("mm", "droppable", 60),
    ("mm", "gup_longterm", 60),
    ("mm", "gup_test -ct -F 0x1 0 19 0x1000", 60),
    ("mm", "gup_test -a -m 16", 60),
    ("mm", "gup_test -u -m 16", 60),
    ("mm", "gup_test -L -m 16", 60),
    ("mm", "hugepage-mmap", 60),
    ("mm", "hugepage-mremap", 60),
    ("mm", "hugepage-shm", 60),
    ("mm", "hugetlb-madvise", 60),
    ("mm", "hugetlb_dio", 60),
    ("mm", "khugepaged", 90),
    ("mm", "ksm_functional_tests", 60),
    ("mm", "ksm_tests -M -p 10", 60),
    ("mm", "ksm_tests -N -m 0", 60),
    ("mm", "ksm_tests -N -m 1", 60),
    ("mm", "ksm_tests -U", 60),
    ("mm", "ksm_tests -Z -p 10 -z 1", 60),
    ("mm", "madv_populate", 60),
    ("mm", "map_fixed_noreplace", 60),
    ("mm", "map_hugetlb", 60),
    ("mm", "map_populate", 60),
    ("mm", "mdwe_test", 60),
    ("mm", "memfd_secret", 60),
    ("mm", "mkdirty", 60),
    ("mm", "mlock-random-test", 60),
    ("mm", "mlock2-tests", 60),
    ("mm", "mrelease_test", 60),
    ("mm", "mremap_dontunmap", 60),
    ("mm", "mremap_test", 90),
    ("mm", "mseal_test", 60),
    ("mm", "pagemap_ioctl", 90),
    ("mm", "thuge-gen", 60),
    ("mm", "transhuge-stress -d 5", 60),
    ("mm", "uffd-stress anon 20 4", 60),
    ("mm", "uffd-stress shmem 20 4", 60),
    ("mm", "uffd-unit-tests", 180),
]
# Cases whose result is a matter of luck on either kernel, by program.
FLAKY = {
    # They compare usage with what was allocated, give or take some percent.
    "test_memcontrol": r"test_memcg_(reclaim|sock|swap_max_peak)|exit status",
    # It counts microseconds.
    "mrelease_test": r"exit status",
}
AGAIN = 3
# The guest's clock goes on while the guest waits for the machine's CPUs, that
# by which vm limits the whole of a guest does not: there, a test may take more
# of its seconds.
PATIENCE = 5
# What the tests provoke in the kernel's log.
PROVOKED = (r"[Oo]ut of memory|invoked oom-killer|Memory failure:|"
            r"Injecting memory failure|Soft offlining|memory-failure|"
            r"MCE: Killing uffd-unit-tests:\d+ due to hardware memory "
            r"corruption|"
            r"page allocation failure: order:9")

NEEDED = ["tools/testing/selftests", "tools/include", "include/vdso",
          "mm/gup_test.h"]
CASE = re.compile(r"^\s*(?:# )?(ok|not ok) \d+(?: -)? ?(.*?)\s*(?:#\s*(.*))?$")


def programs():
    return {f"{d}/{c.split()[0]}": d for d, c, _ in TESTS}


def build(place):
    """The programs, from the unpatched source; what is wrong, or nothing."""
    top = f"{place.work}/upstream"
    done, to = f"{top}/.done", f"{place.logs}/upstream-build.log"
    stamp = json.dumps([place.pristine, TESTS])
    if files.read(done, b"").decode() == stamp:
        return ""
    shutil.rmtree(top, ignore_errors=True)
    for path in NEEDED:
        target = f"{top}/src/{path}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        proc.run(["cp", "-al", f"{place.pristine}/{path}", target])
    env = proc.clean_env()
    os.makedirs(place.logs, exist_ok=True)
    with open(to, "w") as out:
        cmds = [["make", "-C", place.pristine, f"O={top}/headers", "headers"]]
        for d in ("cgroup", "mm"):
            os.makedirs(f"{top}/{d}")
            cmds.append(["make", "-C", f"{top}/src/tools/testing/selftests/{d}",
                         f"-j{os.cpu_count()}", f"OUTPUT={top}/{d}",
                         f"KHDR_INCLUDES=-isystem {top}/headers/usr/include",
                         *[f"{top}/{p}" for p, of in programs().items()
                           if of == d]])
        for cmd in cmds:
            if subprocess.call(cmd, env=env, stdin=subprocess.DEVNULL,
                               stdout=out, stderr=subprocess.STDOUT):
                out.flush()
                return log.tail(to, 20, r"error|\*\*\*")
    files.write(done, stamp)
    return ""


def parse(text):
    """{command: {case: "pass", "fail" or "skip"}} of what the guest printed.

    A case that comes twice has passed if it did each time: some programs print
    it again from a forked child. Addresses and numbers of processes differ.
    """
    found, cases, run = {}, {}, ""
    for line in text.splitlines():
        line = re.sub(r"\x1b\[\d*m", "", line)
        if line.startswith("@ start "):
            cases, run = found.setdefault(line[8:], {}), ""
            continue
        if line.startswith("@ end "):
            word = {"0": "pass", "4": "skip"}.get(line[6:], "fail")
            cases["exit status"] = word
            continue
        m = re.match(r"(?:# \[RUN\]|Run test:) (.*)", line)
        if m:		# some name the case before, some only there
            run = m[1] + ": "
            continue
        m, word, name = CASE.match(line), "", ""
        if m:
            word = "fail" if m[1] == "not ok" else \
                "skip" if "SKIP" in (m[3] or "") else "pass"
            name = run + re.sub(r"0x[0-9a-f]+|\bpid \d+", "N", m[2])
        m = re.match(r"(.*?)\.\.\.+ (done|OK|failed|Fail|skipped|Skip)\b", line)
        if m:
            word = {"d": "pass", "O": "pass", "s": "skip", "S": "skip"}.get(
                m[2][0], "fail")
            name = run + m[1]
        if name:
            if cases.get(name) != "fail":
                cases[name] = word
    return found


def guest(jobs, lane, only, name):
    """Run the commands in one guest; ({command: cases}, exit status)"""
    lines = [f"{t * PATIENCE}\t{d}\t{c}" for d, c, t in TESTS if c in only]
    top = f"{jobs.place.work}/upstream"
    todo = f"{top}/jobs-{lane}"
    files.write(todo, "\n".join(lines) + "\n")
    # The unpatched kernel takes a device's memory for RAM.
    options = ["--nodes", "ram", "--no-check-log"] if lane == "vanilla" else \
        ["--allow", PROVOKED]
    status, out, _ = jobs.vm(name, [*options, "--timeout", "1800"],
                             [f"{paths.GUEST}/upstream", top, todo], lane)
    return parse(out), status, out


def worse(before, after, flaky):
    """The cases that passed before, and do not any more."""
    return [c for c, word in before.items()
            if word == "pass" and after.get(c) != "pass"
            and not (flaky and re.fullmatch(flaky, c))]


def compare(base, ours):
    """{command: [case, ...]}"""
    bad = {}
    for _, command, _ in TESTS:
        if command in base:
            cases = worse(base[command], ours.get(command, {}),
                          FLAKY.get(command.split()[0]))
            if cases:
                bad[command] = cases
    return bad


def baseline(jobs):
    """The unpatched kernel's results, kept as long as it and the list stay."""
    van = paths.Place("vanilla", jobs.place.base)
    kept = f"{jobs.place.work}/upstream/baseline.json"
    stamp = files.sha(files.read(van.image) + json.dumps(TESTS).encode())
    old = json.loads(files.read(kept, b"{}") or b"{}")
    if old.get("stamp") == stamp:
        return old["cases"]
    cases, status, _ = guest(jobs, "vanilla", {c for _, c, _ in TESTS},
                             "upstream-vanilla")
    if status == 0:
        files.write(kept, json.dumps({"stamp": stamp, "cases": cases},
                                     indent=1))
    return cases


def again(jobs, bad):
    """Of what differs, what differs each time: some tests race with
    themselves on either kernel.
    """
    for _ in range(AGAIN):
        if not bad:
            break
        log.note(f"upstream: again: {', '.join(bad)}")
        before, _, _ = guest(jobs, "vanilla", bad, "upstream-vanilla2")
        after, _, _ = guest(jobs, jobs.place.lane, bad, "upstream2")
        now = compare(before, after)
        both = {c: [x for x in cases if x in now.get(c, [])]
                for c, cases in bad.items()}
        bad = {c: cases for c, cases in both.items() if cases}
    return bad


def built(jobs):
    packages.need("upstream")
    if not jobs.kernel("vanilla"):
        return False
    began = time.monotonic()
    wrong = build(jobs.place)
    if wrong:
        jobs.report.result(False, "build of the kernel's selftests", wrong,
                           began)
    return not wrong


def before(jobs):
    """What run() compares with, a step of its own."""
    if built(jobs):
        baseline(jobs)


def run(jobs):
    """The kernel's own tests pass where they do without the patches."""
    if not (jobs.kernel(jobs.place.lane) and built(jobs)):
        return
    began = time.monotonic()
    base = baseline(jobs)
    ours, status, out = guest(jobs, jobs.place.lane, {c for _, c, _ in TESTS},
                              "upstream")
    bad = again(jobs, compare(base, ours))
    for _, command, _ in TESTS:
        passed = sum(w == "pass" for w in ours.get(command, {}).values())
        cases = bad.get(command, [])
        nothing = not base.get(command)
        jobs.report.result(not cases and not nothing,
                           f"upstream: {command} ({passed} cases)",
                           "\n".join(["passes on the unpatched kernel only:",
                                      *cases]) if cases else "it did not run")
    jobs.report.result(status == 0, "upstream", out[-4000:], began)
