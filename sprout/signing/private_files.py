"""Files that only their owner may read: keys, and what opens them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import cannot_read, cannot_write

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_private(path: Path, limit: int, *, pipe: bool = False) -> bytes:
    """Read a whole file of at most `limit` bytes that belongs to this user alone.

    `pipe` allows a pipe, which a shell's `<(command)` is. Raises SproutError when another user
    owns the file or may read it, when it is no regular file, or longer.
    """
    try:
        # Opening a pipe that nobody writes to must not hang where no pipe is wanted.
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if pipe else os.O_NONBLOCK))
    except OSError as error:
        raise cannot_read(path, error) from error
    with os.fdopen(number, "rb") as stream:
        # The open file is what is judged, so that nobody can exchange it in between.
        _check(path, os.fstat(number), pipe=pipe)
        try:
            data = stream.read(limit + 1)
        except OSError as error:
            raise cannot_read(path, error) from error
    if len(data) > limit:
        raise SproutError(
            f"{path}: longer than the {limit:,} bytes allowed here", "Name the file that was meant."
        )
    return data


def _check(path: Path, status: os.stat_result, *, pipe: bool) -> None:
    if pipe and stat.S_ISFIFO(status.st_mode):
        return
    if not stat.S_ISREG(status.st_mode):
        raise SproutError(f"{path}: is no regular file", "Name the file itself.")
    if status.st_uid != os.geteuid():
        raise SproutError(
            f"{path}: belongs to user {status.st_uid}, who could exchange or read it",
            "Use a copy of your own that nobody else can read.",
        )
    if status.st_mode & _OTHERS:
        raise SproutError(
            f"{path}: other users may read or change it (mode {stat.S_IMODE(status.st_mode):04o})",
            f"Run: chmod 600 {path}; and replace what is in it if anybody may have seen it.",
        )


def write_private(path: Path, data: bytes) -> None:
    """Make a new file of mode 0600 that holds `data` and is on the disk when this returns.

    It never has another mode, not even for a moment. Raises SproutError when the file exists or
    the file system refuses.
    """
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(number, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(number)
    except OSError as error:
        raise cannot_write(path, error) from error
