"""Move a flavor's source to the newest version that verifies, and show what that changes.

Every origin is asked; the newest version wins, never an older one than is locked. The final
configuration is worked out for the old and the new version, and new, lost and changed options
are listed.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from sprout.build.kernel_steps import named_source, store
from sprout.cli.where import chosen_tree
from sprout.kernel.flavor import load_flavor
from sprout.kernel.sources import load_sources
from sprout.kernel.update import Update, update


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("flavor", metavar="FLAVOR", help="whose source to update, e.g. zone")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Move the lock and print what changed."""
    tree = chosen_tree(arguments)
    flavor = load_flavor(tree.root, arguments.flavor)
    source = named_source(load_sources(tree.root), flavor)
    result = update(tree.root, store(), flavor, source, tree.epoch)
    print(json.dumps(asdict(result), indent=2) if arguments.json else _text(result))
    return 0


def _text(result: Update) -> str:
    old, new = result.old, result.new
    idle = [
        f"warning: {name}: is for no locked version any more: remove it, or mend its constraint"
        for name in result.idle
    ]
    if old == new:
        same = f"{new.source}: {new.version} from {new.origin} is the newest that verifies"
        return "\n".join([same, *idle])
    before = f"{old.version} from {old.origin}" if old else "nothing"
    lines = [f"{new.source}: {before} -> {new.version} from {new.origin}"]
    changes = result.changes
    if changes is None:
        lines.append("the old version cannot be had any more: no options to compare")
    else:
        lines += [f"  new      {name}={value}" for name, value in changes.new.items()]
        lines += [f"  lost     {name}={value}" for name, value in changes.lost.items()]
        lines += [
            f"  changed  {name}={before} -> {after}"
            for name, (before, after) in changes.changed.items()
        ]
        if not (changes.new or changes.lost or changes.changed):
            lines.append("  no option changed")
    lines.append("kernels/sources.lock was written; commit it")
    return "\n".join([*lines, *idle])
