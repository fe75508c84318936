# SPDX-License-Identifier: GPL-2.0
"""Run a command, or a shell, in a fresh guest that boots a lane's kernel.

  $ scripts/vm run -- sh -c 'cat /sys/devices/system/node/has_memory; exit 3'
  0-2
  $ echo $?
  3

The guest has the host's root file system (what it writes there is lost), two
nodes with a CPU and RAM each, node 2 that is a device's memory, and node 3 that
is one after "cdm-hotplug add". The command runs as root in /scratch, on an ext4
disk; there is swap. Its output and exit status are those of the run, which also
fails on any warning in the kernel's log (the log is shown), when the books of
the device nodes do not balance at the end, on a panic and on a hang. In a lane
with lockdep it fails as well when that is no longer on at the end, with --leaks
when memory was leaked, and with --compare when the kernel has more groups,
tasks or memory in use at the end than at the start.

Exit status: the command's; 124 for out of time; 125 for all else that is wrong.
"""

import argparse
import os
import signal
import sys

from . import files, guest, log, machine, packages, paths
from .emulator import BROKEN, TIMED_OUT, Emulator


def kvm_works(place, args):
    """Whether a guest really boots on KVM: some machines' opens, then hangs.

    Asked once for every boot of this machine.
    """
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
    except OSError:
        return False
    boot = files.read("/proc/sys/kernel/random/boot_id").decode().strip()
    known = f"{paths.CACHE}/kvm"
    state = files.read(known, b"").decode().split()
    if state[:1] != [boot]:
        probe = argparse.Namespace(**{
            **vars(args), "verb": "run", "timeout": 20, "check_log": False,
            "log": os.devnull, "append": [], "without": ""})
        log.note("vm: trying whether KVM works here")
        run = Emulator(place, probe, "exit 0", "kvm")
        try:
            run.loop()
        finally:
            run.qemu.kill()
            run.qemu.wait()
        state = [boot, "works" if run.status == 0 else "hangs"]
        files.write(known, " ".join(state) + "\n")
    return state[1] == "works"


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("verb", choices=["run", "shell"])
    ap.add_argument("--lane", help="the kernel to boot (fast)")
    ap.add_argument("--image", help="a bzImage to boot instead")
    ap.add_argument("--append", action="append", default=[],
                    help="more kernel command line")
    ap.add_argument("--without", default="", metavar="WORDS",
                    help="words, or names of NAME=VALUE, to leave out of it")
    ap.add_argument("--timeout", type=float, metavar="S",
                    help="seconds until the guest is given up (run: 300);\n"
                    "that many times more in a slow lane")
    ap.add_argument("--allow", metavar="REGEX",
                    help="complaints of the kernel that are expected")
    ap.add_argument("--no-check-log", dest="check_log", action="store_false",
                    help="let the kernel complain")
    ap.add_argument("--nodes", choices=machine.NODES, default="default",
                    help="default; ram: without the device's nodes;\n"
                    "hbm: firmware ranks the device's memory above RAM;\n"
                    "onlyram: node 2 has all memory that there is;\n"
                    "big: some GiB, for pages of 1 GiB")
    ap.add_argument("--leaks", action="store_true",
                    help="look for leaked memory at the end (lane debug; a\n"
                    "minute or two)")
    ap.add_argument("--compare", action="store_true",
                    help="the kernel must have no more groups, tasks and\n"
                    "memory in use at the end than at the start")
    ap.add_argument("--log", help="keep the kernel's log in this file")
    ap.usage = "vm run [OPTIONS] -- COMMAND...  |  vm shell [OPTIONS]"
    words, command = sys.argv[1:], []
    if "--" in words:
        cut = words.index("--")
        words, command = words[:cut], words[cut + 1:]
    args = ap.parse_args(words)
    args.command = command
    if (args.verb == "run") != bool(args.command):
        ap.error("run needs a command, shell takes none")
    if args.timeout is None and args.verb == "run":
        args.timeout = 300

    packages.need("vm")
    place = paths.Place(args.lane)
    if args.timeout:
        args.timeout *= place.slow
    if args.image:
        place = argparse.Namespace(
            arch=place.arch, lane=place.lane, slow=place.slow,
            image=args.image, logs=place.logs, programs=place.programs)
    if not os.path.exists(place.image):
        log.die(f"no kernel at {place.image}; make kernel LANE={place.lane}")
    keep = bool(args.log)
    args.log = args.log or f"{place.logs}/vm-{os.getpid()}.log"
    os.makedirs(os.path.dirname(os.path.abspath(args.log)), exist_ok=True)
    accel = os.environ.get("CDM_ACCEL") or \
        ("kvm" if kvm_works(place, args) else "tcg")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(BROKEN))
    run = Emulator(place, args, guest.job(place, args.command), accel)
    try:
        status = run.run()
    except KeyboardInterrupt:
        run.qemu.kill()
        status = 130
    if run.problems or status in (TIMED_OUT, BROKEN):
        if args.check_log:
            log.note(f"vm: kernel log: {args.log}")
    elif not keep:
        os.unlink(args.log)
    sys.exit(status)
