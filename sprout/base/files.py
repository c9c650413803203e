"""Reads within bounds, and writes so that nothing half-written is seen under a final name."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sprout.base.errors import SproutError

_CHUNK = 1 << 20


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


def cannot_write(path: Path, error: OSError) -> SproutError:
    """Turn a failed write to `path` into an error that the user can mend."""
    return SproutError(
        f"{path}: cannot be written: {error.strerror}",
        "Free some space or name another place; nothing half-written was left.",
    )


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it becomes `path`, otherwise it is removed.

    Raises SproutError when the file system refuses (full, read-only, missing directory).
    """
    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
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
    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        staging.mkdir(parents=True)
        yield staging
        if path.exists():
            old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
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
    """Write `data` to `path` in one step: readers see the old file or the new one, whole."""
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
