# SPDX-License-Identifier: GPL-2.0
"""The hooks: the patches of a base, in the order of its series."""

import os
import re

from . import files, log


def series(place):
    """The patches, in their order, as names below place.hooks."""
    path = f"{place.hooks}/series"
    return [f[0] for f in files.words(path)] if os.path.exists(path) else []


def touched(patch):
    """The files that a patch changes."""
    return re.findall(r"^\+\+\+ b/(\S+)", files.read(patch).decode(), re.M)


def message_of(patch):
    """The text above the first hunk, as a commit message."""
    text = files.read(patch).decode()
    head = re.split(r"^(?:---(?: .*)?|diff .*|Index: .*)$", text, 1, re.M)[0]
    subject = re.search(r"^Subject: *(?:\[[^]]*\] *)?((?:.*)(?:\n .*)*)\n?",
                        head, re.M)
    if not subject:
        log.die(f"{patch}: no Subject:")
    body = re.sub(r"^(From|Date|Subject): .*(\n .*)*\n", "", head, flags=re.M)
    return " ".join(subject[1].split()) + "\n\n" + body.strip() + "\n"
