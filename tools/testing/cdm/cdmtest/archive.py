# SPDX-License-Identifier: GPL-2.0
"""Debian's archive: which versions of a source package the mirrors have.

They are the mirrors that this machine already uses, asked by a private apt
configuration, as the suite that carries a package need not be the one that is
installed here. apt verifies the signatures of the package lists.
"""

import glob
import os
import re
import subprocess

from . import files, log, paths

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
APT = f"{paths.CACHE}/apt"
OPTIONS = ["-o", f"Dir::Etc::SourceList={APT}/sources.list",
           "-o", "Dir::Etc::SourceParts=/dev/null",
           "-o", f"Dir::State::Lists={APT}/lists",
           "-o", f"Dir::Cache={APT}/cache",
           "-o", "Dir::State::Status=/dev/null"]


def apt(*args, show=False):
    """(whether it worked, what it printed); show: to the terminal instead"""
    user = subprocess.run(["id", "-un"], stdout=subprocess.PIPE, text=True)
    p = subprocess.run(
        [*args, *OPTIONS, "-o", f"APT::Sandbox::User={user.stdout.strip()}"],
        stdin=subprocess.DEVNULL, text=True, cwd=f"{paths.CACHE}/base",
        stdout=2 if show else subprocess.PIPE,
        stderr=None if show else subprocess.STDOUT)
    return p.returncode == 0, p.stdout or ""


def sites(label):
    """Sites of this machine's sources with this label, whatever their form."""
    p = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(LABEL)|$(SITE)",
         "Created-By: Packages"], stdout=subprocess.PIPE, text=True)
    return sorted({x.split("|")[1] for x in p.stdout.splitlines()
                   if x.startswith(label + "|")})


def setup(base):
    """Write the private configuration; False if the machine has no mirror. A
    proxy may be all that it reaches: its apt configuration stays in force.
    """
    for d in ("lists/partial", "cache/archives/partial"):
        os.makedirs(f"{APT}/{d}", exist_ok=True)
    os.makedirs(f"{paths.CACHE}/base", exist_ok=True)
    if not sites("Debian"):
        root = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.call([*root, "apt-get", "-q", "update"], stdout=2)
    lines = [f"deb [signed-by={KEYRING}] {site} {suite} main\n"
             for label, suites in (("Debian", base.suites),
                                   ("Debian-Security", base.security))
             for site in sites(label) for suite in suites]
    files.write(f"{APT}/sources.list", "".join(lines))
    return bool(lines)


def offered(base):
    """Versions of the base's package that the mirrors have, newest first.

    No suite has to be there: a mirror need not carry each of them.
    """
    if not setup(base):
        return []
    apt("apt-get", "-q", "update", "-o", "Acquire::http::Timeout=20")
    ok, out = apt("apt-cache", "madison", base.package)
    found = []
    for line in out.splitlines() if ok else []:
        fields = [x.strip() for x in line.split("|")]
        if len(fields) == 3 and fields[1] not in found:
            found.append(fields[1])
    return found


def download(package, version):
    """The path of a package that apt has verified."""
    for old in glob.glob(f"{paths.CACHE}/base/{package}_*.deb"):
        os.unlink(old)
    ok, out = apt("apt-get", "-q", "download", f"{package}={version}",
                  show=True)
    found = glob.glob(f"{paths.CACHE}/base/{package}_*.deb")
    if not ok or len(found) != 1:
        log.die(f"could not download {package} {version}")
    return found[0]


def checksum(path):
    return re.match(r"\w+", subprocess.run(
        ["sha256sum", path], stdout=subprocess.PIPE, text=True,
        check=True).stdout)[0]
