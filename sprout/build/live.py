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
from sprout.vm.boot import boot, run_to_end

_PROGRAM, _AS_INIT = "audit", "audit-init"
_CMDLINE = "console=ttyS0"
_LIMIT_S = 300.0
# What the zone's init mounts, without which it does not go on.
_ZONES_NEED = b"\nCONFIG_CGROUPS=y\n"
_MAX_CONFIG_BYTES = 4 << 20


def targets(flavor: str) -> list[str]:
    """Give the steps that have to be made before `flavor` can be booted here."""
    return ["stub", f"{flavor}-kernel", "zone-initramfs"]


def attempt(
    graph: Graph, flavor: str, accel: str, *, as_init: bool | None = None
) -> tuple[str, ...]:
    """Boot the built kernel `flavor` by UEFI and give the lines of its console.

    The zone's init runs the program of initramfs/audit.toml, and ends the machine after it; where a
    kernel cannot run that init (a host's), or `as_init` says so, the program is init itself.
    `accel` is one of `sprout.vm.accel.CHOICES`. Raises SproutError when the machine does not get
    there.
    """
    tree = graph.tree
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("live"), dir=tree.build) as name:
        work = Path(name)
        kernel = graph.steps[f"{flavor}-kernel"].directory
        if as_init is None:
            as_init = _ZONES_NEED not in read_bounded(kernel / "config", _MAX_CONFIG_BYTES)
        by_zone = not as_init
        definition = _PROGRAM if by_zone else _AS_INIT
        program = work / "program.cpio"
        assemble(tree.root / "initramfs" / f"{definition}.toml", program, epoch=tree.epoch)
        initramfs = work / "initramfs.cpio"
        archives = [program]
        if by_zone:
            archives.insert(0, graph.steps["zone-initramfs"].files()[0])
        initramfs.write_bytes(b"".join(_padded(path) for path in archives))
        image = Image(
            name=_PROGRAM,
            flavor=flavor,
            initramfs=_PROGRAM,
            cmdline=f"{_CMDLINE} -- /usr/bin/audit" if by_zone else _CMDLINE,
            os_id=f"sprout-{_PROGRAM}",
            os_name=f"Sprout {_PROGRAM}",
            modules=(),
            host=None,
        )
        parts = Ingredients(
            stub=graph.steps["stub"].files()[0],
            kernel=kernel,
            initramfs=initramfs,
            sbat=tree.root / "signing" / "sbat.csv",
        )
        efi, disk = work / f"{_PROGRAM}.efi", work / f"{_PROGRAM}.img"
        lay_out_image(efi, image, parts, tree.epoch)
        make_disk(disk, efi, epoch=tree.epoch)
        if not by_zone:
            return run_to_end(disk, image=flavor, accel=accel, timeout_s=_LIMIT_S)
        done = boot(disk, image=flavor, accel=accel, timeout_s=_LIMIT_S, until="exit")
        return done.console_lines


def _padded(archive: Path) -> bytes:
    """Give an archive as the next one may follow it: the kernel unpacks one after the other."""
    data = read_bounded(archive, MAX_IMAGE_BYTES)
    return data + bytes(-len(data) % 4)
