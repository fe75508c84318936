# SPDX-License-Identifier: GPL-2.0
"""Archives for the kernel's initramfs."""


def archive(entries):
    """A newc archive of (path, mode, bytes), which the kernel unpacks."""
    out = bytearray()

    def pad():
        out.extend(b"\0" * (-len(out) % 4))

    for ino, (path, mode, data) in enumerate(
            [*entries, ("TRAILER!!!", 0, b"")]):
        name = path.encode() + b"\0"
        fields = (ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        out += b"070701" + b"".join(b"%08X" % x for x in fields) + name
        pad()
        out += data
        pad()
    return bytes(out)
