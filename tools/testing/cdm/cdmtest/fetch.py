# SPDX-License-Identifier: GPL-2.0
"""Unpack the kernel source that patches/BASE/base names, and print where.

  $ scripts/fetch v6.12
  /home/me/.cache/cdm/base/linux-source-6.12_6.12.107-1

The pinned version is taken as long as a suite has it, then the newest that
there is. BASE_VERSION=6.12.117 names one. KSRC=<dir> is used instead, when
set: any tree of the same series.
"""

import argparse
import fcntl
import glob
import os
import shutil
import subprocess

from . import archive, files, log, packages, paths, proc
from .bases import Base, dotted, upstream, version_of

WHERE = f"{paths.CACHE}/base"


def use_ksrc(base, source):
    """A copy, as a tree that was built in cannot serve for builds outside of
    it.
    """
    version = version_of(source)
    if not version:
        log.die(f"no kernel source in KSRC={source}")
    if f"v{dotted(version[:2])}" != base.name:
        log.die(f"{source} is v{dotted(version[:2])}, not {base.name}")
    name = files.sha(f"{os.path.realpath(source)}\n".encode())[:12]
    where = f"{WHERE}/ksrc-{name}"
    proc.run(["rsync", "-a", "--delete", "--exclude=.git", "--exclude=/.pc",
              "--exclude=/patches", f"{source}/", f"{where}/"])
    if os.path.exists(f"{where}/.config"):
        proc.run(["make", "-s", "-C", where, "mrproper"])
    return where


def lock():
    """Others wait until this run has what it wants."""
    os.makedirs(WHERE, exist_ok=True)
    held = open(f"{WHERE}/.lock", "w")
    fcntl.flock(held, fcntl.LOCK_EX)
    return held


def choose(base, wanted):
    """A version that the mirrors have, and one line if it is not the pin."""
    there = archive.offered(base)
    if not there:
        log.die(f"no Debian mirror of this machine has {base.package}; set "
                f"KSRC=<a tree of {base.name}>")
    if wanted:
        same = [v for v in there if v == wanted or
                dotted(upstream(v)) == wanted]
        if not same:
            log.die(f"the mirrors have no {base.package} {wanted}; "
                    f"they have {' '.join(there)}")
        return next((v for v in same if v in base.known), same[0])
    if base.version in there:
        return base.version
    version = there[0]
    log.note(f"fetch: {base.package} {base.version} has left the mirrors; "
             f"using {version}" + moved(base, version))
    return version


def moved(base, version):
    """What to say of a version that the hooks were not tried on, or ""."""
    if upstream(version) <= upstream(base.newest):
        return ""
    return (f", which is newer than {base.newest}, the newest that the hooks "
            "are known to fit")


def get(base, version):
    """Download it: the path of the package, with the checksum that is known,
    or else with that of the archive's signed index, which apt verifies.
    """
    deb = archive.download(base.package, version)
    if version in base.known and archive.checksum(deb) != base.known[version]:
        log.die(f"{deb} is not what {base.path} says")
    return deb


def extract(deb, where, *members):
    """Unpack the source's archive, or some members of it, to a directory."""
    for old in glob.glob(f"{WHERE}/*.new.*"):
        shutil.rmtree(old, ignore_errors=True)
    new = f"{where}.new.{os.getpid()}"
    os.makedirs(f"{new}/tree")
    log.note(f"unpacking {os.path.basename(deb).removesuffix('_all.deb')}")
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb],
                          stdout=subprocess.PIPE) as p:
        subprocess.run(["tar", "-x", "-C", new, "--wildcards",
                        "--strip-components=3",
                        "./usr/src/linux-source-*.tar.*"],
                       stdin=p.stdout, check=True)
    proc.run(["tar", "-x", "-C", f"{new}/tree", "--strip-components=1",
              "-f", *glob.glob(f"{new}/linux-source-*.tar.*"), *members])
    shutil.rmtree(where, ignore_errors=True)
    os.rename(f"{new}/tree", where)
    shutil.rmtree(new)
    os.unlink(deb)


def source(base, wanted):
    """The directory of the version that is wanted, or of the pinned one."""
    there = f"{WHERE}/{base.package}_"
    named = wanted or base.version
    # The version that was taken when there was none of that name.
    instead = f"{there}{named}.instead"
    chosen = files.read(instead, b"").decode().strip()
    for version in (named, chosen):
        if version and os.path.isdir(there + version):
            return there + version
    version = choose(base, wanted)
    if not os.path.isdir(there + version):
        extract(get(base, version), there + version)
    if version != named:
        files.write(instead, f"{version}\n")
    return there + version


def excerpt(base, version, names, there):
    """A directory with these files of a version, or None if neither the cache
    nor one of the mirrors, which have the versions "there", has it.
    """
    whole = f"{WHERE}/{base.package}_{version}"
    part = f"{whole}.excerpt"
    for where in (whole, part):
        if all(os.path.exists(f"{where}/{x}") for x in names):
            return where
    if version not in there:
        return None
    extract(get(base, version), part, *[f"{base.package}/{x}" for x in names])
    return part


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("base")
    args = ap.parse_args()
    packages.need("tree")
    base = Base(args.base)
    with lock():
        ksrc = os.environ.get("KSRC")
        print(use_ksrc(base, ksrc) if ksrc else
              source(base, os.environ.get("BASE_VERSION")))
