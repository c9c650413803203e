"""The beginning of a file that the user named, by which its kind is told."""

from __future__ import annotations

from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import cannot_read
from sprout.image.bzimage import HEAD_SIZE


def read_head(path: Path, hint: str) -> bytes:
    """Give the first HEAD_SIZE bytes of `path`; fewer where the file is shorter.

    Raises SproutError, with `hint` where it is no regular file.
    """
    if not path.is_file():
        problem = "is no regular file" if path.exists() else "no such file"
        raise SproutError(f"{path}: {problem}", hint)
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD_SIZE)
    except OSError as error:
        raise cannot_read(path, error) from error
