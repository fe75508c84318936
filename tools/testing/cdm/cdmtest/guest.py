# SPDX-License-Identifier: GPL-2.0
"""What the guest is given: its first programs, its job, its environment.

The programs are in tools/testing/cdm/guest/; init there tells the rest.
"""

import os
import shlex
import shutil

from . import cpio, files, log, paths

# Where the guest has file systems of its own in place of the host's.
OWN = ("/tmp/", "/run/", "/dev/")
EXE, FILE, DIR = 0o100755, 0o100644, 0o040755


def initramfs(job, interactive, compare):
    busybox = shutil.which("busybox", path="/bin:/usr/bin")
    if not busybox:
        log.die("no busybox on this machine (package busybox-static)")
    init = files.read(f"{paths.GUEST}/init")
    hidden = "".join(f"{d}\n" for d in (paths.REPO, paths.CACHE)
                     if d.startswith(OWN))
    entries = [
        *[(d, DIR, b"") for d in ("bin", "run", "run/cdm", "run/cdm/bin")],
        ("bin/busybox", EXE, files.read(busybox)),
        ("run/cdm/busybox", EXE, files.read(busybox)),
        ("init", EXE, init),
        ("run/cdm/init", EXE, init),
        ("run/cdm/audit", EXE, files.read(f"{paths.GUEST}/audit")),
        ("run/cdm/bin/cdm-hotplug", EXE,
         files.read(f"{paths.GUEST}/cdm-hotplug")),
        ("run/cdm/job", EXE, job.encode()),
        ("run/cdm/hidden", FILE, hidden.encode()),
    ]
    if interactive:
        entries.append(("run/cdm/interactive", FILE, b""))
    if compare:
        entries.append(("run/cdm/compare", FILE, b""))
    return cpio.archive(entries)


def job(place, command):
    """The shell script that the guest runs: the command, or a shell."""
    env = {"CDM_REPO": paths.REPO, "CDM_BUILD": place.programs,
           "CDM_LANE": place.lane, "CDM_SLOW": str(place.slow),
           "TERM": os.environ.get("TERM", "dumb")}
    lines = [f"export {k}={shlex.quote(v)}" for k, v in env.items()]
    if command:
        lines += ["exec " + shlex.join(command)]
    else:
        lines += ["PS1='cdm:\\w# '", "export PS1", "exec bash --norc -i"]
    return "\n".join(lines) + "\n"
