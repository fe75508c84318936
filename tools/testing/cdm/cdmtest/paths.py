# SPDX-License-Identifier: GPL-2.0
"""Where things are: the repository, the cache, what belongs to a lane."""

import fcntl
import os

from . import arch, files, log

PACKAGE = os.path.dirname(os.path.realpath(__file__))
# The package's data: configs/, guest/, mail/, packages and the tests.
TESTING = os.path.dirname(PACKAGE)
REPO = os.path.abspath(f"{TESTING}/../../..")
# A verb that another one needs runs as a program, which holds its locks
# until it ends: its entry point is here.
SCRIPTS = f"{REPO}/scripts"
CONFIGS = f"{TESTING}/configs"
GUEST = f"{TESTING}/guest"

CACHE = os.path.abspath(os.path.expanduser(
    os.environ.get("CDM_CACHE") or "~/.cache/cdm"))
# Every clone has its own tree and builds; downloads and ccache are shared.
CLONE = os.path.join(CACHE, "clones", files.sha(REPO.encode())[:12])


def lanes():
    """{lane: (tree, slow, [fragment, ...])} of configs/lanes."""
    return {f[0]: (f[1], int(f[2]), f[3:])
            for f in files.words(f"{CONFIGS}/lanes")}


class Place:
    """The paths that belong to one base and one lane."""

    def __init__(self, lane=None, base=None):
        self.arch = arch.get()
        self.base = base or os.environ.get("BASE") or "v6.12"
        self.lane = lane or os.environ.get("LANE") or "fast"
        self.hooks = f"{REPO}/patches/{self.base}"
        # A version of the base that is asked for has a tree of its own.
        self.version = os.environ.get("BASE_VERSION")
        self.work = f"{CLONE}/" + \
            (f"v{self.version}" if self.version else self.base)
        self.tree = f"{self.work}/tree"
        self.build = f"{self.work}/build/{self.lane}"
        self.logs = f"{self.work}/logs"
        self.programs = f"{self.work}/programs"
        if not os.path.isdir(self.hooks):
            log.die(f"no such base: {self.base} (there is: "
                    f"{' '.join(sorted(os.listdir(REPO + '/patches')))})")
        if self.version and not self.version.startswith(
                self.base.removeprefix("v") + "."):
            log.die(f"BASE_VERSION={self.version} is no version of "
                    f"{self.base}")
        if self.lane not in lanes():
            log.die(f"no such lane: {self.lane} "
                    f"(there are: {' '.join(lanes())})")
        self.kind, self.slow, self.fragments = lanes()[self.lane]

    @property
    def source(self):
        """The tree that the lane is built from."""
        return self.tree if self.kind == "patched" else self.pristine

    @property
    def pristine(self):
        """The unpatched base: what fetch unpacked or was pointed at."""
        return files.read(f"{self.work}/pristine", b"").decode()

    @property
    def image(self):
        return f"{self.build}/{self.arch.image}"

    def lock(self, what):
        """Keep others from changing the same thing until this run ends."""
        os.makedirs(self.work, exist_ok=True)
        self.locks = getattr(self, "locks", [])
        lock = open(f"{self.work}/.lock-{what}", "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.note(f"waiting for another run to finish with the {what}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        self.locks.append(lock)
