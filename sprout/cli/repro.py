"""Build twice and compare every byte: is a target reproducible here?

TARGET is an image of images.toml (its kernel, initramfs, boot image and disk are built and packed
as unsigned OCI artifacts) or any target of `sprout build`. Neither build has a cache, and the
second has another path, clock, user, host, locale, time zone, umask, number of jobs and order of
directories. It fetches the sources twice and compiles everything twice: minutes for a kernel.

Where files differ the first one is named, and where it differs: a section and symbol, a file in an
archive, a line. Exit status 1 then; 0 where all bytes are the same.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sprout.base.errors import SproutError, UsageError
from sprout.base.files import sha256_file
from sprout.base.progress import say
from sprout.build.difference import Compared, compare
from sprout.build.graph import load_graph
from sprout.build.twice import built_twice
from sprout.cli.build import add_settings, settings
from sprout.cli.where import chosen_tree

_WIDTH = 46


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="an image, or what to build")
    parser.add_argument("--json", action="store_true", help="print the files and digests as JSON")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="make both builds in DIR and keep them"
    )
    add_settings(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Build twice, and print each file; raises SproutError when one of them differs."""
    tree, chosen = chosen_tree(arguments), settings(arguments)
    known = load_graph(tree, chosen).steps
    for name in arguments.targets:
        if name not in tree.images and name not in known:
            raise UsageError(
                f"{name}: no such image or target", f"Images: {', '.join(tree.images)}."
            )
    locked = ["--locked"] if arguments.locked else []
    images = [name for name in arguments.targets if name in tree.images]
    others = [name for name in arguments.targets if name not in tree.images]
    commands = [["pack", name, *locked] for name in images]
    if others:
        commands.append(["build", *others, *locked])
    with built_twice(tree.root, commands, keep=arguments.keep, jobs=arguments.jobs) as pair:
        rows = compare(pair.first, pair.second)
        digests = {row.name: sha256_file(pair.first / row.name) for row in rows if not row.where}
    if arguments.json:
        print(json.dumps([_facts(row, digests) for row in rows], indent=2))
    else:
        for row in rows:
            said = f"DIFFERS: {row.where}" if row.where else digests[row.name][:16]
            name = row.name if len(row.name) <= _WIDTH else f"{row.name[: _WIDTH - 1]}…"
            print(f"{row.size:>13,}  {name:<{_WIDTH}} {said}")
    different = [row for row in rows if row.where]
    if different:
        first = different[0]
        raise SproutError(
            f"{first.name}: differs first in {first.where} ({len(different)} of {len(rows)} files "
            "differ)",
            "Find what depends on where, when or by whom it is built; --keep DIR keeps both.",
        )
    if not rows:
        raise SproutError("nothing was built, so nothing was compared", "Name what has files.")
    size = sum(row.size for row in rows)
    say(f"{len(rows)} files, {size:,} bytes: the same in both builds")
    return 0


def _facts(row: Compared, digests: dict[str, str]) -> dict[str, object]:
    same = row.where is None
    return {"file": row.name, "size": row.size, "same": same, "where": row.where} | (
        {"sha256": digests[row.name]} if same else {}
    )
