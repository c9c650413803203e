"""Work on several blobs at once: the first failure, or Ctrl-C, ends all of it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

_THREADS = 4
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_P = ParamSpec("_P")
_T = TypeVar("_T")


class _StoppedError(Exception):
    """The others have failed, or the user has; nobody reads this."""


class Workers:
    """A few threads; `workers` ends them."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        """Begin without work."""
        self._pool = pool
        self._stopped = threading.Event()
        self._jobs: list[Future[Any]] = []

    def submit(self, work: Callable[_P, _T], *words: _P.args, **more: _P.kwargs) -> Future[_T]:
        """Have something done; what it raises comes out of `finish`."""
        # A signal's exception between a thread's start and its entry in the pool's list would leave
        # a thread that nobody ever ends.
        old = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            job = self._pool.submit(work, *words, **more)
            self._jobs.append(job)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)
        return job

    def counting(self, advance: Callable[[int], None]) -> Callable[[int], None]:
        """Give `advance` for work to call now and then: it ends work when others have failed."""

        def counted(count: int) -> None:
            if self._stopped.is_set():
                raise _StoppedError
            advance(count)

        return counted

    def finish(self) -> None:
        """Wait until all is done; raises what the first failure raised."""
        done, _ = wait(self._jobs, return_when=FIRST_EXCEPTION)
        for job in done:
            job.result()
        self._jobs.clear()

    def stop(self) -> None:
        """Let nothing begin, and end what counts."""
        self._stopped.set()
        for job in self._jobs:
            job.cancel()


@contextmanager
def workers(abort: Callable[[], None] = lambda: None) -> Iterator[Workers]:
    """Give threads to work with, which have finished when the block is left.

    When it is left by an exception they are stopped: `abort` is what ends those that wait for
    somebody else.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        found = Workers(pool)
        try:
            yield found
            found.finish()
        except BaseException:
            found.stop()
            abort()
            raise
