"""Puts Ctrl-C and its like off for the few steps that must not come apart."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold these signals back; one that came meanwhile acts when the block is left."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def uninterrupted_until(held: ExitStack | None) -> Iterator[None]:
    """Hold the signals back until the block is left or, with `held`, until that ends."""
    with ExitStack() as own:
        (own if held is None else held).enter_context(uninterrupted())
        yield


@contextmanager
def settled() -> Iterator[ExitStack]:
    """Give a stack for work that takes effect in one step, up to where it has been told of.

    Who takes that step does so in `uninterrupted_until(stack)`. When the block ends well, signals
    that came since are dropped: they came too late, and who sees the work fail does it again.
    """
    with ExitStack() as held:
        yield held
        while signal.sigtimedwait(_SIGNALS, 0) is not None:
            pass
