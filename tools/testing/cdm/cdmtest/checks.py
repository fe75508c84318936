# SPDX-License-Identifier: GPL-2.0
"""The catalogue: every check and test by name, and what it runs."""

import functools
import glob
import os
import time

from . import (basecheck, guesttests, measure, paths, selfcheck, selftests,
               static, steps, stocks, upstream)
from .pool import Step

# Run only when named: what needs another kernel, and a quarter of an hour or
# more. Lane debug has all that lane full has.
ASIDE = ["lane-full", "lane-kcsan", "base-newest"]
# The kernel's own tests on the unpatched kernel, a step that upstream needs.
BASELINE = "upstream-vanilla"

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


def builds(jobs):
    """{name: step} of what checks need."""
    tree, found = jobs.named("tree"), {}
    found[tree] = Step(tree, jobs.tree)
    for lane in paths.lanes():
        name = jobs.named(f"kernel-{lane}")
        found[name] = Step(name, functools.partial(jobs.kernel, lane),
                           [tree], build=True)
    found["programs"] = Step("programs", jobs.programs, [tree])
    found[BASELINE] = Step(BASELINE,
                           functools.partial(upstream.before, jobs),
                           [jobs.named("kernel-vanilla")])
    return found


def catalogue(jobs):
    """{name: step}, in the order of "make check"."""
    todo, apart = {}, {}	# apart: of a lane, when its kernel is there
    tree, own = jobs.named("tree"), jobs.place.lane

    def add(name, function, *args, lanes=(), more=(), to=todo):
        needs = [tree, *[jobs.named(f"kernel-{x}") for x in lanes], *more]
        to[name] = Step(name, functools.partial(function, jobs, *args), needs)

    programs = ["programs"]
    for name, function in static.CHECKS.items():
        add(name, static_check, name, function)
    add("model-stock", stocks.run)
    add("bases", basecheck.run)
    add("kunit", guesttests.kunit, lanes=[own])
    add("runner", selfcheck.run, lanes=[own])
    for name, source in selftests.programs().items():
        lane = selftests.wants(source, "lane")
        add(name, guesttests.selftest, name, source, lanes=[lane or own],
            more=programs, to=apart if lane else todo)
    for path in sorted(glob.glob(f"{paths.TESTING}/tests/*.sh")):
        name = os.path.basename(path).removesuffix(".sh")
        add(name, guesttests.hosttest, name, path, lanes=[own], more=programs)
    add("series", series)
    add("upstream", upstream.run, lanes=[own, "vanilla"], more=[BASELINE])
    add("lane-off", guesttests.lane_off, lanes=["off"])
    add("bench", bench, lanes=[own, "vanilla"])
    add("lane-full", guesttests.lane_full, lanes=["full"], more=programs)
    add("lane-debug", guesttests.lane_debug, lanes=["debug"], more=programs)
    add("lane-kcsan", guesttests.lane_kcsan, lanes=["kcsan"], more=programs)
    add("base-newest", basecheck.newest)
    return {**todo, **apart}
