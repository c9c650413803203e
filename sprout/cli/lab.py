"""Where measurements come from: images of the working tree, and of another commit's checkout."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.run import started
from sprout.build.cache import cache_root
from sprout.build.tree import Tree, load_tree
from sprout.cli.build import settings
from sprout.cli.subject import built_subject
from sprout.cost.measure import Subject, measure
from sprout.cost.model import Measurement


@dataclass(frozen=True)
class Lab:
    """What makes measurements.

    `measure` takes an image and how it boots; `measure_base` the root of another commit's tree,
    and the measurement that it is to be a counterpart of.
    """

    measure: Callable[[str, str], Measurement]
    measure_base: Callable[[Path, Measurement], Measurement]


def real_lab(arguments: argparse.Namespace, tree: Tree) -> Lab:
    """Give what builds and boots images for real."""
    built: dict[str, Subject] = {}

    def subject_of(image: str) -> Subject:
        if image not in built:
            status, subject = built_subject(tree, image, settings(arguments))
            if subject is None:
                raise SystemExit(status)  # the build has said why
            built[image] = subject
        return built[image]

    def of_tree(image: str, boot: str) -> Measurement:
        return measure(subject_of(image), boot)

    def of_base(root: Path, now: Measurement) -> Measurement:
        return measure(_subject_at(root, subject_of(now.image), arguments), now.boot)

    return Lab(of_tree, of_base)


def _subject_at(root: Path, subject: Subject, arguments: argparse.Namespace) -> Subject:
    """Build an image of another commit's tree with that commit's own tool; give its subject.

    The measuring is ours, so that the phases are the same ones.
    """
    image, other = subject.name, load_tree(root)
    if image not in other.images:
        hint = "It is new: accept its baseline on a machine like this."
        raise SproutError(f"{image}: is not in the base commit: nothing to compare with", hint)
    words = [sys.executable, "-m", "sprout", "--tree", str(root), "build", f"{image}-image"]
    if arguments.jobs is not None:
        words += ["--jobs", str(arguments.jobs)]
    environment = {**os.environ, "PYTHONPATH": str(root), "SPROUT_CACHE": str(cache_root())}
    with started(words, cwd=root, env=environment, stdin=None, stdout=None, stderr=None) as process:
        if process.wait() != 0:
            hint = "Build that commit by hand to see why, or name another one with --base."
            raise SproutError(f"{image}: the base commit could not be built", hint)
    chosen = other.images[image]
    return replace(
        subject,
        image=root / "build" / f"{image}-image" / f"{image}.efi",
        cmdline=chosen.cmdline,
        kernel=root / "build" / f"{chosen.flavor}-kernel",
        initramfs=root / "build" / f"{chosen.initramfs}-initramfs",
        stub_symbols=root / "build" / "stub" / "stub.symbols",
    )
