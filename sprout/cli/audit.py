"""Judge a kernel's configuration by the rules of hardening, and list each with its reason.

The flavor is built first where it is not. The rules, in kernels/rules.toml, are those of the Kernel
Self Protection Project and of the public kernel-hardening-checker. What a flavor does not keep has
to be waived in kernels/waivers.toml, with a reason and an end date. A rule that is broken without
that, and a waiver that is not needed, end with exit status 1: what was reached is kept. So does a
word in the command line of an image or a zone of that flavor, or of the hypervisor that starts it,
that takes back what is configured: kernels/words.toml lists such words.

With --live the kernel is booted in QEMU, and a program in it attempts what it should refuse: to
read the kernel's memory, to load a module, to run data, and so on. What happens has to be what is
configured; otherwise the exit status is 1 too.

With --surface the bytes are counted that can be executed, in the kernel and its modules, beside
those of Debian's newest kernel, which apt fetches. More than the flavor's budget in ci/surface.toml
ends with exit status 1.
"""

from __future__ import annotations

import argparse
import datetime
import json
import textwrap
from collections.abc import Iterator, Sequence

from sprout.base.errors import SproutError, UsageError
from sprout.base.files import read_bounded
from sprout.build import live
from sprout.build.driver import build
from sprout.build.graph import Graph, load_graph
from sprout.build.kernel_steps import load_compiled_flavor
from sprout.build.tree import Tree
from sprout.cli.audit_surface import audit_surface
from sprout.cli.build import add_settings, settings
from sprout.cli.where import chosen_tree
from sprout.cost.peers_kernels import release_with
from sprout.kernel.live import check_attempts, read_attempts
from sprout.kernel.rules import (
    Configuration,
    Judged,
    audit,
    check_audit,
    load_rule_waivers,
    load_rules,
    read_configuration,
)
from sprout.kernel.words import AllWords, at_place, load_words, weakening, weakening_host
from sprout.vm.accel import CHOICES

