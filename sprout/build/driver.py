"""Runs SCons over a tree, for the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sprout.base.run import started
from sprout.build.cache import cache_root
from sprout.build.graph import Settings, load_graph
from sprout.build.tree import Tree


def build(tree: Tree, targets: Sequence[str], settings: Settings) -> int:
    """Make `targets` of `tree` current (every disk when there is none) and give the exit status.

    SCons is not even started when everything is current: working out the keys has told so.
    Raises UsageError for an unknown target, SproutError for an error in the tree's data.
    """
    graph = load_graph(tree, settings)
    names = list(targets) or [name for name in graph.steps if name.endswith("-disk")]
    names = [name for name in names if not all(s.is_current() for s in graph.select([name]))]
    if not names:
        return 0
    script = tree.root / "SConstruct"
    if not script.is_file():
        script = Path(__file__).with_name("SConstruct")
    # Killed, this process cannot end SCons; the kernel then does (prctl(2), PR_SET_PDEATHSIG).
    arguments: list[str | Path] = [
        "setpriv",
        "--pdeathsig",
        "TERM",
        sys.executable,
        "-m",
        "SCons",
        "-Q",
        "-s",
        "-C",
        tree.root,
    ]
    arguments += ["-f", script]
    if settings.jobs is not None:
        arguments.append(f"--jobs={settings.jobs}")
    if settings.locked:
        arguments.append("--locked")
    environment = {**os.environ, "SPROUT_CACHE": str(cache_root())}
    words = [*arguments, *names]
    with started(words, env=environment, stdin=None, stdout=None, stderr=None) as process:
        status = process.wait()
    return 0 if status == 0 else 130 if status == 130 else 1
