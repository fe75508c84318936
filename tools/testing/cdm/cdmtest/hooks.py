# SPDX-License-Identifier: GPL-2.0
"""The hooks: the patches of a base, in the order of its series.

Where versions of a base differ, a patch has a variant: the file "variants"
beside the series says from which version on another file is applied in its
place. Everywhere else the patch goes by its name in the series.
"""

import os
import re

from . import bases, files, log


def table(path):
    return list(files.words(path)) if os.path.exists(path) else []


def series(place):
    """The patches, in their order, by their names."""
    return [f[0] for f in table(f"{place.hooks}/series")]


def version(place):
    """The version of the source that is there, or else of that pinned."""
    return bases.version_of(place.pristine) or \
        bases.upstream(bases.Base(place.base).version)


def pinned(place):
    """Is the source of the version that the patches were refreshed with?"""
    return version(place) == bases.upstream(bases.Base(place.base).version)


def same(one, other):
    """Do two patches (bytes) differ in numbers of lines at most?"""
    def plain(data):
        return re.sub(rb"^@@ [-+,\d ]+ @@", b"@@", data, flags=re.M)
    return plain(one) == plain(other)


def path(place, patch, of=None):
    """The file of a patch, for a version of the base (the place's own)."""
    of = of or version(place)
    found, since = patch, ()
    for name, _, first, variant in table(f"{place.hooks}/variants"):
        if name == patch and since <= bases.upstream(first) <= of:
            found, since = variant, bases.upstream(first)
    return f"{place.hooks}/{found}"


def paths_of(place):
    """[(name, file)] of the series."""
    return [(p, path(place, p)) for p in series(place)]


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
