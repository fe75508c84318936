# SPDX-License-Identifier: GPL-2.0
"""Take out each hook, one at a time, and see which test notices.

  $ scripts/mutants --list swap
  0019.1  mm/swap_state.c swap_cluster_readahead()
  $ scripts/mutants swap
  0019.1  mm/swap_state.c swap_cluster_readahead(): test_isolation: readahead \
leaves strangers in RAM
  1 caught, 0 survived

A mutant is the kernel without one hunk of one patch. The hunks that only wire
things up (includes, Kconfig, what our files call) are not hooks and are left
alone, and so are assertions. A mutant that does not build was caught by the
compiler. When all are caught, the table in Documentation/mm/cdm/hooks.rst is
made anew.

With --own the mutants are small changes of mm/cdm/ and kernel/cgroup/cdm.c,
chosen by a seed. What came of each is kept, and not tried again while the file
is the same. Those that cannot be caught are in Documentation/mm/cdm/tests.rst,
with the reason.
"""

import argparse
import copy
import json
import re
import signal
import subprocess
import sys
import textwrap

from . import (changes, files, hooks, kbuild, log, packages, paths, repo,
               selftests)

# Patches without a hook in them.
WIRING = re.compile(r"^(000[1-7]|\d+-(Documentation|MAINTAINERS))-")

# Where to look first, by a word of the patch's name; then come the others.
LIKELY = [
    ("door", ["kunit", "test_quota"]),
    ("end-the-charge-where", ["kunit", "test_quota"]),
    ("SIGBUS", ["test_policy", "test_payer"]),
    ("charge-the-owner", ["test_migrate", "test_hugetlb",
                          "test_migrate_reasons"]),
    ("demote", ["test_reclaim", "test_policy"]),
    ("cdm.low", ["test_low", "test_reclaim"]),
    ("small-reserve", ["test_core"]),
    ("numa_memblks", ["test_core"]),
    ("do-not-count", ["test_core"]),
    ("who-uses", ["test_hugetlb"]),
    ("memcontrol-device", ["test_memcg", "test_hugetlb", "kunit"]),
    ("that-counts", ["test_memcg_counted"]),
    ("offlining", ["test_near_node", "test_hotplug"]),
    ("contiguous", ["kunit"]),
    ("oom_kill", ["test_oom"]),
    ("is-filled", ["test_payer", "test_swap"]),
    ("swapoff", ["test_swap"]),
    ("bad-page", ["test_poison"]),
    ("numa-balancing", ["test_numa_balancing"]),
    ("ksm", ["test_isolation"]),
    ("read-ahead", ["test_isolation", "test_swap"]),
    ("khugepaged", ["test_isolation", "test_huge"]),
    ("mempolicy", ["test_isolation"]),
    ("cpuset", ["test_isolation"]),
    ("hugetlb-grow", ["test_isolation", "test_gigantic"]),
]


# The same for our own code, by file. The others follow: tests first that take
# long to miss nothing.
OWN = {
    "counter.c": ["kunit", "test_quota", "test_stress"],
    "protection.c": ["kunit", "test_low"],
    "stat.c": ["kunit", "test_policy", "test_memcg"],
    "owner.c": ["kunit", "test_core", "test_rmdir"],
    "owner_table.c": ["kunit", "test_migrate", "test_hotplug"],
    "node.c": ["test_core", "test_hotplug"],
    "isolate.c": ["test_isolation"],
    "alloc.c": ["kunit", "test_policy", "test_quota"],
    "payer.c": ["kunit", "test_place", "test_payer", "test_migrate"],
    "reclaim.c": ["test_reclaim", "test_low"],
    "memcg.c": ["test_memcg"],
    "oom.c": ["test_oom"],
    "hugetlb.c": ["test_hugetlb"],
    "audit.c": ["kunit", "test_core"],
    "cdm.c": ["kunit", "test_core"],
}
NUMBER = 60
SEED = 2017

# Between these comments.
TABLE = (f"{paths.REPO}/Documentation/mm/cdm/hooks.rst",
         ".. What make mutants found:\n\n", "\n.. End of what it found.\n")


