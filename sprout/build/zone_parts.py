"""What an image of a host carries for its zones: their table, kernels and initramfs."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.build.zones import Zone
from sprout.format import zones as table
from sprout.image.elf import read_xen_kernel
from sprout.initramfs.cpio import Entry

_MAX_BYTES = 1 << 30
_START_BYTES = 1 << 20
_FILE = stat.S_IFREG | 0o644


@dataclass(frozen=True)
class ZoneParts:
    """The built files of one zone: its kernel as an uncompressed ELF file, and its initramfs."""

    kernel: Path
    initramfs: Path


def zone_entries(zones: Sequence[Zone], parts: Mapping[str, ZoneParts]) -> list[Entry]:
    """Give the files of the host's initramfs that its zones need; equal kernels are there once.

    `parts` are by the zones' names. Raises SproutError where a zone's kernel cannot be started as
    the type of guest that the zone is.
    """
    if not zones:
        return []
    files: dict[str, bytes] = {}
    rows = []
    for zone in zones:
        kernel = f"zones/kernels/{zone.flavor}"
        initramfs = f"zones/initramfs/{zone.initramfs}.cpio"
        if kernel not in files:
            files[kernel] = read_bounded(parts[zone.name].kernel, _MAX_BYTES)
        if initramfs not in files:
            files[initramfs] = read_bounded(parts[zone.name].initramfs, _MAX_BYTES)
        _check_kernel(zone, files[kernel], len(files[initramfs]))
        row = _row(zone, f"/{kernel}", f"/{initramfs}")
        places = {other.name: number for number, other in enumerate(zones)}
        rows.append(replace(row, after=tuple(sorted(places[name] for name in zone.after))))
    files[table.PATH.lstrip("/")] = table.pack(rows)
    return [Entry(name, _FILE, data) for name, data in files.items()]


def _check_kernel(zone: Zone, kernel: bytes, initramfs_bytes: int) -> None:
    found = read_xen_kernel(kernel, f"zones.{zone.name}: kernel {zone.flavor}")
    if not (found.pv if zone.type == "pv" else found.pvh):
        raise SproutError(
            f"images.toml: zones.{zone.name}.type: {zone.type}, but the notes of the kernel "
            f"{zone.flavor} do not say that it can be one",
            f"Ask for CONFIG_XEN_{zone.type.upper()}=y in kernels/flavors/{zone.flavor}.toml.",
        )
    # Its memory begins at 0: kernel, initramfs, and the page tables that it is started with.
    needed = found.end + initramfs_bytes + _START_BYTES + (1 << 20) - 1 >> 20
    if zone.memory_mib < needed:
        raise SproutError(
            f"images.toml: zones.{zone.name}.memory_mib: {zone.memory_mib}, but kernel and "
            f"initramfs alone take {needed}",
            "Give it more.",
        )


def _row(zone: Zone, kernel: str, initramfs: str) -> table.Zone:
    return table.Zone(
        name=zone.name,
        type=zone.type,
        memory_mib=zone.memory_mib,
        vcpus=zone.vcpus,
        kernel=kernel,
        initramfs=initramfs,
        cmdline=zone.cmdline,
        disks=tuple(table.Disk(disk.device, disk.backend, disk.writable) for disk in zone.disks),
        nics=tuple(table.Nic(nic.bridge, nic.mac, nic.isolated) for nic in zone.nics),
        restart=zone.restart,
        cpus=tuple(sorted(zone.cpus)),
        weight=zone.weight,
        cap=zone.cap,
        ready_s=zone.ready_s,
        by_xl=zone.by_xl,
    )
