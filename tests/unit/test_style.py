"""Linters and strict typing are tests: a change that breaks them fails like any other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sprout.base.run import run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "words",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=["ruff check", "ruff format", "mypy"],
)
def test_linter_is_content(words: tuple[str, ...]) -> None:
    output = run([sys.executable, "-m", *words], cwd=ROOT, timeout=300)
    assert output.status == 0, output.stdout.decode() + output.stderr.decode()


def test_shell_scripts_parse() -> None:
    for script in (ROOT / "sprout.sh", ROOT / ".ci" / "run"):
        assert run(["bash", "-n", script]).status == 0
