# SPDX-License-Identifier: GPL-2.0
"""The model of the stock protocol, under Spin: it holds, and without any one of
its parts it does not.
"""

import concurrent.futures
import os
import re
import tempfile
import time

from . import files, paths, proc

MODEL = f"{paths.TESTING}/model/stock.pml"
SCENARIOS = ["LIMIT", "REMOVE", "LOWER", "HOTPLUG"]
# What Spin may take. To optimize would take longer than it saves.
LIMITS = ["-DSAFETY", "-DCOLLAPSE", "-DVECTORSZ=2048", "-DMEMLIM=4000"]
DEPTH = 1000000


def mutants(text):
    """[(name, scenario, what is left out)], as the model's comments say."""
    return [(name, scenario or SCENARIOS[0], what) for name, scenario, what in
            re.findall(r"^#ifn?def (\w+)\s+/\* mutant(?: of (\w+))?: "
                       r"(.*?) \*/$", text, re.M)]


def verify(words):
    """(errors found, what Spin said); without a number if it did not finish."""
    with tempfile.TemporaryDirectory() as work:
        for cmd in (["spin", "-a", *[f"-D{w}" for w in words], MODEL],
                    ["gcc", "-O0", "-w", *LIMITS, "-o", "pan", "pan.c"]):
            status, said = proc.said(cmd, work)
            if status:
                return None, said
        _, said = proc.said(["./pan", f"-m{DEPTH}", "-n"], work)
        trail = "stock.pml.trail"
        if os.path.exists(f"{work}/{trail}"):
            said += "\n" + proc.said(
                ["spin", "-t", "-p", "-k", trail,
                 *[f"-D{w}" for w in words], MODEL], work)[1]
    found = re.search(r"errors: (\d+)", said)
    cut = re.search(r"max search depth too small|out of memory|"
                    r"not completed", said)
    errors = int(found[1]) if found else None
    return (None if cut and not errors else errors), said


def run(jobs):
    """Every scenario without an error, and each mutant with one."""
    text = files.read(MODEL).decode()
    todo = [([s], f"model-stock: {s.lower()}") for s in SCENARIOS] + \
        [([scenario, name], f"model-stock: not if {what}")
         for name, scenario, what in mutants(text)]
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda t: verify(t[0]), todo)
        for (words, title), (errors, said) in zip(todo, results):
            good = errors == 0 if len(words) == 1 else bool(errors)
            jobs.report.result(good, title, f"-D{' -D'.join(words)}\n{said}")
    jobs.report.result(len(todo) > len(SCENARIOS), "model-stock",
                       "no mutants found", began)
