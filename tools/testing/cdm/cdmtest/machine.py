# SPDX-License-Identifier: GPL-2.0
"""The virtual machine: nodes, memory, disks, and QEMU's command line."""

import os

from . import paths, proc

# Each slab cache on its own, as their objects are counted (guest/audit).
CMDLINE = ("panic=-1 oops=panic watchdog_thresh=30 slab_nomerge "
           "rcupdate.rcu_cpu_stall_timeout=60 cdm_nodes=2,3")
# A slow lane's, as far as the kernel allows.
PATIENCE = "watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=300"

# Nodes of each machine: size in MiB (none: filled by hotplug), CPU, and for a
# machine whose firmware ranks memory the latency (ns) and bandwidth (MB/s)
# that it tells. "hbm" ranks the device above RAM, as that of real devices may
# be; "big" has room for pages of 1 GiB, in RAM and on the device; in "near"
# what is plugged in has the device for its nearest neighbour. The host gives
# what the guest touches, and no more.
NODES = {
    "default": [(768, 0), (512, 1), (256, None), (None, None)],
    "ram": [(768, 0), (512, 1)],
    "hbm": [(768, 0), (512, 1), (256, None)],
    "onlyram": [(None, 0), (None, 1), (1280, None)],
    "big": [(2048, 0), (2048, 1), (2048, None)],
    "near": [(768, 0), (512, 1), (256, None), (None, None)],
}
RANK = {"hbm": [(100, 10240), (100, 10240), (50, 40960)]}
HOTPLUG_MB, HOTPLUG_NODE = 128, 3
# More on the first node in a slow lane: KASAN's shadow and its quarantine, and
# the records of page_owner and kmemleak.
SLOW_MB = 1024

DISKS = [("scratch.ext4", 1 << 30, ["mkfs.ext4", "-q", "-F"]),
         ("swap", 512 << 20, ["mkswap", "-q"])]


def disk(name, size, mkfs):
    """A sparse disk image, made once; guests write to snapshots of it."""
    path = f"{paths.CACHE}/disks/{name}"
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        new = f"{path}.{os.getpid()}"
        with open(new, "wb") as f:
            f.truncate(size)
        proc.run([*mkfs, new], env=dict(
            os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin"))
        os.rename(new, path)
    return path


def disks():
    args = []
    for i, (name, size, mkfs) in enumerate(DISKS):
        args += ["-drive", f"file={disk(name, size, mkfs)},format=raw,"
                 f"if=none,id=disk{i},snapshot=on,cache=unsafe",
                 "-device", f"virtio-blk-pci,drive=disk{i}"]
    return args


def numa(arch, kind, slow):
    nodes, rank = list(NODES[kind]), RANK.get(kind)
    if slow:
        first = next(i for i, (size, _) in enumerate(nodes) if size)
        nodes[first] = (nodes[first][0] + SLOW_MB, nodes[first][1])
    total = sum(size or 0 for size, _ in nodes)
    low = sum(size or 0 for size, cpu in nodes if cpu is not None) or total
    args = ["-machine", arch.machine.format(low=low)
            + (arch.hmat if rank else ""),
            "-m", f"{total}M,slots=4,maxmem=8G", "-smp", "2,sockets=2"]
    for i, (size, cpu) in enumerate(nodes):
        node = f"node,nodeid={i}"
        if size:
            args += ["-object", f"memory-backend-ram,id=ram{i},size={size}M"]
            node += f",memdev=ram{i}"
        if cpu is not None:
            node += f",cpus={cpu}"
        if rank:
            node += f",initiator={0 if cpu is None else i}"
        args += ["-numa", node]
    # The devices hang on node 0 and node 1, as a GPU does on its socket.
    near = {(0, 1): 20, (0, 2): 40, (1, 3): 40,
            (2, 3): 12 if kind == "near" else 80}
    for a in range(len(nodes)):
        for b in range(a + 1, len(nodes)):
            args += ["-numa",
                     f"dist,src={a},dst={b},val={near.get((a, b), 60)}"]
    return args + ranks(rank or [], 2)


def ranks(rank, initiators):
    """What the firmware says of the nodes' latency and bandwidth."""
    args = []
    for i in range(initiators):
        for j, (latency, bandwidth) in enumerate(rank):
            lb = f"hmat-lb,initiator={i},target={j},hierarchy=memory,data-type="
            args += ["-numa", f"{lb}access-latency,latency={latency}",
                     "-numa", f"{lb}access-bandwidth,bandwidth={bandwidth}M"]
    return args


def cmdline(arch, args, slow):
    """The kernel's command line, as a list of words."""
    drop = set(args.without.split())
    words = f"console={arch.console} {arch.cmdline} {CMDLINE}".split()
    words = [x for x in words
             if x not in drop and x.split("=")[0] not in drop]
    if slow:
        words += PATIENCE.split()
    if args.leaks:
        words.append("kmemleak=on")
    if args.nodes == "ram":
        words = [x for x in words if not x.startswith("cdm_nodes=")]
    return words + args.append


def qemu(place, args, accel, initrd):
    """The command that starts it, without what vm connects to it."""
    arch, slow = place.arch, place.slow > 1
    return [arch.qemu, "-accel",
            "kvm" if accel == "kvm" else "tcg,thread=multi",
            "-cpu", "host" if accel == "kvm" else arch.cpu,
            *numa(arch, args.nodes, slow),
            "-nodefaults", "-no-user-config", "-display", "none",
            "-no-reboot", "-kernel", place.image,
            "-initrd", f"/proc/self/fd/{initrd}",
            "-append", " ".join(cmdline(arch, args, slow)),
            "-device", "virtio-rng-pci",
            "-fsdev", "local,id=root,path=/,security_model=none,"
            "readonly=on,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
            "-device", "virtio-serial-pci,max_ports=8", *disks()]
