# SPDX-License-Identifier: GPL-2.0
"""The test programs of tools/testing/selftests/cdm/."""

import os
import re
import subprocess

from . import files, paths, proc

WHERE = "tools/testing/selftests/cdm"


def wants(source, what):
    """What follows "WHAT: " in the leading comment of a test, or ""."""
    m = re.search(rf"^[ /*#]*{what}: (.*?)(?:\*/)?$",
                  files.read(source).decode()[:4096], re.M)
    return m[1].strip() if m else ""


def programs():
    """{name: source} of what the Makefile lists."""
    where = f"{paths.REPO}/{WHERE}"
    text = files.read(f"{where}/Makefile", b"").decode()
    found = {}
    for kind, names in re.findall(
            r"^(TEST_GEN_PROGS|TEST_PROGS) *[+:]?= *(.*)$", text, re.M):
        for name in names.split():
            found[name.removesuffix(".sh")] = f"{where}/{name}" + \
                (".c" if kind == "TEST_GEN_PROGS" else "")
    return found


def program(place, name, source):
    """What to run in the guest."""
    return source if source.endswith(".sh") else \
        f"{place.programs}/selftests/{name}"


def build(place):
    """From the scratch tree: (whether it worked, what make printed)"""
    out = f"{place.programs}/selftests"
    os.makedirs(out, exist_ok=True)
    p = subprocess.run(
        ["make", "-C", f"{place.tree}/{WHERE}", f"OUTPUT={out}", "all"],
        env=proc.clean_env(), text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    return p.returncode == 0, p.stdout
