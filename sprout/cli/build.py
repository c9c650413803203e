"""Build targets: NAME-kernel, NAME-initramfs, NAME-image, NAME-disk, stub.

Without a target every disk of the tree is built. The work is SCons's: `scons TARGET` does the
same. What was built before, here or in another checkout, comes back from the cache.
"""

from __future__ import annotations

import argparse
import json

from sprout.build.driver import build
from sprout.build.graph import Settings, load_graph
from sprout.cli.where import chosen_tree


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="what to build")
    parser.add_argument("--list", action="store_true", help="list the targets and their state")
    parser.add_argument("--json", action="store_true", help="with --list: as JSON")
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that every verb which builds understands."""
    parser.add_argument(
        "-j",
        "--jobs",
        type=positive,
        metavar="N",
        help="parallel jobs in all (default: one per processor)",
    )
    parser.add_argument(
        "--locked",
        action="store_true",
        help="refuse any source that kernels/sources.lock does not name",
    )


def positive(text: str) -> int:
    """Read a whole number from 1 up; argparse says which argument it was not."""
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0 and len(text) < 10):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 up")
    return int(text)


def settings(arguments: argparse.Namespace) -> Settings:
    """Give the build settings that were asked for."""
    return Settings(arguments.jobs, arguments.locked)


def execute(arguments: argparse.Namespace) -> int:
    """Build, or list what can be built."""
    tree = chosen_tree(arguments)
    if not arguments.list:
        return build(tree, arguments.targets, settings(arguments))
    graph = load_graph(tree, settings(arguments))
    rows = [
        {
            "target": step.name,
            "key": step.key,
            "state": _state(step.is_current(), graph.cache.has(step.key)),
            "files": [str(path.relative_to(tree.root)) for path in step.files()],
        }
        for step in graph.steps.values()
    ]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            print(f"{row['target']:<20} {row['state']:<10} {row['key'][:16]}")
    return 0


def _state(current: bool, cached: bool) -> str:
    if current:
        return "current"
    return "cached" if cached else "to build"
