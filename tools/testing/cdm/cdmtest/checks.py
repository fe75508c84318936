# SPDX-License-Identifier: GPL-2.0
"""The catalogue: every check and test by name, and what it runs."""

import glob
import os
import time

from . import (basecheck, guesttests, measure, paths, selfcheck, selftests,
               static, steps, stocks, upstream)

# Run only when named: what needs another kernel, and a quarter of an hour or
# more. Lane debug has all that lane full has.
ASIDE = ["lane-full", "lane-kcsan", "base-newest"]

# Kernels of make check besides that of its lane, in the order of their use.
AHEAD = ["vanilla", "off", "debug"]


def static_check(jobs, name, function):
    if jobs.tree():
        began = time.monotonic()
        wrong = function(jobs.place)
        jobs.report.result(not wrong, name, wrong, began)


def series(jobs):
    if jobs.tree():
        steps.walk(jobs.place, jobs.report)


def bench(jobs):
    """No target is missed, and RAM costs what it did. Kernels that are here
    anyway are compared.
    """
    lanes = ["vanilla", jobs.place.lane]
    if all(jobs.kernel(lane) for lane in lanes):
        measure.check(lanes, jobs.report)


def catalogue(jobs):
    """{name: function without arguments}, in the order of "make check"."""
    todo, apart = {}, {}	# apart: of a lane, when its kernel is there

    def add(name, function, *args, to=todo):
        to[name] = lambda: function(jobs, *args)

    for name, function in static.CHECKS.items():
        add(name, static_check, name, function)
    add("model-stock", stocks.run)
    add("bases", basecheck.run)
    add("kunit", guesttests.kunit)
    add("runner", selfcheck.run)
    for name, source in selftests.programs().items():
        add(name, guesttests.selftest, name, source,
            to=apart if selftests.wants(source, "lane") else todo)
    for path in sorted(glob.glob(f"{paths.TESTING}/tests/*.sh")):
        name = os.path.basename(path).removesuffix(".sh")
        add(name, guesttests.hosttest, name, path)
    add("series", series)
    add("upstream", upstream.run)
    add("lane-off", guesttests.lane_off)
    add("bench", bench)
    add("lane-full", guesttests.lane_full)
    add("lane-debug", guesttests.lane_debug)
    add("lane-kcsan", guesttests.lane_kcsan)
    add("base-newest", basecheck.newest)
    return {**todo, **apart}
