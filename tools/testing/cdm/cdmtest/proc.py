# SPDX-License-Identifier: GPL-2.0
"""Running other programs."""

import os
import signal
import subprocess
import sys

from . import log


def run(cmd, **kw):
    """Run a program; on failure show what it printed and stop."""
    p = subprocess.run(cmd, text=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       errors="replace", **kw)
    if p.returncode:
        sys.stderr.write(p.stdout)
        log.die(f"failed: {' '.join(cmd)}")
    return p.stdout


def together(cmd):
    """Exit status of a program that ends with us, and all that it started."""
    p = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return p.wait()
    except BaseException:
        os.killpg(p.pid, signal.SIGTERM)
        raise


def said(cmd, cwd):
    """(exit status, what it printed)"""
    p = subprocess.run(cmd, cwd=cwd, stdin=subprocess.DEVNULL, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       errors="replace")
    return p.returncode, p.stdout.strip()


def clean_env(*names):
    """The environment without what the make that called us put there."""
    drop = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "V", *names}
    return {k: v for k, v in os.environ.items() if k not in drop}
