"""Makes one process wait for another that does the same work."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sprout.base.files import cannot_write
from sprout.base.progress import say


@contextmanager
def held(path: Path, waiting: str) -> Iterator[None]:
    """Hold the lock file `path` for the time of the block; `waiting` is said where another has it.

    A process that ends lets it go, however it ends; the file stays. Raises SproutError where it
    cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise cannot_write(path, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(waiting)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
