"""`sprout cost peers`: builds what the comparison needs, and hands it over."""

from __future__ import annotations

import argparse
from dataclasses import replace

from sprout.base.errors import UsageError
from sprout.build.cache import cache_root
from sprout.cli.build import settings
from sprout.cli.subject import built_subject
from sprout.cli.where import chosen_tree
from sprout.cost.peers import Plan, execute_peers


def execute(arguments: argparse.Namespace) -> int:
    """Compare the tree's first image with what others do."""
    tree = chosen_tree(arguments)
    if not tree.images:
        raise UsageError("the tree has no image", "Add one to images.toml.")
    status, subject = built_subject(tree, next(iter(tree.images)), settings(arguments))
    if subject is None:
        return status
    plan = Plan()
    if arguments.rounds is not None:
        plan = replace(plan, rounds=arguments.rounds)
    return execute_peers(
        subject,
        cache=cache_root() / "peers",
        plan=plan,
        report=arguments.json,
        write=arguments.write,
        markdown=arguments.markdown,
    )
