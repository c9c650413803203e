"""Reads the files of a key directory: regular files only, so that nothing makes the reader wait."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import cannot_read


def read_regular(path: Path, limit: int) -> bytes:
    """Read a regular file, or one that a link leads to, of at most `limit` bytes.

    Raises SproutError when it cannot be read, is longer, or is a pipe, a device or a directory.
    """
    try:
        # Opening a pipe would otherwise wait for somebody to write to it.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with os.fdopen(handle, "rb") as stream:
            regular = stat.S_ISREG(os.fstat(handle).st_mode)
            data = stream.read(limit + 1) if regular else b""
    except OSError as error:
        raise cannot_read(path, error) from error
    if not regular:
        raise SproutError(f"{path}: is no regular file", "Put the file itself there.")
    if len(data) > limit:
        raise SproutError(
            f"{path}: longer than the {limit:,} bytes allowed here",
            "Get the directory again from its owner; this file is none of a key's.",
        )
    return data


def read_optional(path: Path, limit: int) -> bytes | None:
    """Read a file as `read_regular` does; None when nothing has that name.

    A link that leads nowhere is an error: what it led to may have been what is revoked.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot_read(path, error) from error
    return read_regular(path, limit)
