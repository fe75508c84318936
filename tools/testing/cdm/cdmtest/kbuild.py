# SPDX-License-Identifier: GPL-2.0
"""Running the kernel's own build, and configuring it."""

import os
import re
import subprocess
import sys

from . import files, log, paths, proc

STEP = re.compile(r"^  [A-Z][A-Z0-9 _+-]* +(\[M\] +)?\S+")


def make(place, targets, to, title, steps=0, source=None, show=True, env=None):
    """Run the kernel's make in a lane's build directory.

    What it prints goes to the file "to"; the progress line shows the newest
    step. steps is how many there are to come, if known. Returns (ok, steps
    done).
    """
    source = source or place.source
    cmd = ["make", "-C", source, f"O={place.build}", f"-j{os.cpu_count()}",
           f"CC={paths.TESTING}/cc", "HOSTCC=ccache gcc", *targets]
    # Paths below the clone's directory count as relative ones, and so the
    # clones share objects; nothing of the build records the time or the user.
    env = dict(proc.clean_env("LANE", "BASE", "T"),
               CCACHE_DIR=f"{paths.CACHE}/objects", CCACHE_NOHASHDIR="1",
               CCACHE_BASEDIR=paths.CACHE, CCACHE_MAXSIZE="6G",
               CCACHE_DEPEND="1",
               CCACHE_COMPILERCHECK="content",
               KBUILD_BUILD_TIMESTAMP="Thu Jan  1 00:00:00 UTC 1970",
               KBUILD_BUILD_USER="cdm", KBUILD_BUILD_HOST="cdm", **(env or {}))
    os.makedirs(os.path.dirname(to), exist_ok=True)
    os.makedirs(place.build, exist_ok=True)
    bar, count = log.Progress(title), 0
    with open(to, "w") as out, subprocess.Popen(
            cmd, text=True, env=env, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT) as p:
        for line in p.stdout:
            out.write(line)
            if log.VERBOSE:
                sys.stderr.write(line)
            elif STEP.match(line):
                count += 1
                if show:
                    bar.show(" ".join(line.split()),
                             count / steps if steps else None)
    bar.done()
    arch = place.arch
    if not p.returncode and arch.target in targets and arch.payload:
        if files.read(f"{place.build}/{arch.payload}") \
                not in files.read(place.image):
            log.die(f"{place.image} has another kernel in it than was built")
    return p.returncode == 0, count


def wanted(place):
    """The fragments as {symbol: line}, later ones override earlier ones."""
    want = {}
    for name in [place.arch.name, *place.fragments]:
        text = files.read(f"{paths.CONFIGS}/{name}.config").decode()
        for line in text.splitlines():
            m = re.match(r"(?:# )?(CONFIG_\w+)(=| is not set$)", line)
            if m:
                want[m[1]] = line
    return want


def configure(place):
    """Write the lane's .config, touching it only when it changes."""
    want = wanted(place)
    new = ".config.lane"
    os.makedirs(place.build, exist_ok=True)
    files.write(f"{place.build}/.fragments", "\n".join(want.values()) + "\n")
    to = f"{place.logs}/config-{place.lane}.log"
    ok, _ = make(place, [f"KCONFIG_CONFIG={new}",
                         "KCONFIG_ALLCONFIG=.fragments", "allnoconfig"],
                 to, "config", show=False)
    if not ok:
        log.note(log.tail(to))
        log.die("could not configure")
    got = set(files.read(f"{place.build}/{new}").decode().splitlines())
    # An option that cannot be seen is not set either, and has no line.
    names = {x.split("=")[0] for x in got if "=" in x}
    lost = [x for s, x in want.items()
            if x not in got and not (x.startswith("#") and s not in names)]
    if lost:
        log.die("options that did not stick in lane "
                f"{place.lane}:\n  " + "\n  ".join(lost))
    files.write(f"{place.build}/.config", files.read(f"{place.build}/{new}"))
