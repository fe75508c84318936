# SPDX-License-Identifier: GPL-2.0
"""Reading and writing whole files."""

import hashlib
import os


def sha(data):
    return hashlib.sha256(data).hexdigest()


def read(path, default=None):
    """The file's bytes; default, if given, when there is no such file."""
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        if default is None:
            raise
        return default


def write(path, data):
    """Replace a file as a whole, and only if that changes it."""
    if isinstance(data, str):
        data = data.encode()
    if os.path.exists(path) and read(path) == data:
        return False
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "wb") as f:
        f.write(data)
    os.replace(path + ".new", path)
    return True


def words(path):
    """The lines of a small table, split, without comments and blanks."""
    for line in read(path).decode().splitlines():
        fields = line.split("#")[0].split()
        if fields:
            yield fields
