"""Runs the real command, and judges how it refuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from sprout.base.run import Output, run

ROOT = Path(__file__).parents[2]
Sprout = Callable[..., Output]


def command(*words: str | Path, env: dict[str, str] | None = None, cwd: Path = ROOT) -> Output:
    """Run the real `sprout` command and give what it printed."""
    environment = {**os.environ, **(env or {})}
    return run([sys.executable, "-m", "sprout", *words], cwd=cwd, env=environment, timeout=1500)


def built(target: str, file: str) -> Path:
    """Build a target of this checkout with the real command and give one of its files."""
    output = command("build", target)
    assert output.status == 0, output.stderr.decode()
    path = ROOT / "build" / target / file
    assert path.is_file()
    return path


def assert_one_error(output: Output, *parts: str, status: int = 1) -> None:
    """Check the shape of a refusal: its status, one error line, one hint, no traceback."""
    text = output.stderr.decode()
    assert output.status == status, text
    lines = text.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, text
    assert len([line for line in lines if line.startswith("hint: ")]) == 1, text
    assert "Traceback" not in text, text
    for part in parts:
        assert part in errors[0], text
