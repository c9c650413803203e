"""Long work on a real terminal draws a bar that fits; elsewhere it prints plain lines."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import pytest

from sprout.base.progress import Progress


def test_bar_fits_the_terminal_and_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        with Progress("compiling zone (Linux 6.12.117)", 1400, terminal) as progress:
            progress.advance(700)
        terminal.flush()
        data = b""
        while b"done in" not in data or not data.endswith(b"\n"):
            data += os.read(ours, 65536)  # a terminal gives what has come so far
        text = data.decode()
    os.close(ours)
    bar = next(part for part in re.split(r"\r(?:\x1b\[K)?", text) if "█" in part)
    assert "700/1400" in bar
    assert len(bar) <= 80
    assert bar.count("█") == pytest.approx(bar.count("░"), abs=1)
    last = text.replace("\x1b[K", "").split("\r")
    assert last[-1] == "\n"
    assert last[-2].startswith("compiling zone (Linux 6.12.117): done in ")


def test_plain_lines_elsewhere() -> None:
    out = io.StringIO()
    with Progress("compiling", 10, out) as progress:
        for _ in range(10):
            progress.advance()
    assert re.fullmatch(r"compiling\ncompiling: done in 0\.\d s\n", out.getvalue())


def test_work_that_fails_is_not_called_done(tmp_path: Path) -> None:
    out = io.StringIO()
    with pytest.raises(KeyError), Progress("compiling", 10, out):
        raise KeyError
    assert "done" not in out.getvalue()
