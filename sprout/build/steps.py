"""How a step of the graph is put together: its place, its key's parts, and digests of files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from sprout.base.files import cannot_read, sha256_file
from sprout.build.step import Parts, Step
from sprout.build.tree import Tree


def digests(paths: Sequence[Path]) -> str:
    """Give one digest over files: their names and their bytes.

    Raises SproutError when one cannot be read.
    """
    try:
        lines = sorted(f"{path.name} {sha256_file(path)}" for path in paths)
    except OSError as error:
        raise cannot_read(Path(error.filename), error) from error
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def make_step(
    tree: Tree,
    name: str,
    outputs: Sequence[str],
    parts: Parts,
    make: Callable[[Path], None],
    *,
    needs: Sequence[str] = (),
) -> Step:
    """Give the step `name` of `tree`, whose files are `outputs`; `parts` decide its key."""
    everything = {**parts, "epoch": str(tree.epoch)}
    return Step(name, tree.build / name, tuple(outputs), tuple(needs), everything, make)
