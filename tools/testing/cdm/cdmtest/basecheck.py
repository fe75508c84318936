# SPDX-License-Identifier: GPL-2.0
"""The check of the versions of a base that the hooks are known to fit."""

import os
import shutil
import tempfile
import time

from . import archive, fetch, guesttests, hooks, log, proc, selftests
from .bases import Base, dotted, upstream
from .jobs import Jobs


def applies(place, source, version):
    """Does the series, with the variants of a version; or what is wrong."""
    with tempfile.TemporaryDirectory() as top:
        for patch in hooks.series(place):
            path = hooks.path(place, patch, upstream(version))
            for name in hooks.touched(path):
                target = f"{top}/{name}"
                if not os.path.exists(target):
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    shutil.copyfile(f"{source}/{name}", target)
            status, out = proc.said(
                ["patch", "-p1", "-s", "-f", "--fuzz=0", "-i", path], top)
            if status:
                return f"{os.path.basename(path)}:\n{out}"
    return ""


def run(jobs):
    """The series applies to each of them; and one line when the archive has a
    newer one, which is for the maintainer to try: "make test T=base-newest".
    """
    if not jobs.tree():
        return
    place, base = jobs.place, Base(jobs.place.base)
    there = archive.offered(base)
    names = sorted({name for version in base.known for patch in
                    hooks.series(place) for name in hooks.touched(
                        hooks.path(place, patch, upstream(version)))})
    for version in sorted(base.known, key=upstream):
        began = time.monotonic()
        with fetch.lock():
            source = fetch.excerpt(base, version, names, there)
        if not source:
            log.note(f"bases: {base.package} {version} is neither in the cache "
                     "nor on the mirrors: not tried")
            continue
        wrong = applies(place, source, version)
        jobs.report.result(not wrong, f"bases: {version}", wrong, began)
    if there and fetch.moved(base, there[0]):
        log.note(f"bases: the mirrors have {base.package} {there[0]}"
                 + fetch.moved(base, there[0]))


def newest(jobs):
    """The newest version that there is builds, boots and passes test_core."""
    base = Base(jobs.place.base)
    there = [v for v in archive.offered(base)] or [base.newest]
    os.environ["BASE_VERSION"] = dotted(upstream(there[0]))
    try:
        inner = Jobs(jobs.report)
        guesttests.selftest(inner, "test_core",
                            selftests.programs()["test_core"], "fast")
    finally:
        del os.environ["BASE_VERSION"]