_MAX_CONFIG_BYTES = 4 << 20
_MAX_METADATA_BYTES = 1 << 20
_WIDTH = 79


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("flavor", metavar="FLAVOR", help="a kernel of Linux: zone, host")
    parser.add_argument("--failing", action="store_true", help="list broken rules alone")
    parser.add_argument(
        "--live", action="store_true", help="boot it, and attempt what it should refuse"
    )
    parser.add_argument(
        "--surface", action="store_true", help="count what can be executed, beside Debian's kernel"
    )
    parser.add_argument(
        "--accel", choices=CHOICES, default="auto", help="how QEMU runs it (default: auto)"
    )
    parser.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    add_settings(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Print the verdicts; raises SproutError when one of them is not as it has to be."""
    if sum((arguments.live, arguments.surface, arguments.failing)) > 1:
        raise UsageError(
            "--live, --surface and --failing are three lists", "Ask for one after the other."
        )
    tree, flavor = chosen_tree(arguments), arguments.flavor
    load_compiled_flavor(tree, flavor, "linux")
    rules, words = load_rules(tree.root), load_words(tree.root)
    today = datetime.datetime.now(datetime.UTC).date()
    waivers = load_rule_waivers(tree.root, rules, today).get(flavor, {})
    target = f"{flavor}-kernel"
    if target not in load_graph(tree, settings(arguments)).steps:
        raise SproutError(
            f"images.toml: no image or zone has the flavor {flavor}",
            f'Add one with flavor = "{flavor}": what no image needs is not built.',
        )
    wanted = live.targets(flavor) if arguments.live else [target]
    status = build(tree, wanted, settings(arguments))
    if status != 0:
        return status
    graph = load_graph(tree, settings(arguments))
    kernel = graph.steps[target].directory
    facts = json.loads(read_bounded(kernel / "metadata.json", _MAX_METADATA_BYTES))
    if arguments.surface:
        release = release_with(facts["version"])
        return audit_surface(tree.root, flavor, kernel, release, as_json=arguments.json)
    text = read_bounded(kernel / "config", _MAX_CONFIG_BYTES).decode()
    config = read_configuration(text, facts["version"])
    if arguments.live:
        return _live(arguments, graph, config)
    judged = audit(rules, waivers, config, today)
    if arguments.json:
        rows = [row for row in judged if not (arguments.failing and row.holds)]
        print(json.dumps(_facts(flavor, facts["version"], rows), indent=2))
    else:
        print("\n".join(_lines(judged, failing=arguments.failing)))
        print(_summary(flavor, facts["version"], judged))
    check_audit(judged, flavor)
    built_in = weakening(config.values.get("CMDLINE", ""), words.linux)
    taken_back = [*at_place("CONFIG_CMDLINE", built_in), *_taken_back(tree, flavor, words)]
    if taken_back:
        raise SproutError(
            f"{'; '.join(taken_back)}: takes back what {flavor} is built with",
            "Take it out of the command line; kernels/words.toml lists such words.",
        )
    return 0


def _taken_back(tree: Tree, flavor: str, words: AllWords) -> Iterator[str]:
    """Give the forbidden words of the tree's command lines for a flavor, after their places."""
    for image in tree.images.values():
        where = f"images.toml: images.{image.name}"
        if image.flavor == flavor:
            yield from at_place(f"{where}.cmdline", weakening(image.cmdline, words.linux))
            if image.host is not None:
                own = weakening_host(image.host.cmdline, words)
                yield from at_place(f"{where}.hypervisor_cmdline", own)
        for zone in image.host.zones if image.host else ():
            if zone.flavor == flavor:
                place = f"images.toml: zones.{zone.name}.cmdline"
                yield from at_place(place, weakening(zone.cmdline, words.linux))


def _live(arguments: argparse.Namespace, graph: Graph, config: Configuration) -> int:
    rows = read_attempts(live.attempt(graph, arguments.flavor, arguments.accel), config)
    if arguments.json:
        facts = {"flavor": arguments.flavor, "version": str(config.version)}
        print(json.dumps({**facts, "acts": [vars(row) | {"agrees": row.agrees} for row in rows]}))
    else:
        for row in rows:
            what = f"refused ({row.error})" if row.refused else "allowed"
            said = "" if row.agrees else ", against its configuration"
            print(f"  {row.name:30} {what}{said}")
        refused = sum(row.refused for row in rows)
        print(f"{arguments.flavor}, Linux {config.version}: {refused} of {len(rows)} acts refused")
    check_attempts(rows, arguments.flavor)
    return 0


def _summary(flavor: str, version: str, judged: Sequence[Judged]) -> str:
    """Count the rules of the public checker, and our own by themselves."""
    lines = [f"{flavor}, Linux {version}"]
    for whose, is_own in (("the public checker's", False), ("our own", True)):
        rows = [row for row in judged if row.rule.is_own is is_own]
        broken = [row for row in rows if not row.holds]
        waived = sum(row.waiver is not None for row in broken)
        lines.append(
            f"  of {len(rows)} rules, {whose}: {len(rows) - len(broken)} are kept, {len(broken)} "
            f"are not, {waived} with leave"
        )
    return "\n".join(lines)


def _lines(judged: Sequence[Judged], *, failing: bool) -> list[str]:
    lines, topic = [], ""
    for row in judged:
        if failing and row.holds:
            continue
        if row.rule.topic != topic:
            topic = row.rule.topic
            lines += [*textwrap.wrap(f"{topic}: {row.rule.reason}", _WIDTH)]
        shown = row.rule.text if len(row.rule.text) < _WIDTH - 10 else f"{row.rule.name} …"
        lines.append(f"  {'kept' if row.holds else 'broken':8}{shown}")
        if row.waiver is not None:
            why = f"waived until {row.waiver.until}: {row.waiver.reason}"
            indent = " " * 10
            lines += textwrap.wrap(why, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    return lines


def _facts(flavor: str, version: str, judged: Sequence[Judged]) -> dict[str, object]:
    return {
        "flavor": flavor,
        "version": version,
        "rules": [
            {
                "rule": row.rule.text,
                "topic": row.rule.topic,
                "own": row.rule.is_own,
                "reason": row.rule.reason,
                "kept": row.holds,
                "waiver": None
                if row.waiver is None
                else {"reason": row.waiver.reason, "until": row.waiver.until.isoformat()},
            }
            for row in judged
        ],
    }
