# SPDX-License-Identifier: GPL-2.0
"""What a verb tells its user: messages, progress, the ends of logs."""

import os
import re
import sys
import time

from . import files

VERBOSE = os.environ.get("V") == "1"


def die(text):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {text}")


def note(text):
    print(text, file=sys.stderr, flush=True)


def tail(path, lines=30, pattern=None):
    """The end of a log, or the lines of it that match, for error messages."""
    text = files.read(path, b"").decode(errors="replace").splitlines()
    if pattern:
        text = [x for x in text if re.search(pattern, x)] or text
    return "\n".join("    " + x for x in text[-lines:])


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
