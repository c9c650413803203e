"""Boots a kernel of the tree with the program that attempts what it should refuse."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sprout.base.files import read_bounded, scratch_prefix
from sprout.build.artifacts import Ingredients, lay_out_image
from sprout.build.graph import Graph
from sprout.build.tree import Image
from sprout.image.disk import make_disk
from sprout.image.uki import MAX_IMAGE_BYTES
from sprout.initramfs.assemble import assemble
from sprout.vm.boot import boot

_PROGRAM = "audit"
_CMDLINE = "console=ttyS0 -- /usr/bin/audit"
_LIMIT_S = 300.0


def targets(flavor: str) -> list[str]:
    """Give the steps that have to be made before `flavor` can be booted here."""
    return ["stub", f"{flavor}-kernel", "zone-initramfs"]


def attempt(graph: Graph, flavor: str, accel: str) -> tuple[str, ...]:
    """Boot the built kernel `flavor` by UEFI and give the lines of its console.

    The zone's init runs the program of initramfs/audit.toml, and ends the machine after it. `accel`
    is one of `sprout.vm.accel.CHOICES`. Raises SproutError when the machine does not get there.
    """
    tree = graph.tree
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("live"), dir=tree.build) as name:
        work = Path(name)
        program = work / "program.cpio"
        assemble(tree.root / "initramfs" / f"{_PROGRAM}.toml", program, epoch=tree.epoch)
        # The kernel unpacks archives that follow each other.
        zone = read_bounded(graph.steps["zone-initramfs"].files()[0], MAX_IMAGE_BYTES)
        initramfs = work / "initramfs.cpio"
        initramfs.write_bytes(zone + bytes(-len(zone) % 4) + program.read_bytes())
        image = Image(
            name=_PROGRAM,
            flavor=flavor,
            initramfs=_PROGRAM,
            cmdline=_CMDLINE,
            os_id=f"sprout-{_PROGRAM}",
            os_name=f"Sprout {_PROGRAM}",
            modules=(),
            host=None,
        )
        parts = Ingredients(
            stub=graph.steps["stub"].files()[0],
            kernel=graph.steps[f"{flavor}-kernel"].directory,
            initramfs=initramfs,
            sbat=tree.root / "signing" / "sbat.csv",
        )
        efi, disk = work / f"{_PROGRAM}.efi", work / f"{_PROGRAM}.img"
        lay_out_image(efi, image, parts, tree.epoch)
        make_disk(disk, efi, epoch=tree.epoch)
        done = boot(disk, image=flavor, accel=accel, timeout_s=_LIMIT_S, until="exit")
        return done.console_lines
