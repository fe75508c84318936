# SPDX-License-Identifier: GPL-2.0
"""Checks that read files and run nothing: each returns what is wrong, or ""."""

import ast
import glob
import os
import re
import subprocess
import tempfile

import lib

# What checkpatch need not say, by where, and why.
IGNORE = {
    # It reads TRACE_EVENT() as a function call; this is the form of them all.
    "include/trace/": ["OPEN_ENDED_LINE", "PARENTHESIS_ALIGNMENT"],
    # It looks for the documentation in the same patch; it is in one of ours.
    "mm/cdm/audit.c": ["UNDOCUMENTED_SETUP"],
    # The names of formats are those of inttypes.h.
    "tools/testing/cdm/bench/insncount.c": ["CAMELCASE"],
}


def files(*patterns):
    """Files of this repository (git pathspecs), as paths below it."""
    out = subprocess.run(
        ["git", "-C", lib.REPO, "ls-files", "-z", "-co", "--exclude-standard",
         "--", *patterns], stdout=subprocess.PIPE, check=True).stdout
    return [f for f in sorted(set(out.decode().split("\0")))
            if f and os.path.isfile(f"{lib.REPO}/{f}")]


def said(cmd, cwd=lib.REPO):
    """(exit status, what it printed)"""
    p = subprocess.run(cmd, cwd=cwd, stdin=subprocess.DEVNULL, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       errors="replace")
    return p.returncode, p.stdout.strip()


def complaint(cmd, cwd=lib.REPO):
    status, out = said(cmd, cwd)
    return out or f"exit status {status}" if status else ""


def sources():
    return files("include", "kernel", "mm", "lib", "drivers")


def c_sources():
    return [f for f in sources() if f.endswith((".c", ".h"))]


def checkpatch(place):
    """Our files as they are, and the hooks as they are mailed."""
    tool = ["perl", "scripts/checkpatch.pl", "--strict", "--terse",
            "--no-summary", "--quiet"]
    wrong = []
    for f in sources() + files("tools/testing", "Documentation"):
        if f.endswith((".c", ".h", ".rst", "Kconfig", "Makefile")):
            skip = [f"--ignore={x}" for path, kinds in IGNORE.items()
                    if f.startswith(path) for x in kinds]
            wrong.append(said([*tool, *skip, "-f", f], place.tree)[1])
    with tempfile.TemporaryDirectory() as out:
        wrong.append(complaint([f"{lib.SCRIPTS}/series", "--quiet", out]))
        mails = [m for m in sorted(glob.glob(f"{out}/*.patch"))[1:]
                 if re.search(r"^index (?!0{7})", lib.read(m).decode(), re.M)]
        wrong.append(said([*tool, *mails], place.tree)[1]
                     .replace(f"{out}/", ""))
    return "\n".join(w for w in wrong if w)


def kernel_doc(place):
    status, out = said(["perl", "scripts/kernel-doc", "-none", "-Wall",
                        *c_sources()], place.tree)
    return out or ("failed" if status else "")


def shellcheck(_):
    shell = [f for f in files() if re.match(
        rb"#!.*\b(ba|da|busybox )?sh\b", lib.read(f"{lib.REPO}/{f}")[:40])
        or f.endswith(".sh")]
    return complaint(["shellcheck", "-x", *shell])


def codespell(_):
    # DAMON is a subsystem; the licence's text is not ours.
    return complaint(["codespell", "--quiet-level=2",
                      "--ignore-words-list=damon",
                      *[f for f in files() if f != "COPYING"]])


def python(_):
    wrong = []
    for f in files():
        data = lib.read(f"{lib.REPO}/{f}")
        if f.endswith(".py") or re.match(rb"#!.*python", data[:40]):
            try:
                ast.parse(data, f)
            except SyntaxError as e:
                wrong.append(f"{f}:{e.lineno}: {e.msg}")
    return "\n".join(wrong)


def whitespace(_):
    wrong = []
    for f in files(":!*.patch", ":!COPYING"):
        data = lib.read(f"{lib.REPO}/{f}")
        for i, line in enumerate(data.split(b"\n"), 1):
            if line != line.rstrip():
                wrong.append(f"{f}:{i}: trailing white space")
        if data and not data.endswith(b"\n"):
            wrong.append(f"{f}: no newline at the end")
    return "\n".join(wrong)


def licence(_):
    """Every file that can hold a comment names its licence at its top."""
    plain = (".gitignore", "COPYING", ".md", "series", ".patch", ".kunitconfig",
             "selftests/cdm/config")
    return "\n".join(
        f"{f}: no SPDX line" for f in files() if not f.endswith(plain)
        and b"SPDX-License-Identifier: GPL-2.0" not in
        b"\n".join(lib.read(f"{lib.REPO}/{f}").split(b"\n")[:3]))


def budget(_):
    return complaint([f"{lib.SCRIPTS}/stat"])


def refresh(place):
    """Refreshing patches that nobody edited changes none of them."""
    before = {p: lib.read(f"{place.hooks}/{p}") for p in place.series()}
    wrong = complaint([f"{lib.SCRIPTS}/tree", "refresh"])
    for p, data in before.items():
        if lib.read(f"{place.hooks}/{p}") != data:
            wrong += f"\n{p} was not refreshed; it is now"
    return wrong


def mail(_):
    """The mailed series applies to the base and gives the scratch tree."""
    with tempfile.TemporaryDirectory() as out:
        return complaint([f"{lib.SCRIPTS}/series", "--verify", out])


CHECKS = {
    "checkpatch": checkpatch,
    "kernel-doc": kernel_doc,
    "shellcheck": shellcheck,
    "codespell": codespell,
    "python": python,
    "whitespace": whitespace,
    "licence": licence,
    "budget": budget,
    "refresh": refresh,
    "mail": mail,
}
