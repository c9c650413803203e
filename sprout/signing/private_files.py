"""Whose the files of key directories are: keys that their owner alone may read, and public files
that everybody may read and nobody else may change.
"""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import cannot_read, cannot_write, staged_file

PUBLIC_FILE = 0o644
PUBLIC_DIRECTORY = 0o755
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_NO_CORE = 1
_MAX_ENTRIES = 256


def leave_no_core() -> None:
    """Keep this process, which is about to hold a secret, from leaving a core dump of it.

    A limit of 1 is below the smallest core file, and the one that Linux also heeds where dumps go
    to a program (fs/coredump.c), which 0 does not stop. A limit that is lower already stays. That
    suffices without prctl(PR_SET_DUMPABLE), which would also take /proc/self/fd from the user.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    limit = _NO_CORE if hard == resource.RLIM_INFINITY else min(_NO_CORE, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


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


def write_public(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one step, with mode 0644 under any umask; raises SproutError."""
    with staged_file(path) as staging:
        staging.write_bytes(data)
        staging.chmod(PUBLIC_FILE)


def public_entries(directory: Path) -> list[Path]:
    """Give what lies in a directory of public keys that only this user and root can change, sorted.

    Raises SproutError when others can, when it holds too much, or cannot be looked at.
    """
    try:
        entries = sorted(directory.iterdir())
    except OSError as error:
        raise cannot_read(directory, error) from error
    if len(entries) > _MAX_ENTRIES:
        raise SproutError(f"{directory}: holds more than {_MAX_ENTRIES} files", "Name a KEY.pub.")
    for path in (directory, *entries):
        if path == directory or not path.name.startswith("."):  # scratch of others may go away
            _check_unchanged(path)
    return entries


def _check_unchanged(path: Path) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise cannot_read(path, error) from error
    if status.st_uid not in (0, os.geteuid()):
        raise SproutError(
            f"{path}: belongs to user {status.st_uid}, who decides what it trusts",
            "Use a copy of your own, made from where you trust it.",
        )
    if status.st_mode & _OTHERS_WRITE:
        mode = stat.S_IMODE(status.st_mode)
        raise SproutError(
            f"{path}: other users may change whom it trusts (mode {mode:04o})",
            f"Check what is in it, then run: chmod go-w {path}",
        )
