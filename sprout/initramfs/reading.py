"""Tells why each file is in an initramfs, from the archive alone: it may be somebody else's."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sprout.base.errors import SproutError
from sprout.format import zones
from sprout.initramfs.cpio import Entry, read_cpio
from sprout.initramfs.elf import Elf, is_elf, read_elf

_MAX_NAMED = 3


@dataclass(frozen=True)
class Row:
    """One file of an archive: its path, its size in bytes, and why it is there."""

    path: str
    size: int
    why: str


def explain(archive: bytes, where: Path = Path(".initrd")) -> list[Row]:
    """Give every file, link and node of an uncompressed initramfs with the reason for it.

    A shared library is there because a program's headers need it, or because its name is in one
    that loads it itself; what zones boot is there for the zones whose table names it; anything else
    was listed. Of paths that are there twice the last one counts, as for the kernel. Raises
    SproutError when `archive` is no such archive.
    """
    files = {entry.name.lstrip("/"): entry for entry in read_cpio(archive, where)}
    reasons = {**_of_libraries(files), **_of_zones(files)}
    return [
        Row(name, len(entry.data), reasons.get(name) or _plain(entry))
        for name, entry in sorted(files.items())
        if not stat.S_ISDIR(entry.mode)
    ]


def _plain(entry: Entry) -> str:
    if stat.S_ISLNK(entry.mode):
        target = entry.data.decode(errors="backslashreplace")
        shown = target if target.isprintable() else repr(target)
        return f"listed: a link to {shown}"
    if stat.S_ISCHR(entry.mode) or stat.S_ISBLK(entry.mode):
        return f"listed: the device {entry.major}:{entry.minor}"
    if entry.name.startswith("lib/modules/"):
        return "a module of the kernel, or what one needs"
    return "listed"


def _of_libraries(files: Mapping[str, Entry]) -> dict[str, str]:
    """Give the reasons for loaders and shared libraries."""
    programs: dict[str, Elf] = {}
    for name, entry in files.items():
        if stat.S_ISREG(entry.mode) and is_elf(entry.data):
            with suppress(SproutError):  # not ours to judge: it is listed, whatever it is
                programs[name] = read_elf(entry.data, name)
    loaders: dict[str, list[str]] = {}
    needed: dict[str, list[str]] = {}
    for name, elf in programs.items():
        if elf.loader is not None and elf.soname is None:
            loaders.setdefault(elf.loader.lstrip("/"), []).append(_base(name))
        for library in elf.needed:
            needed.setdefault(library, []).append(_base(name))
    reasons = {}
    for name, elf in programs.items():
        library = _base(name)
        if name in loaders:
            reasons[name] = f"loader of {_some(loaders[name])}"
        elif elf.soname is not None and library in needed:
            reasons[name] = f"needed by {_some(needed[library])}"
        elif elf.soname is not None:
            naming = [
                _base(other)
                for other in programs
                if other != name and library.encode() in files[other].data
            ]
            reasons[name] = f"listed: loaded by {_some(naming)}" if naming else "listed"
    return reasons


def _base(path: str) -> str:
    return PurePosixPath(path).name


def _of_zones(files: Mapping[str, Entry]) -> dict[str, str]:
    table = zones.PATH.lstrip("/")
    if table not in files:
        return {}
    try:
        rows = zones.unpack(files[table].data, table)
    except SproutError:
        return {table: "the table of zones, which is damaged"}
    users: dict[tuple[str, str], list[str]] = {}
    for zone in rows:
        users.setdefault((zone.kernel.lstrip("/"), "kernel"), []).append(zone.name)
        users.setdefault((zone.initramfs.lstrip("/"), "initramfs"), []).append(zone.name)
    reasons = {name: f"{what} of {_some(names)}" for (name, what), names in users.items()}
    names = _some([zone.name for zone in rows]) if rows else "none"
    return {**reasons, table: f"the table of the zones: {names}"}


def _some(names: Iterable[str]) -> str:
    """Give the first few of the names."""
    found = list(names)
    more = len(found) - _MAX_NAMED
    return ", ".join(found[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