class Mutant:
    def __init__(self, patch, nr, head, hunk):
        self.name = f"{patch[:4]}.{nr}"
        self.patch, self.diff = patch, "".join(head + hunk)
        self.file = re.search(r"^\+\+\+ b/(\S+)", self.diff, re.M)[1]
        self.lines = [x[1:].strip() for x in hunk[1:] if x[0] in "+-"]

    def function(self, tree):
        """The one that has the hunk, by the first line of code it adds."""
        text = files.read(f"{tree}/{self.file}", b"").decode().splitlines()
        hunk = [x[1:] for x in self.diff.splitlines()[3:] if x[0] in "+ "]
        for at in range(len(text) - len(hunk) + 1):
            if text[at:at + len(hunk)] == hunk:
                break
        else:
            return ""
        added = [i for i, x in enumerate(x for x in self.diff.splitlines()[3:]
                                         if x[0] in "+ ") if x[0] == "+"]
        at += added[0] if added else 3
        inside = []
        for line in reversed(text[:at]):
            inside.append(line)
            if line.startswith("}"):
                break
        # Or it adds a function.
        for line in [*inside, *text[at:]]:
            m = re.match(r"(?!#)\w[^;=]*?(\w+)\([^;]*$", line)
            if m:
                return f"{m[1]}()"
        return ""

    def where(self, tree):
        return f"{self.file} {self.function(tree)}".strip()

    def likely(self):
        return [t for word, names in LIKELY if word in self.patch
                for t in names]

    def apply(self, tree):
        subprocess.run(["patch", "-d", tree, "-p1", "-R", "-s", "-F3",
                        "--no-backup-if-mismatch"], input=self.diff, text=True,
                       check=True)

    def is_hook(self):
        """Does it change code, rather than includes and comments, or
        assertions, which are for lane debug?
        """
        return any(x and not x.startswith(("#include", "/*", "*", "VM_WARN_ON"))
                   for x in self.lines)


def mutants(place):
    for patch in hooks.series(place):
        if WIRING.match(patch):
            continue
        head, hunk, nr = [], [], 0
        found = []
        for line in open(hooks.path(place, patch)):
            if line.startswith("--- "):
                head, hunk = [line], []
            elif line.startswith("+++ "):
                head.append(line)
            elif line.startswith("@@ "):
                hunk = [line]
                found.append((head, hunk))
            elif hunk and line[0] in " +-\\":
                hunk.append(line)
        for head, hunk in found:
            m = Mutant(patch, nr + 1, head, hunk)
            if m.is_hook():
                nr += 1
                yield m


class OwnMutant:
    """The kernel with one line of our own code changed."""

    def __init__(self, change):
        self.change, self.name = change, change.name
        self.file = change.file

    def where(self, _):
        return str(self.change)

    def likely(self):
        return OWN.get(self.file.split("/")[-1], [])

    def apply(self, tree):
        lines = files.read(f"{tree}/{self.file}").decode().split("\n")
        lines[self.change.line] = self.change.new
        files.write(f"{tree}/{self.file}", "\n".join(lines))


def own(seed, number):
    names = [f for f in repo.sources() if f.endswith(".c")
             and f.startswith(("mm/cdm/", "kernel/cgroup/"))
             and "/tests/" not in f]
    return [OwnMutant(c) for c in changes.choose(
        {f: files.read(f"{paths.REPO}/{f}").decode() for f in names},
        seed, number)]


class Kept:
    """What came of mutants of our own code, by the file and the change."""

    def __init__(self):
        self.path = f"{paths.CACHE}/mutants.json"
        self.found = json.loads(files.read(self.path, b"{}") or b"{}")

    def key(self, mutant):
        return files.sha(files.read(f"{paths.REPO}/{mutant.file}") +
                         mutant.name.encode())

    def get(self, mutant):
        return self.found.get(self.key(mutant))

    def put(self, mutant, how):
        self.found[self.key(mutant)] = how
        files.write(self.path, json.dumps(self.found, indent=1))


def explained():
    """Names of those of our own code that cannot be caught."""
    text = files.read(f"{paths.REPO}/Documentation/mm/cdm/tests.rst").decode()
    return set(re.findall(r"^   \* - ``([0-9a-f]{8})``", text, re.M))


def tests(mutant):
    first = mutant.likely()
    rest = [t for t, source in selftests.programs().items()
            if not selftests.wants(source, "lane")]
    return first + [t for t in [*rest, "kunit"] if t not in first]


def command(place, name):
    """What runs the test in a guest: arguments of scripts/vm."""
    if name == "kunit":
        return ["--append", "kunit.enable=1 kunit.filter_glob=cdm*", "--",
                "sh", "-c", "! dmesg | grep '    not ok'"]
    source = selftests.programs()[name]
    return [*selftests.wants(source, "vm").split(), "--",
            selftests.program(place, name, source)]


