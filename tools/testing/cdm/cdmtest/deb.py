# SPDX-License-Identifier: GPL-2.0
"""Make installable packages (image, headers, libc headers) of LANE's kernel.

  $ scripts/deb
  /home/me/.cache/cdm/.../build/linux-image-6.12.107-cdm_..._amd64.deb

A lane's configuration fits the guest of scripts/vm. For a real machine give its
own: KCONFIG=/boot/config-$(uname -r) makes packages of that, with cdm on.
"""

import argparse
import glob
import os
import shutil
import subprocess
import sys

from . import kbuild, log, packages, paths, proc

# Keys and debug information of a distribution are not ours to use.
CHANGES = ["-e", "CGROUP_CDM", "-d", "SYSTEM_TRUSTED_KEYS", "-d",
           "SYSTEM_REVOCATION_KEYS", "-d", "DEBUG_INFO", "-e",
           "DEBUG_INFO_NONE", "--set-str", "LOCALVERSION", "-cdm"]


def make(place, target, to):
    # -d: what the packages' control file wants installed, the list of packages
    # names, and the kernel's build says by itself what it lacks.
    ok, _ = kbuild.make(place, [target, "DPKG_FLAGS=-d"], to,
                        f"deb {place.lane}")
    if not ok:
        log.note(log.tail(to))
        log.die(f"make {target} failed; all of it is in {to}")


def main():
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    ).parse_args()
    packages.need("tree", "build", "deb")
    place = paths.Place()
    to = f"{place.logs}/deb.log"
    own = os.environ.get("KCONFIG")
    if own:
        if subprocess.call([f"{paths.SCRIPTS}/tree"]):
            sys.exit(1)
        place.lane, place.kind = "host", "patched"
        place.build = f"{place.work}/build/host"
        os.makedirs(place.build, exist_ok=True)
        shutil.copy(own, f"{place.build}/.config")
        proc.run([f"{place.tree}/scripts/config", "--file",
                 f"{place.build}/.config", *CHANGES])
        make(place, "olddefconfig", to)
    elif subprocess.call([f"{paths.SCRIPTS}/kernel"]):
        sys.exit(1)
    place.lock(f"{place.lane} build")
    # The packages land beside the build directory.
    out = os.path.dirname(place.build)
    for old in glob.glob(f"{out}/linux-*_*"):
        os.unlink(old)
    make(place, "bindeb-pkg", to)
    print("\n".join(sorted(glob.glob(f"{out}/linux-*.deb"))))

