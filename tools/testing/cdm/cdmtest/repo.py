# SPDX-License-Identifier: GPL-2.0
"""The files of this repository, as git has them."""

import os
import subprocess

from . import paths

# What is ours in the kernel's tree stands below these.
OVERLAY = ["Documentation", "drivers", "include", "kernel", "lib", "mm",
           "tools/testing"]


def listed(*patterns):
    """Files of this repository (git pathspecs), as paths below it."""
    out = subprocess.run(
        ["git", "-C", paths.REPO, "ls-files", "-z", "-co",
         "--exclude-standard", "--", *patterns],
        stdout=subprocess.PIPE, check=True).stdout
    return [f for f in sorted(set(out.decode().split("\0")))
            if f and os.path.isfile(f"{paths.REPO}/{f}")]


def overlay():
    """What the repository adds to the tree, as paths relative to both."""
    return listed(*OVERLAY)


def sources():
    """What of that the kernel is built from."""
    return listed("include", "kernel", "mm", "lib", "drivers")
