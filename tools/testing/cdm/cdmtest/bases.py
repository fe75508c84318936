# SPDX-License-Identifier: GPL-2.0
"""The table of kernel bases: what patches/BASE/base says of each of them."""

import os
import re

from . import files, log, paths


def upstream(version):
    """6.12.107 of the package's 6.12.107-1, as a tuple of numbers."""
    return tuple(int(x) for x in re.match(r"[\d.]*\d", version)[0].split("."))


def dotted(numbers):
    return ".".join(map(str, numbers))


class Base:
    """The kernel source that the hooks of a directory apply to."""

    def __init__(self, name):
        self.name = name
        self.path = f"{paths.REPO}/patches/{name}/base"
        if not os.path.exists(self.path):
            log.die(f"no {self.path}")
        self.suites, self.security, self.known = [], [], {}
        for word, *rest in files.words(self.path):
            if word == "known":
                self.known[rest[0]] = rest[1]
            elif word in ("suites", "security"):
                setattr(self, word, rest)
            else:
                setattr(self, word, rest[0])

    @property
    def newest(self):
        """The newest version that the hooks are known to apply to."""
        return max(self.known, key=upstream)


def version_of(source):
    """6.12.107 of a kernel source, as a tuple, or None if there is none."""
    text = files.read(f"{source}/Makefile", b"").decode()
    found = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL) = (\d+)$", text,
                            re.M))
    if len(found) != 3:
        return None
    return tuple(int(found[x]) for x in ("VERSION", "PATCHLEVEL", "SUBLEVEL"))
