"""`sprout cost peers`: builds what the comparison needs, and hands it over."""

from __future__ import annotations

import argparse
from dataclasses import replace

from sprout.base.errors import UsageError
from sprout.build.cache import cache_root
from sprout.cli.build import settings
from sprout.cli.subject import built_subject
from sprout.cli.where import chosen_tree
from sprout.cost.measure import Subject
from sprout.cost.peers import Plan, execute_peers


def execute(arguments: argparse.Namespace) -> int:
    """Compare the tree's first image without a hypervisor with what others do."""
    tree = chosen_tree(arguments)
    names = [name for name, image in tree.images.items() if image.host is None]
    if not names:
        raise UsageError("the tree has no image without a hypervisor", "Add one to images.toml.")
    status, subject = built_subject(tree, names[0], settings(arguments))
    if not isinstance(subject, Subject):
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
