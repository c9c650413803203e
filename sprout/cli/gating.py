"""The gate from end to end: measures images, finds what to compare with, judges, reports."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sprout.base.errors import SproutError, UsageError
from sprout.base.files import write_file
from sprout.base.progress import say
from sprout.build.cache import cache_root
from sprout.build.tree import Tree, load_tree
from sprout.cli.colour import coloured
from sprout.cli.lab import Lab
from sprout.cost import markdown, text
from sprout.cost.baseline import Record, accept, baseline_path, load_baseline, write_baseline
from sprout.cost.budget import BUDGETS, Budget, load_budgets, template
from sprout.cost.figures import Figure, figures
from sprout.cost.gate import (
    DISAGREEMENT,
    Reference,
    Verdict,
    exit_status,
    fitting,
    judge,
    needs_base,
    ordered,
)
from sprout.cost.model import Measurement
from sprout.cost.record import read_measurements, write_measurements
from sprout.cost.worktree import at_commit, base_commit

_BOOTS = ("uefi", "pvh")
_HOSTS = "uefi"
_LOOKS = 15
_LOOKS_AT_ONE = 40

# What is known by image and kind of boot.
Name = tuple[str, str]


def run_gate(arguments: argparse.Namespace, tree: Tree, lab: Lab) -> int:
    """Measure, judge and report; give the exit status. `lab` makes the measurements."""
    images = _check(arguments, tree)
    boots = _BOOTS if arguments.boot in (None, "both") else (arguments.boot,)
    pairs = _pairs(tree, images, boots)
    against = _named(arguments, pairs)
    budgets = _budgets(tree)
    baselines = {image: _baseline(tree.root, image) for image in images}
    measurements = [lab.measure(image, boot) for image, boot in pairs]
    if arguments.json is not None:
        write_measurements(arguments.json, measurements)
    if arguments.svg is not None:
        _write_icicle(arguments.svg, measurements[0])
    if _looks(arguments):
        return _look(arguments, measurements)
    references = against or _bases(arguments, tree, lab, measurements, baselines)
    if arguments.accept:
        _accept(arguments, tree, measurements, baselines, references)
        baselines = {image: _baseline(tree.root, image) for image in images}
        references = {}
    verdicts = [
        judge(
            now,
            budget=budgets.get((now.image, now.boot)),
            records=baselines[now.image],
            reference=references.get((now.image, now.boot)),
        )
        for now in measurements
    ]
    if arguments.markdown:
        _print(markdown.report(verdicts))
    else:
        _print(text.report(verdicts, colour=coloured(sys.stdout)))
    if arguments.html is not None:
        _write_page(arguments.html, tree, verdicts, baselines)
    return exit_status(verdicts)


def _check(arguments: argparse.Namespace, tree: Tree) -> list[str]:
    """Refuse what does not go together, before anything is built; give the images."""
    unknown = [image for image in arguments.images if image not in tree.images]
    if unknown:
        hint = f"Images in images.toml: {', '.join(tree.images)}; or peers, or wall."
        raise UsageError(f"{unknown[0]}: no such image", hint)
    if arguments.functions in tree.images:
        hint = f"Write: sprout cost {arguments.functions} --functions"
        raise UsageError(f"--functions {arguments.functions}: is an image, not a phase", hint)
    if _looks(arguments) and (arguments.accept or arguments.against or arguments.html):
        raise UsageError("a look judges nothing", "Leave out --accept, --against and --html.")
    if arguments.top is not None and not _looks(arguments):
        raise UsageError("--top goes with --functions or --initcalls", "Add one, or leave it out.")
    if arguments.base is not None and (arguments.against or _looks(arguments)):
        raise UsageError("--base goes with the gate alone", "Leave the other option out.")
    if arguments.accept:
        _check_accept(arguments)
    elif arguments.reason is not None:
        raise UsageError("--reason goes with --accept", "Add --accept, or leave it out.")
    images = list(dict.fromkeys(arguments.images)) or _bootable(tree, arguments.boot)
    if arguments.svg is not None and (len(images) != 1 or arguments.boot in (None, "both")):
        hint = "Name one IMAGE, and --boot uefi or --boot pvh."
        raise UsageError("--svg draws one image's one way of booting", hint)
    return images


def _bootable(tree: Tree, boot: str | None) -> list[str]:
    """Give the images that can be booted in the way that is asked for."""
    anyhow = boot in (None, "both", _HOSTS)
    return [name for name, image in tree.images.items() if anyhow or image.host is None]


def _pairs(tree: Tree, images: Sequence[str], boots: Sequence[str]) -> list[Name]:
    """Give what is measured: only firmware starts a hypervisor, so a host has one way to boot."""
    hosts = [image for image in images if tree.images[image].host is not None]
    if hosts and _HOSTS not in boots:
        raise UsageError(
            f"{hosts[0]}: only firmware starts a hypervisor",
            f"Name another image, or --boot {_HOSTS}.",
        )
    return [
        (image, boot) for image in images for boot in boots if boot == _HOSTS or image not in hosts
    ]


def _looks(arguments: argparse.Namespace) -> bool:
    """Tell whether only tables are asked for, and no verdict."""
    return arguments.functions is not None or arguments.initcalls or arguments.budgets


def _check_accept(arguments: argparse.Namespace) -> None:
    if arguments.against is not None:
        raise UsageError("--accept does not go with --against", "Leave one of them out.")
    if not (arguments.reason or "").strip():
        raise UsageError("--accept needs --reason TEXT", "Say why these figures are right.")
    if os.environ.get("CI", "") not in ("", "0", "false"):
        hint = "Run it on your machine and commit the baseline for review."
        raise SproutError("--accept: refused in CI: there nobody looks at the figures", hint)


def _budgets(tree: Tree) -> dict[Name, Budget]:
    path = tree.root / BUDGETS
    if not path.is_file():
        return {}
    budgets = load_budgets(path, named=BUDGETS)
    for image, boot in budgets:
        if image not in tree.images:
            text = f"{BUDGETS}: {image}.{boot}: the tree has no such image"
            raise SproutError(text, f"Images in images.toml: {', '.join(tree.images)}.")
    return budgets


def _baseline(root: Path, image: str) -> list[Record]:
    path = baseline_path(root, image)
    return load_baseline(path, image) if path.is_file() else []


def _named(arguments: argparse.Namespace, pairs: Sequence[Name]) -> dict[Name, Reference]:
    """Read what --against names: a counterpart for everything that will be measured."""
    path: Path | None = arguments.against
    if path is None:
        return {}
    found = {(one.image, one.boot): one for one in read_measurements(path)}
    for image, boot in pairs:
        if (image, boot) not in found:
            there = ", ".join(f"{image} ({boot})" for image, boot in found)
            raise SproutError(
                f"{path}: has no measurement of {image} ({boot})",
                f"It has: {there}. Choose with IMAGE and --boot.",
            )
    return {name: Reference(one, path.name, gated=False) for name, one in found.items()}


def _bases(
    arguments: argparse.Namespace,
    tree: Tree,
    lab: Lab,
    measurements: Sequence[Measurement],
    baselines: Mapping[str, Sequence[Record]],
) -> dict[Name, Reference]:
    """Measure the base commit for what has a baseline of another machine only."""
    wanted = [one for one in measurements if needs_base(one, baselines[one.image])]
    if not wanted and arguments.base is not None:
        say("--base: not needed: the baseline is of a machine like this")
    if not wanted:
        return {}
    names = ", ".join(f"{one.image} ({one.boot})" for one in wanted)
    say(f"{names}: the baseline is of another machine; measuring the base commit too")
    commit = base_commit(tree.root, arguments.base)
    say(f"base commit: {commit[:12]}")

    def measured(root: Path) -> dict[Name, Reference]:
        found = {}
        there = load_tree(root).images
        for now in wanted:
            if arguments.accept and now.image not in there:
                continue  # it is new: there is nothing that it could have changed
            before = lab.measure_base(root, now)
            records = _baseline(root, now.image)
            name = f"the base commit {commit[:12]}"
            found[now.image, now.boot] = Reference(before, name, records)
        return found

    return at_commit(tree.root, commit, measured, scratch=cache_root() / "checkouts")


def _accept(
    arguments: argparse.Namespace,
    tree: Tree,
    measurements: Sequence[Measurement],
    baselines: Mapping[str, Sequence[Record]],
    bases: Mapping[Name, Reference],
) -> None:
    """Rewrite the baselines, and say what is accepted.

    `bases` are the measurements of the base commit, for what has records of other machines only.
    """
    for image in dict.fromkeys(one.image for one in measurements):
        records = list(baselines[image])
        for now in [one for one in measurements if one.image == image]:
            base = bases.get((now.image, now.boot))
            verdict = judge(now, budget=None, records=records, reference=base)
            wrong = [one for one in verdict.findings if one.kind == DISAGREEMENT]
            if wrong:
                raise SproutError(wrong[0].headline, "Nothing was accepted. Measure again.")
            for change in verdict.findings:
                if change.figure is not None and verdict.against:
                    say(f"accepting: {change.headline.replace(' to accept:', ':')}")
            fits = fitting(now, records) is not None
            kept = accept(
                records,
                now,
                " ".join(arguments.reason.split()),
                base=base.measurement if base is not None else None,
                base_records=base.records if base is not None else (),
            )
            gone = len(records) + (0 if fits else 1) - len(kept)
            if gone:
                say(f"{image} ({now.boot}): {gone} records of other machines go: no longer true")
            records = kept
        path = baseline_path(tree.root, image)
        write_baseline(path, records)
        say(f"{path.relative_to(tree.root)} was written; commit it")


def _look(arguments: argparse.Namespace, measurements: Sequence[Measurement]) -> int:
    """Print tables of functions or initcalls, or budgets."""
    phase = arguments.functions or None
    most = arguments.top or (_LOOKS_AT_ONE if phase or arguments.initcalls else _LOOKS)
    known = list(dict.fromkeys(p.name for one in measurements for p in one.phases))
    if phase is not None and phase not in known:
        raise UsageError(f"--functions {phase}: no such phase", f"Phases: {', '.join(known)}.")
    reports = []
    for one in measurements:
        if arguments.functions is not None:
            if arguments.markdown:
                reports.append(markdown.functions_report(one, phase, most))
            else:
                reports.append(text.functions_report(one, phase, most, colour=coloured(sys.stdout)))
        if arguments.initcalls:
            if arguments.markdown:
                reports.append(markdown.initcalls_report(one, most))
            else:
                reports.append(text.initcalls_report(one, most, colour=coloured(sys.stdout)))
        if arguments.budgets:
            reports.append(template(one))
    _print("\n".join(reports))
    return 0


def _print(report: str) -> None:
    print(report, end="", flush=True)


def _write_icicle(path: Path, measurement: Measurement) -> None:
    # Only here: pictures would slow down every start of the command.
    icicle = importlib.import_module("sprout.cost.icicle")
    write_file(path, icicle.icicle(measurement).encode())


def _write_page(
    path: Path,
    tree: Tree,
    verdicts: Sequence[Verdict],
    baselines: Mapping[str, Sequence[Record]],
) -> None:
    # Only here: templates and pictures would slow down every start of the command.
    page = importlib.import_module("sprout.cost.page")
    history = importlib.import_module("sprout.cost.history")
    limits = {}
    for verdict in verdicts:
        now = verdict.measurement
        record = fitting(now, baselines[now.image])
        limits[now.image, now.boot] = page.Limits(
            budget=_by_name(verdict.budget.limits if verdict.budget is not None else {}),
            baseline=_by_name(figures(record.measurement) if record is not None else {}),
        )
    past = {}
    for image in baselines:
        try:
            past[image] = history.read_history(baseline_path(tree.root, image))
        except SproutError as error:  # it informs only, and a tree need not be in git
            say(f"no history of the baseline: {error.message}")
    lines = [finding.headline for finding in ordered(verdicts)]
    html = page.page([verdict.measurement for verdict in verdicts], lines, past, limits=limits)
    write_file(path, html.encode())


def _by_name(values: Mapping[Figure, int]) -> dict[str, int]:
    """Give figures by the names that the page has for them."""
    names = {}
    for figure, value in values.items():
        if figure.kind == "bytes":
            names[f"bytes.{figure.name}"] = value
        elif figure.kind == "memory_kib":
            names["memory_kib"] = value
        else:
            names[f"{figure.name}.{figure.kind}"] = value
    return names
