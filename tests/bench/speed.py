#!/usr/bin/env python3
"""Prints how long the everyday commands take: the median of five, in seconds.

Wall time informs and gates nothing. The kernel must have been built once.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5
SPROUT = [sys.executable, "-m", "sprout"]
SCONS = [sys.executable, "-m", "SCons", "-Q", "-s"]


def seconds(command: list[str]) -> float:
    """Run a command that has to succeed and give its wall time."""
    started = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.monotonic() - started


def row(what: str, times: list[float]) -> None:
    """Print one line of the table."""
    median = statistics.median(times)
    print(f"| {what} | {median:.2f} | {min(times):.2f} to {max(times):.2f} |", flush=True)


def main() -> None:
    """Print the table."""
    seconds([*SPROUT, "build"])
    print("| command | median s | range |\n|---|---|---|")
    row("`./sprout.sh --version`", [seconds(["./sprout.sh", "--version"]) for _ in range(RUNS)])
    row("`sprout build`, nothing to do", [seconds([*SPROUT, "build"]) for _ in range(RUNS)])
    row("`scons`, nothing to do", [seconds(SCONS) for _ in range(RUNS)])
    for name, command in (("scons", SCONS), ("sprout build", [*SPROUT, "build"])):
        times = []
        for _ in range(RUNS):
            seconds([*SCONS, "-c"])
            times.append(seconds(command))
        row(f"`{name}` after `scons -c`", times)
    times = []
    for _ in range(RUNS):
        shutil.rmtree(ROOT / "build")
        times.append(seconds([*SPROUT, "build"]))
    row("`sprout build` after `rm -r build`", times)


if __name__ == "__main__":
    main()
