# SPDX-License-Identifier: GPL-2.0
"""Checks that read files and run nothing: each returns what is wrong, or ""."""

import ast
import glob
import os
import re
import tempfile

from . import files, hooks, paths, proc, repo

# What checkpatch need not say, by where, and why.
IGNORE = {
    # It reads TRACE_EVENT() as a function call; this is the form of them all.
    "include/trace/": ["OPEN_ENDED_LINE", "PARENTHESIS_ALIGNMENT"],
    # It looks for the documentation in the same patch; it is in one of ours.
    "mm/cdm/audit.c": ["UNDOCUMENTED_SETUP"],
    # The names of formats are those of inttypes.h.
    "tools/testing/cdm/bench/insncount.c": ["CAMELCASE"],
}


def complaint(cmd, cwd=paths.REPO):
    status, out = proc.said(cmd, cwd)
    return out or f"exit status {status}" if status else ""


def c_sources():
    return [f for f in repo.sources() if f.endswith((".c", ".h"))]


def checkpatch(place):
    """Our files as they are, and the hooks as they are mailed."""
    tool = ["perl", "scripts/checkpatch.pl", "--strict", "--terse",
            "--no-summary", "--quiet"]
    wrong, by = [], {}		# by: files, by what is ignored in them
    for f in repo.sources() + repo.listed("tools/testing", "Documentation"):
        if f.endswith((".c", ".h", ".rst", "Kconfig", "Makefile")):
            skip = tuple(f"--ignore={x}" for path, kinds in IGNORE.items()
                         if f.startswith(path) for x in kinds)
            by.setdefault(skip, []).append(f)
    for skip, names in by.items():
        wrong.append(proc.said([*tool, *skip, "-f", *names], place.tree)[1])
    with tempfile.TemporaryDirectory() as out:
        wrong.append(complaint([f"{paths.SCRIPTS}/series", "--quiet", out]))
        mails = [m for m in sorted(glob.glob(f"{out}/*.patch"))[1:]
                 if re.search(r"^index (?!0{7})", files.read(m).decode(), re.M)]
        wrong.append(proc.said([*tool, *mails], place.tree)[1]
                     .replace(f"{out}/", ""))
    return "\n".join(w for w in wrong if w)


def kernel_doc(place):
    status, out = proc.said(["perl", "scripts/kernel-doc", "-none", "-Wall",
                             *c_sources()], place.tree)
    return out or ("failed" if status else "")


def shellcheck(_):
    shell = [f for f in repo.listed() if re.match(
        rb"#!.*\b(ba|da|busybox )?sh\b", files.read(f"{paths.REPO}/{f}")[:40])
        or f.endswith(".sh")]
    return complaint(["shellcheck", "-x", *shell])


def codespell(_):
    # DAMON is a subsystem; the licence's text is not ours.
    return complaint(["codespell", "--quiet-level=2",
                      "--ignore-words-list=damon",
                      *[f for f in repo.listed() if f != "COPYING"]])


def layers():
    """{module: place} of the list in the package's README, as (row, column)"""
    text = files.read(f"{paths.PACKAGE}/README.rst").decode()
    block = re.search(r"^Layers\n.*?::\n\n(.*?)\n\n", text, re.M | re.S)[1]
    return {name: (row, column)
            for row, line in enumerate(block.splitlines())
            for column, name in enumerate(line.split())}


def imported(tree):
    """Modules of the package that a module of it imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            yield from [node.module] if node.module else \
                [x.name for x in node.names]


def hidden(tree):
    """Names of imported modules that a function gives to something else."""
    modules = {x.asname or x.name for node in ast.walk(tree)
               if isinstance(node, (ast.Import, ast.ImportFrom))
               for x in node.names}
    for node in ast.walk(tree):
        name = node.arg if isinstance(node, ast.arg) else \
            node.id if isinstance(node, ast.Name) and \
            isinstance(node.ctx, ast.Store) else None
        if name in modules:
            yield node.lineno, name


def python(_):
    """It compiles, knows its names, and the package keeps to its layers."""
    wrong, known = [], []
    order = layers()
    for f in repo.listed():
        data = files.read(f"{paths.REPO}/{f}")
        if not (f.endswith(".py") or re.match(rb"#!.*python", data[:40])):
            continue
        known.append(f)
        try:
            tree = ast.parse(data, f)
        except SyntaxError as e:
            wrong.append(f"{f}:{e.lineno}: {e.msg}")
            continue
        where, name = os.path.split(f)
        name = name.removesuffix(".py")
        if f"{paths.REPO}/{where}" != paths.PACKAGE or name == "__init__":
            continue
        if name not in order:
            wrong.append(f"{f}: not among the layers in README.rst")
            continue
        wrong += [f"{f}:{line}: {x} is a module"
                  for line, x in hidden(tree)]
        wrong += [f"{f}: imports {other}, which does not stand above it"
                  for other in imported(tree)
                  if order.get(other, order[name]) >= order[name]]
    wrong.append(complaint(["pyflakes3", *known]))
    return "\n".join(x for x in wrong if x)


def whitespace(_):
    wrong = []
    for f in repo.listed(":!*.patch", ":!COPYING"):
        data = files.read(f"{paths.REPO}/{f}")
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
        f"{f}: no SPDX line" for f in repo.listed() if not f.endswith(plain)
        and b"SPDX-License-Identifier: GPL-2.0" not in
        b"\n".join(files.read(f"{paths.REPO}/{f}").split(b"\n")[:3]))


def budget(_):
    return complaint([f"{paths.SCRIPTS}/stat"])


def refresh(place):
    """Refreshing patches that nobody edited changes none of them."""
    before = {path: files.read(path) for _, path in hooks.paths_of(place)}
    wrong = complaint([f"{paths.SCRIPTS}/tree", "refresh"])
    for path, data in before.items():
        if files.read(path) != data:
            wrong += f"\n{os.path.basename(path)} was not refreshed; it is now"
    return wrong


def mail(_):
    """The mailed series applies to the base and gives the scratch tree."""
    with tempfile.TemporaryDirectory() as out:
        return complaint([f"{paths.SCRIPTS}/series", "--verify", out])


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
