"""Run the test suite, or parts of it: unit, build, boot, interop, fuzz.

What a test needs is built first. A skipped or expected-to-fail test and a missing tool fail the
run. Arguments after `--` go to pytest, e.g. `sprout test unit -- -k cpio -x`; `-n0` among them runs
everything in one process, as `--pdb` wants it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sprout.base.errors import UsageError
from sprout.base.run import started

_ON_DEMAND = ("bench", "fresh")
# Its longest file takes a fifth of the time that all take: begun last, it would be waited for.
_FIRST = "build"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="directories below tests/ (default: all)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run pytest over the chosen parts and give 0, or 1 when anything is not as it should be."""
    root = Path(__file__).parents[2]
    tests = root / "tests"
    known = sorted(p.name for p in tests.iterdir() if p.is_dir() and any(p.glob("test_*.py")))
    known = sorted(set(known) - set(_ON_DEMAND), key=lambda name: (name != _FIRST, name))
    words = arguments.parts
    first = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    parts, options = words[:first], words[first:]
    for part in parts:
        if part.split("/")[0] not in known:
            raise UsageError(f"{part}: no such part of the suite", f"Parts: {', '.join(known)}.")
    chosen = [str(tests / part) for part in parts or known]
    # What a module builds or boots once stays with it: whole files go to each processor.
    spread = ["-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
    slow = ["--durations=40", "--durations-min=10"]
    command: list[str | Path] = [sys.executable, "-m", "pytest", *chosen, *spread, *slow, *options]
    with started(command, cwd=root, stdin=None, stdout=None, stderr=None) as process:
        return 0 if process.wait() == 0 else 1
