# SPDX-License-Identifier: GPL-2.0
"""Small changes of our own code that some test should notice.

One line each: a condition negated, a bound off by one, a call left out, a full
barrier left out. Weaker barriers are the model's (stocks.py): on x86 they are
none. Which ones are taken is up to a seed and to the code of the line, so that
the choice stays as it is while other lines change.
"""

import collections
import hashlib
import re

# What is in a line besides code.
TEXT = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|/\*.*?\*/')
CALL = re.compile(r"^\t+(\w+)\([^;]*\);$")
COMPARED = re.compile(r"(?<![-<>=!])(<=|>=|<|>)(?![<>=])")
# Without them the kernel stands still, or lockdep says so and nobody learns
# anything; and what only tells.
KEPT = re.compile(
    r"lock|rcu_|preempt|local_irq|irq_|_get$|_put$|get_|put_|trace_|pr_|seq_|"
    r"WARN|BUG|BUILD|lockdep|might_|cond_resched|kfree|free_|DEFINE|EXPORT|"
    r"module_|MODULE_|INIT_|init_|psi_|fs_reclaim|__|noinline")
# Between these lines no test can come by.
SKIPPED = re.compile(r"^#|^\s*\*|^/\*|^ \*")


class Change:
    """One line of a file, and what becomes of it."""

    def __init__(self, path, line, kind, function, old, new, nth):
        self.file, self.line, self.kind = path, line, kind
        self.inside, self.old, self.new = function, old, new
        self.nth = nth		# of the same in the function

    @property
    def name(self):
        """Stays the same as long as the line and its function do."""
        return hashlib.sha256("\0".join(
            [self.file, self.inside, self.kind, self.old.strip(),
             self.new.strip(), str(self.nth)])
            .encode()).hexdigest()[:8]

    def rank(self, seed):
        return hashlib.sha256(f"{seed} {self.name}".encode()).hexdigest()

    def __str__(self):
        return (f"{self.file} {self.inside}(): {self.kind}: "
                f"{' '.join(self.old.split())}")


def blank(line):
    """The line with nothing but code in it, as long as it is."""
    return TEXT.sub(lambda m: " " * len(m[0]), line)


def negated(code, line):
    m = re.match(r"^(\t+(?:\} else )?(?:if|while) \()(.*)(\)(?: \{)?)$", code)
    if m and m[2].count("(") == m[2].count(")"):
        cut = len(m[1]), len(m[1]) + len(m[2])
        yield f"{line[:cut[0]]}!({line[cut[0]:cut[1]]}){line[cut[1]:]}"


def bounded(code, line):
    for m in COMPARED.finditer(code):
        # Not that of a type, an arrow or a shift.
        if code[m.start() - 1] != " " or code[m.end():m.end() + 1] != " ":
            continue
        other = m[1][0] if m[1].endswith("=") else m[1] + "="
        yield line[:m.start()] + other + line[m.end():]


def left_out(code, line):
    m = CALL.match(code)
    if m and not KEPT.search(m[1]):
        yield re.match(r"\t+", line)[0] + ";"


def without_barrier(code, line):
    if re.match(r"^\t+smp_mb\w*\(\);$", code):
        yield re.match(r"\t+", line)[0] + "barrier();"


KINDS = {"negated": negated, "bound": bounded, "left out": left_out,
         "no barrier": without_barrier}


def candidates(path, text):
    """All changes of a source."""
    inside, comment, before, seen = "", False, "", collections.Counter()
    for nr, line in enumerate(text.split("\n")):
        start = re.match(r"^(?!\s|#|\}|/|\*).*?(\w+)\([^;]*$", line)
        if start:
            inside = start[1]
        comment = comment or line.lstrip().startswith("/*")
        if comment or SKIPPED.match(line) or not line.startswith("\t"):
            comment = comment and "*/" not in line
            continue
        code, above = blank(line), before
        before = code.rstrip()
        for kind, function in KINDS.items():
            # The end of an expression looks like a call.
            if kind == "left out" and not re.search(r"[;{}:)]$|else$|^$",
                                                    above):
                continue
            for new in function(code, line):
                seen[inside, new] += 1
                yield Change(path, nr, kind, inside, line, new,
                             seen[inside, new])


def choose(sources, seed, number):
    """That many of them, over all files: each has a share by its size, and
    one at least. sources is {path: text}.
    """
    found = {path: sorted(candidates(path, text), key=lambda c: c.rank(seed))
             for path, text in sources.items()}
    found = {path: some for path, some in found.items() if some}
    total = sum(map(len, found.values()))
    chosen = []
    for some in found.values():
        chosen += some[:max(1, round(number * len(some) / total))]
    return chosen