def failing(place, mutant, name):
    """The cases that fail, or what else is wrong, in their order."""
    to = f"{place.logs}/mutants-{mutant.name}-{name}.log"
    p = subprocess.run(
        [f"{paths.SCRIPTS}/vm", "run", "--image", place.image,
         "--timeout", "240", "--log", f"{to}.kernel", *command(place, name)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace")
    with open(to, "w") as f:
        f.write(p.stdout)
    if not p.returncode:
        return []
    # What the kernel says names other processes and addresses each time.
    cases = re.findall(r"^(?:\[.*?\])?\s*not ok \d+ (?:- )?(.*)",
                       p.stdout, re.M)
    cases += [
        "the kernel says: " + re.sub(r"\b[0-9a-f]*\d\w*", "N", x.split(",")[0])
        for x in re.findall(r"^    \[ *[\d.]+\] (.*)", p.stdout, re.M)]
    return cases or [f"exit status {p.returncode}"]


def caught(place, mutant):
    """What noticed, or None."""
    before = files.read(place.image)
    ok, _ = kbuild.make(place, [place.arch.target],
                        f"{place.logs}/mutants-{mutant.name}-build.log",
                        f"mutant {mutant.name}")
    if not ok:
        return "does not build"
    if files.read(place.image) == before:
        log.die(f"{mutant.name}: make built no other kernel")
    for name in tests(mutant):
        cases = failing(place, mutant, name)
        # What fails by chance, on a machine with much to do, fails once.
        again = cases and failing(place, mutant, name)
        both = [x for x in cases if x in again]
        if both:
            return f"{name}: {both[0]}"
        if cases:
            print(f"{mutant.name}  {name}: {cases[0]}: fails by chance, "
                  "not counted", flush=True)
    return None


def write_table(rows):
    path, begin, end = TABLE
    text = files.read(path).decode()
    head, rest = text.split(begin)
    _, tail = rest.split(end)
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 40 60", "",
             "   * - without the hook in", "     - this fails"]
    for where, how in rows:
        name, _, case = how.partition(": ")
        lines += [f"   * - {where}", *textwrap.wrap(
            f"     - {name}" + (f": {case}" if case else ""), 80,
            subsequent_indent=" " * 7, break_on_hyphens=False)]
    with open(path, "w") as f:
        f.write(head + begin + "\n".join(lines) + "\n" + end + tail)


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("--list", action="store_true")
    ap.add_argument("--source", help="mutate this tree, with all hooks applied")
    ap.add_argument("--build", help="which is built in this directory")
    ap.add_argument("--found", action="append", default=[], metavar="FILE",
                    help="what an earlier run of some of them printed: those\n"
                         "are not tried again")
    ap.add_argument("--own", action="store_true",
                    help="change our own code instead")
    ap.add_argument("--seed", type=int, default=SEED, help=f"({SEED})")
    ap.add_argument("--number", type=int, default=NUMBER,
                    help=f"about that many ({NUMBER})")
    ap.add_argument("word", nargs="*",
                    help="only mutants of patches with it; of our own code,\n"
                         "those of files with it")
    args = ap.parse_args()

    # The tree is put right again however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    origin = paths.Place("fast")
    if args.own:
        log.note(f"mutants: seed {args.seed}")
        todo = [m for m in own(args.seed, args.number) if not args.word or
                any(w in m.file or w == m.name for w in args.word)]
    else:
        todo = [m for m in mutants(origin) if not args.word or
                any(w in m.patch or w == m.name for w in args.word)]
    if args.list:
        print("\n".join(f"{m.name}  {m.where(origin.tree)}" for m in todo))
        return

    packages.need("build", "vm", "check")
    if not args.source and subprocess.call(
            [f"{paths.SCRIPTS}/check", "test_core"]):
        log.die("the kernel without a mutation does not pass")
    place = copy.copy(origin)
    if args.source:
        place.tree, place.build = args.source, args.build
    # In place, since a copy would have to be built from nothing. A refresh
    # would take it for an edit.
    place.lock("tree")
    place.lock("fast build")
    survivors, rows, kept, known = 0, [], Kept(), explained()
    found = dict(x for f in args.found for x in re.findall(
        r"^(\d{4}\.\d+  \S+ \w+\(\)): (.*)$", files.read(f).decode(), re.M)
        if x[1] != "SURVIVED")
    for m in todo:
        where = m.where(place.tree)
        how = kept.get(m) if args.own else found.get(f"{m.name}  {where}")
        if not how:
            path = f"{place.tree}/{m.file}"
            whole = files.read(path)
            try:
                m.apply(place.tree)
                how = caught(place, m) or "SURVIVED"
            finally:
                with open(path, "wb") as f:
                    f.write(whole)
            if args.own:
                kept.put(m, how)
        if how == "SURVIVED" and m.name in known:
            how = "not to be caught, see tests.rst"
        survivors += how == "SURVIVED"
        rows.append((where, how))
        print(f"{m.name}  {where}: {how}", flush=True)
    if not (survivors or args.own or args.word or args.source):
        write_table(rows)
    print(f"{len(todo) - survivors} caught, {survivors} survived")
    sys.exit(survivors > 0)

