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
from sprout.cli.subject import AnySubject, built_subject, measured
from sprout.cost.host import HostSubject
from sprout.cost.model import Measurement

_NEW = "It is new: accept its baseline on a machine like this."


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
    built: dict[str, AnySubject] = {}

    def subject_of(image: str) -> AnySubject:
        if image not in built:
            status, subject = built_subject(tree, image, settings(arguments))
            if subject is None:
                raise SystemExit(status)  # the build has said why
            built[image] = subject
        return built[image]

    def of_tree(image: str, boot: str) -> Measurement:
        return measured(subject_of(image), boot)

    def of_base(root: Path, now: Measurement) -> Measurement:
        return measured(_subject_at(root, subject_of(now.image), arguments), now.boot)

    return Lab(of_tree, of_base)


def _subject_at(root: Path, subject: AnySubject, arguments: argparse.Namespace) -> AnySubject:
    """Build an image of another commit's tree with that commit's own tool; give its subject.

    The measuring is ours, so that the phases are the same ones.
    """
    image, other = subject.name, load_tree(root)
    if image not in other.images:
        raise SproutError(f"{image}: is not in the base commit: nothing to compare with", _NEW)
    words = [sys.executable, "-m", "sprout", "--tree", str(root), "build", f"{image}-image"]
    if arguments.jobs is not None:
        words += ["--jobs", str(arguments.jobs)]
    environment = {**os.environ, "PYTHONPATH": str(root), "SPROUT_CACHE": str(cache_root())}
    with started(words, cwd=root, env=environment, stdin=None, stdout=None, stderr=None) as process:
        if process.wait() != 0:
            hint = "Build that commit by hand to see why, or name another one with --base."
            raise SproutError(f"{image}: the base commit could not be built", hint)
    chosen, build = other.images[image], root / "build"
    found = replace(
        subject,
        image=build / f"{image}-image" / f"{image}.efi",
        cmdline=chosen.cmdline,
        kernel=build / f"{chosen.flavor}-kernel",
        initramfs=build / f"{chosen.initramfs}-initramfs",
        stub_symbols=build / "stub" / "stub.symbols",
    )
    if not isinstance(found, HostSubject):
        return found
    if chosen.host is None or not chosen.host.zones:
        raise SproutError(f"{image}: is no host with zones in the base commit", _NEW)
    zone = chosen.host.zones[0]
    return replace(
        found,
        hypervisor_cmdline=chosen.host.hypervisor_cmdline(),
        memory_mib=chosen.host.memory_mib,
        hypervisor=build / f"{chosen.host.flavor}-kernel",
        zone_type=zone.type,
        zone_kernel=build / f"{zone.flavor}-kernel",
        zone_initramfs=build / f"{zone.initramfs}-initramfs",
    )
