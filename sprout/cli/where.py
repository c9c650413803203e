"""Finds the tree that a command works on."""

from __future__ import annotations

import argparse
from pathlib import Path

from sprout.base.errors import UsageError
from sprout.build.tree import Tree, load_tree


def chosen_tree(arguments: argparse.Namespace) -> Tree:
    """Give the tree of `--tree`, else the one that the working directory is in.

    Raises UsageError when there is none.
    """
    if arguments.tree is not None:
        return load_tree(arguments.tree.resolve())
    try:
        here = Path.cwd()
    except OSError as error:
        raise UsageError("the working directory is gone", "Go to a checkout.") from error
    for folder in (here, *here.parents):
        if (folder / "images.toml").is_file():
            return load_tree(folder)
    raise UsageError(
        f"{here}: no images.toml here or above", "Go to a checkout, or use --tree DIR."
    )
