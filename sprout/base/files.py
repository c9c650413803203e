"""Reads within bounds, and writes so that nothing half-written is seen under a final name."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sprout.base.errors import SproutError

_CHUNK = 1 << 20
_OWNER = re.compile(r"(?:^[a-z]+-|\.)([0-9]{1,10})-[A-Za-z0-9_]{4,16}(?:\.tmp|\.old)?$")
_STALE_S = 3600.0
# What the names here lead to is a descriptor that is open already (proc(5), fd(4)).
_DESCRIPTORS = (Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd"))


def sha256_file(path: Path) -> str:
    """Give the SHA-256 of a file's bytes as 64 lower-case hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a whole file of at most `limit` bytes.

    Raises SproutError when the file cannot be read or is longer.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise cannot_read(path, error) from error
    if len(data) > limit:
        raise SproutError(
            f"{path}: longer than the {limit:,} bytes allowed here",
            "Name the file that was meant; this one is no input of this command.",
        )
    return data


def cannot_read(path: Path, error: OSError) -> SproutError:
    """Turn a failed open or read of `path` into an error that the user can mend."""
    return SproutError(
        f"{path}: cannot be read: {error.strerror}", "Check the path and its permissions."
    )


def cannot_write(path: Path, error: OSError | RuntimeError) -> SproutError:
    """Turn a failed write to `path` into an error that the user can mend."""
    return SproutError(
        f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}",
        "Free some space or name another place; nothing half-written was left.",
    )


def _staging(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.{kind}")


def scratch_prefix(name: str) -> str:
    """Give the beginning of a scratch directory's name that tells `sweep` whose it is."""
    return f"{name}-{os.getpid()}-"


def sweep(directory: Path) -> None:
    """Remove scratch that a process left in `directory` when it was killed.

    Only what is old enough and whose owner is gone: another container may share the directory.
    """
    for path in directory.iterdir() if directory.is_dir() else ():
        owner = _OWNER.search(path.name)
        with suppress(OSError):
            if owner is None or time.time() - path.stat().st_mtime < _STALE_S:
                continue
            if Path(f"/proc/{owner[1]}").exists():
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it becomes `path`, otherwise it is removed.

    A symbolic link stays, and what it leads to is replaced. Raises SproutError when the file system
    refuses (full, read-only, missing directory), or when `path` is a device or a directory.
    """
    try:
        path = path.resolve() if path.is_symlink() else path
        refused = path.exists() and not path.is_file()
    except (OSError, RuntimeError) as error:  # too long a name; a link to itself
        raise cannot_write(path, error) from error
    if refused:
        raise SproutError(f"{path}: is no regular file", "Name a file.")
    staging = _staging(path, "tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield staging
        staging.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        # Where the file system refused to make it, it refuses to remove it in the same words.
        with suppress(OSError):
            staging.unlink()


@contextmanager
def staged_directory(path: Path) -> Iterator[Path]:
    """Give a new directory beside `path`; on success it becomes `path`, otherwise it is removed.

    A directory that already stands at `path` is replaced.
    """
    staging = _staging(path, "tmp")
    try:
        staging.mkdir(parents=True)
        yield staging
        if path.is_symlink():
            path.unlink()
        if path.exists():
            old = _staging(path, "old")
            path.rename(old)
            staging.rename(path)
            shutil.rmtree(old)
        else:
            staging.rename(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if staging.exists():
            shutil.rmtree(staging, ignore_errors=True)


def write_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one step: readers see the old file or the new one, whole.

    A terminal, a pipe or /dev/null, also one that /dev/stdout leads to, is written to as it is.
    """
    try:
        # /dev/stdout may lead to a file that somebody else has open: that one stays too.
        if path.is_char_device() or path.is_fifo() or path.parent in _DESCRIPTORS:
            path.write_bytes(data)
            return
    except OSError as error:
        raise cannot_write(path, error) from error
    with staged_file(path) as staging:
        staging.write_bytes(data)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file, leaving holes where the source has pages of zeros."""
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            if chunk.count(0) == len(chunk):
                writer.seek(len(chunk), os.SEEK_CUR)
            else:
                writer.write(chunk)
        writer.truncate()
