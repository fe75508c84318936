# SPDX-License-Identifier: GPL-2.0
"""A running guest: QEMU, and everything that is connected to it."""

import array
import ctypes
import fcntl
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import termios
import tty

from . import console, files, guest, log, machine
from .clock import LOOK, Clock

# Exit statuses of a run that are not the command's.
TIMED_OUT, BROKEN = 124, 125


class Emulator:
    """One run of QEMU, and everything that is connected to it."""

    # Serial ports of the guest, in the order of their numbers.
    PORTS = ["ctl", "req", "out", "err", "size"]

    def __init__(self, place, args, job, accel):
        self.args = args
        self.arch = place.arch
        self.interactive = args.verb == "shell"
        self.sockets = {}
        self.buffers = {}
        self.status = None
        self.booted = False
        self.problems = []
        self.dimms = []
        self.removing = None
        self.log = open(args.log, "wb")
        self.allow = re.compile(args.allow) if args.allow else None
        self.old_tty = None
        # A file that lives only as long as it is open, so no run leaves one.
        self.initrd = os.memfd_create("initramfs", 0)
        os.write(self.initrd, guest.initramfs(job, self.interactive,
                                              args.compare))
        self.qemu = self.start(place, accel)

    def chardev(self, name):
        ours, theirs = socket.socketpair()
        self.sockets[name] = ours
        self.buffers[name] = b""
        self.theirs.append(theirs)
        return f"socket,id={name},fd={theirs.fileno()}"

    def start(self, place, accel):
        self.theirs = []
        cmd = [*machine.qemu(place, self.args, accel, self.initrd),
               "-chardev", self.chardev("log"), "-serial", "chardev:log",
               "-chardev", self.chardev("qmp"),
               "-mon", "chardev=qmp,mode=control"]
        if self.interactive:
            cmd += ["-chardev", self.chardev("tty"),
                    "-device", "virtconsole,chardev=tty,nr=0"]
        for i, name in enumerate(self.PORTS):
            cmd += ["-chardev", self.chardev(name), "-device",
                    f"virtserialport,chardev={name},nr={i + 1},name=cdm.{name}"]
        # Its own session: ^C is for this program, which then ends it; and it
        # does not outlive this program however that ends.
        libc = ctypes.CDLL(None)
        qemu = subprocess.Popen(
            cmd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, start_new_session=True,
            preexec_fn=lambda: libc.prctl(1, signal.SIGKILL),
            pass_fds=[self.initrd] + [s.fileno() for s in self.theirs])
        for s in self.theirs:
            s.close()
        return qemu

    # What the guest and QEMU say.

    def take_log(self, data):
        self.log.write(data)
        self.log.flush()
        self.buffers["log"] += data
        *lines, self.buffers["log"] = self.buffers["log"].split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").rstrip()
            if console.complaint(text, self.allow):
                self.problems.append(text)

    def take_ctl(self, line):
        word, _, rest = line.partition(" ")
        if word == "exit":
            self.status = int(rest)
            self.sockets["ctl"].sendall(b"bye\n")
        elif word == "booted":
            self.booted = True
            self.send_size()
        elif word == "audit" and not rest.endswith(" ok"):
            self.problems.append(f"audit of device nodes: {rest}")
        elif word == "wrong":
            self.problems.append(rest)

    def take_req(self, line):
        """cdm-hotplug asks; the answer to "remove" comes with an event."""
        i = len(self.dimms)
        if line == "add":
            self.qmp("object-add", {
                "qom-type": "memory-backend-ram", "id": f"mem{i}",
                "size": machine.HOTPLUG_MB << 20})
            self.qmp("device_add", {
                "driver": "pc-dimm", "id": f"dimm{i}", "memdev": f"mem{i}",
                "node": machine.HOTPLUG_NODE},
                lambda ok: (ok and self.dimms.append(i), self.answer(ok)))
        elif line == "remove" and i:
            self.removing = i - 1
            self.qmp("device_del", {"id": f"dimm{i - 1}"},
                     lambda ok: ok or self.answer(False))
        else:
            self.answer(False)

    def take_qmp(self, line):
        msg = json.loads(line)
        if "QMP" in msg:
            self.qmp("qmp_capabilities", {})
        elif "return" in msg or "error" in msg:
            if "error" in msg:
                self.log.write(f"qmp: {msg['error']['desc']}\n".encode())
            then = self.calls.pop(msg["id"])
            if then:
                then("return" in msg)
        elif self.removing is not None:
            gone = msg["event"] == "DEVICE_DELETED" and \
                msg["data"].get("device") == f"dimm{self.removing}"
            if gone:
                self.dimms.pop()
                self.qmp("object-del", {"id": f"mem{self.removing}"})
            if gone or msg["event"] in ("MEM_UNPLUG_ERROR",
                                        "DEVICE_UNPLUG_GUEST_ERROR"):
                self.removing = None
                self.answer(gone)

    calls = {}

    def qmp(self, command, arguments, then=None):
        n = len(self.calls) + 1 if not self.calls else max(self.calls) + 1
        self.calls[n] = then
        self.sockets["qmp"].sendall(json.dumps(
            {"execute": command, "arguments": arguments, "id": n}).encode())

    def answer(self, ok):
        self.sockets["req"].sendall(b"ok\n" if ok else b"failed\n")

    # The terminal of an interactive guest.

    def send_size(self, *_):
        if self.interactive and self.booted and sys.stdin.isatty():
            size = array.array("H", [0] * 4)
            fcntl.ioctl(0, termios.TIOCGWINSZ, size)
            self.sockets["size"].sendall(b"%d %d\n" % (size[0], size[1]))

    def open_terminal(self):
        if sys.stdin.isatty():
            self.old_tty = termios.tcgetattr(0)
            tty.setraw(0)
            signal.signal(signal.SIGWINCH, self.send_size)

    def close_terminal(self):
        if self.old_tty:
            termios.tcsetattr(0, termios.TCSADRAIN, self.old_tty)

    # The run.

    def handle(self, name, sel):
        if name == "stdin":
            data = os.read(0, 4096)
            if not data:
                sel.unregister(0)
            # ^D could come while the shell is not reading, and be lost.
            self.sockets["tty"].sendall(data or b"exit\n")
            return
        try:
            data = self.sockets[name].recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            sel.unregister(self.sockets[name])
            self.open.discard(name)
        elif name == "log":
            self.take_log(data)
        elif name in ("out", "tty", "err"):
            stream = sys.stderr if name == "err" else sys.stdout
            stream.buffer.write(data)
            stream.buffer.flush()
        else:
            self.buffers[name] += data
            *lines, self.buffers[name] = self.buffers[name].split(b"\n")
            for line in lines:
                getattr(self, f"take_{name}")(line.decode().strip())

    def loop(self):
        """Serve the guest until QEMU closes all its ends; False on timeout.

        The limit is in seconds of the emulator's clock, which goes more slowly
        when it has to wait for a CPU.
        """
        limit = self.args.timeout
        clock = Clock(self.qemu.pid)
        sel = selectors.DefaultSelector()
        self.open = set(self.sockets)
        for name, sock in self.sockets.items():
            sel.register(sock, selectors.EVENT_READ, name)
        if self.interactive:
            self.open_terminal()
            sel.register(0, selectors.EVENT_READ, "stdin")
        poked = False
        while self.open:
            if limit and clock.read() >= limit:
                if poked:
                    return False
                # Its panic on an unknown NMI tells where the kernel is.
                poked, limit = True, limit + 5
                self.log.write(b"vm: out of time, sending an NMI\n")
                self.qmp("inject-nmi", {})
                continue
            for key, _ in sel.select(LOOK if limit else None):
                self.handle(key.data, sel)
        return not poked

    def run(self):
        try:
            in_time = self.loop()
        finally:
            self.close_terminal()
            if self.qemu.poll() is None:
                try:
                    self.qemu.wait(2)
                except subprocess.TimeoutExpired:
                    self.qemu.kill()
            errors = self.qemu.stderr.read().decode(errors="replace")
            self.qemu.wait()
            self.log.close()
        return self.verdict(in_time, errors)

    def verdict(self, in_time, errors):
        args = self.args
        if not in_time:
            log.note(f"vm: no end after {args.timeout} s; the console's tail:\n"
                     + log.tail(args.log))
            return TIMED_OUT
        if self.status is None:
            log.note("vm: the guest died; the console's tail:\n"
                     + log.tail(args.log) + "\n" + errors)
            if self.arch.stale.search(files.read(args.log)):
                log.note(console.STALE)
            # Nothing that a guest does may end QEMU so.
            if -self.qemu.returncode in (signal.SIGSEGV, signal.SIGABRT,
                                         signal.SIGBUS, signal.SIGILL):
                log.note(console.CRASHED)
            return BROKEN
        if args.check_log and self.problems:
            log.note("vm: the kernel complained:")
            for text in self.problems[:40]:
                log.note(f"    {text}")
            return self.status or BROKEN
        return self.status
