"""Says what long work is doing, on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import TextIO

_LINE_EVERY_S = 15.0
_BAR_EVERY_S = 0.1


def say(message: str, stream: TextIO | None = None) -> None:
    """Print one plain line of news."""
    print(message, file=stream or sys.stderr, flush=True)


class Progress:
    """Counts `total` units of `label`; a context manager, so that a bar never stays behind."""

    def __init__(self, label: str, total: int, stream: TextIO | None = None) -> None:
        self._label = label
        self._total = max(total, 1)
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._done = 0
        self._started = time.monotonic()
        self._shown = self._started if not self._terminal else 0.0

    def __enter__(self) -> Progress:
        """Say at once what is being done."""
        if not self._terminal:
            say(self._label, self._stream)
        return self

    def advance(self, units: int = 1) -> None:
        """Count `units` more as done."""
        self._done += units
        now = time.monotonic()
        if now - self._shown >= (_BAR_EVERY_S if self._terminal else _LINE_EVERY_S):
            self._shown = now
            self._show()

    def _show(self) -> None:
        share = min(self._done / self._total, 1.0)
        elapsed = time.monotonic() - self._started
        counts = f"{self._done}/{self._total} {elapsed:.0f} s"
        if not self._terminal:
            say(f"{self._label}: {counts}", self._stream)
            return
        columns = shutil.get_terminal_size().columns
        width = max(columns - len(self._label) - len(counts) - 6, 8)
        filled = round(width * share)
        bar = "█" * filled + "░" * (width - filled)
        self._stream.write(f"\r\x1b[K{self._label} {bar} {counts}")
        self._stream.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Clear the bar, and say how long it took when the work was done."""
        if self._terminal:
            self._stream.write("\r\x1b[K")
        if kind is None:
            say(f"{self._label}: done in {time.monotonic() - self._started:.1f} s", self._stream)
