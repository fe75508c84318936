# SPDX-License-Identifier: GPL-2.0
"""What the scripts share: where things are, running programs, progress."""

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import time

SCRIPTS = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(SCRIPTS)
VERBOSE = os.environ.get("V") == "1"


def die(text):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {text}")


def note(text):
    print(text, file=sys.stderr, flush=True)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def read(path, default=None):
    """The file's bytes; default, if given, when there is no such file."""
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        if default is None:
            raise
        return default


def write(path, data):
    """Replace a file as a whole, and only if that changes it."""
    if isinstance(data, str):
        data = data.encode()
    if os.path.exists(path) and read(path) == data:
        return False
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "wb") as f:
        f.write(data)
    os.replace(path + ".new", path)
    return True


def words(path):
    """The lines of a small table, split, without comments and blanks."""
    for line in read(path).decode().splitlines():
        fields = line.split("#")[0].split()
        if fields:
            yield fields


CACHE = os.path.abspath(os.path.expanduser(
    os.environ.get("CDM_CACHE") or "~/.cache/cdm"))
# Every clone has its own tree and builds; downloads and ccache are shared.
CLONE = os.path.join(CACHE, "clones", sha(REPO.encode())[:12])


def lanes():
    """{lane: (tree, slow, [fragment, ...])} of scripts/configs/lanes."""
    return {f[0]: (f[1], int(f[2]), f[3:])
            for f in words(f"{SCRIPTS}/configs/lanes")}


class Place:
    """The paths that belong to one base and one lane."""

    def __init__(self, lane=None, base=None):
        self.base = base or os.environ.get("BASE") or "v6.12"
        self.lane = lane or os.environ.get("LANE") or "fast"
        self.hooks = f"{REPO}/patches/{self.base}"
        self.work = f"{CLONE}/{self.base}"
        self.tree = f"{self.work}/tree"
        self.build = f"{self.work}/build/{self.lane}"
        self.logs = f"{self.work}/logs"
        self.programs = f"{self.work}/programs"
        if not os.path.isdir(self.hooks):
            die(f"no such base: {self.base} (there is: "
                f"{' '.join(sorted(os.listdir(REPO + '/patches')))})")
        if self.lane not in lanes():
            die(f"no such lane: {self.lane} (there are: {' '.join(lanes())})")
        self.kind, self.slow, self.fragments = lanes()[self.lane]

    @property
    def source(self):
        """The tree that the lane is built from."""
        return self.tree if self.kind == "patched" else self.pristine

    @property
    def pristine(self):
        """The unpatched base: what scripts/tree unpacked or was pointed at."""
        return read(f"{self.work}/pristine", b"").decode()

    @property
    def image(self):
        return f"{self.build}/arch/x86/boot/bzImage"

    def series(self):
        """The hooks, in their order, as names below self.hooks."""
        path = f"{self.hooks}/series"
        return [f[0] for f in words(path)] if os.path.exists(path) else []

    def lock(self, what):
        """Keep others from changing the same thing until this run ends."""
        os.makedirs(self.work, exist_ok=True)
        self.locks = getattr(self, "locks", [])
        lock = open(f"{self.work}/.lock-{what}", "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"waiting for another run to finish with the {what}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        self.locks.append(lock)


def need(*groups):
    """Install the packages that these groups of scripts/packages lack."""
    if subprocess.call([f"{SCRIPTS}/need", *groups]):
        sys.exit(1)


def run(cmd, **kw):
    """Run a program; on failure show what it printed and stop."""
    p = subprocess.run(cmd, text=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       errors="replace", **kw)
    if p.returncode:
        sys.stderr.write(p.stdout)
        die(f"failed: {' '.join(cmd)}")
    return p.stdout


def touched(patch):
    """The files that a patch changes."""
    return re.findall(r"^\+\+\+ b/(\S+)", read(patch).decode(), re.M)


class Progress:
    """One updating line on a terminal, a line every 10 s elsewhere."""

    def __init__(self, title):
        self.title = title
        self.tty = sys.stderr.isatty()
        self.began = self.last = time.monotonic()

    def show(self, text, share=None):
        now = time.monotonic()
        if now - self.last < (0.1 if self.tty else 10):
            return
        self.last = now
        mark = f"{min(99, int(share * 100)):3}%" if share else "    "
        line = f"{self.title} [{mark}] {text}"
        if self.tty:
            width = os.get_terminal_size(2).columns - 1
            sys.stderr.write("\r\033[K" + line[:width])
        else:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def done(self):
        if self.tty:
            sys.stderr.write("\r\033[K")
        return time.monotonic() - self.began


# What scripts/vm says when QEMU is at fault, and the run is worth another.
STALE = "vm: the emulator ran a breakpoint that is not in memory any more"


def tail(path, lines=30, pattern=None):
    """The end of a log, or the lines of it that match, for error messages."""
    text = read(path, b"").decode(errors="replace").splitlines()
    if pattern:
        text = [x for x in text if re.search(pattern, x)] or text
    return "\n".join("    " + x for x in text[-lines:])


def cpio(entries):
    """A newc archive of (path, mode, bytes), which the kernel unpacks."""
    out = bytearray()

    def pad():
        out.extend(b"\0" * (-len(out) % 4))

    for ino, (path, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")]):
        name = path.encode() + b"\0"
        fields = (ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        out += b"070701" + b"".join(b"%08X" % x for x in fields) + name
        pad()
        out += data
        pad()
    return bytes(out)


def wants(source, what):
    """What follows "WHAT: " in the leading comment of a test, or ""."""
    m = re.search(rf"^[ /*#]*{what}: (.*?)(?:\*/)?$",
                  read(source).decode()[:4096], re.M)
    return m[1].strip() if m else ""


def selftests():
    """{name: source} of the programs that the selftests' Makefile lists."""
    where = f"{REPO}/tools/testing/selftests/cdm"
    text = read(f"{where}/Makefile", b"").decode()
    found = {}
    for kind, names in re.findall(
            r"^(TEST_GEN_PROGS|TEST_PROGS) *[+:]?= *(.*)$", text, re.M):
        for name in names.split():
            found[name.removesuffix(".sh")] = f"{where}/{name}" + \
                (".c" if kind == "TEST_GEN_PROGS" else "")
    return found
