# SPDX-License-Identifier: GPL-2.0
"""The table of architectures: all that the tools know of each of them.

A new row here, configs/ARCH.config and a line in packages (what boots it) is
what another architecture takes.
"""

import os
import platform
import re
from typing import NamedTuple

from . import log


class Arch(NamedTuple):
    name: str		# as "uname -m" has it
    srcarch: str	# the kernel's directory: arch/SRCARCH
    target: str		# of the kernel's make: what boots
    image: str		# where that is, below the build directory
    payload: str	# what must be in the image, or "" if nothing is packed
    qemu: str		# the emulator
    machine: str	# its -machine; {low} is the MiB of RAM below the devices
    hmat: str		# added to it, for a firmware that ranks memory
    cpu: str		# the emulated CPU that has the most
    bench_cpu: str	# one whose string operations count as instructions
    console: str	# the guest's first serial port
    cmdline: str	# kernel command line that is this architecture's alone
    bench_cmdline: str
    stale: re.Pattern	# in the console's log: the emulator is at fault


# The kernel patches its code behind a breakpoint, and waits for all CPUs
# before it takes that away. TCG at times has a CPU run it later: the byte
# before the one in <> is where the trap was, and it is no int3 (cc).
INT3 = re.compile(
    rb"Oops: int3: (?:(?!Code: ).)*Code: [0-9a-f ]* (?!cc)[0-9a-f]{2} <", re.S)

TABLE = {a.name: a for a in [
    Arch(name="x86_64", srcarch="x86", target="bzImage",
         image="arch/x86/boot/bzImage",
         payload="arch/x86/boot/compressed/vmlinux.bin.gz",
         qemu="qemu-system-x86_64",
         # The firmware puts its tables and the initramfs at the end of what
         # is below 4 GiB: let that be RAM, so that a device's memory is free.
         machine="q35,max-ram-below-4g={low}M", hmat=",hmat=on",
         cpu="max", bench_cpu="max,-erms,-fsrm",
         console="ttyS0", cmdline="unknown_nmi_panic=1 no_timer_check",
         bench_cmdline="noreplace-smp no_timer_check",
         stale=INT3),
]}


def get(name=None):
    """The row of an architecture: by default the machine's own."""
    name = name or os.environ.get("CDM_ARCH") or platform.machine()
    if name not in TABLE:
        log.die(f"no such architecture: {name} "
                f"(there is: {' '.join(sorted(TABLE))})")
    return TABLE[name]
