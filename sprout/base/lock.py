"""Makes one process wait for another that does the same work."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from sprout.base.files import cannot_write
from sprout.base.progress import say


@contextmanager
def held(path: Path, waiting: str) -> Iterator[None]:
    """Hold the lock file `path` for the time of the block; `waiting` is said where another has it.

    A process that ends lets it go, however it ends. Nothing is left of the file. Raises SproutError
    where it cannot be made.
    """
    lock = _taken(path, waiting)
    try:
        yield
    finally:
        # Before it is let go: who waits sees that it is no longer the file of that name.
        path.unlink(missing_ok=True)
        lock.close()


def _taken(path: Path, waiting: str) -> IO[str]:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.open("w")
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(waiting)
            fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                return lock
        lock.close()
