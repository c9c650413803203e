"""Names the firmware's modules: by the header of an image that runs, or by the address of code.

Drivers are loaded from the firmware volume to wherever there is room, with their header in front,
so the header tells which one it is. SEC and PEI modules execute in place; where, says what they
were linked for. Headers are those of Microsoft's "PE Format" and of the terse executable (UEFI
Platform Initialization specification, volume 1, "Terse Executable Image"); all numbers are
little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sprout.base.files import read_bounded
from sprout.cost.volume import (
    COMBINED_PEIM_DRIVER,
    PE32,
    PEI_CORE,
    PEIM,
    SECURITY_CORE,
    TE,
    Program,
    damaged,
    read_programs,
)

MAX_FIRMWARE_BYTES = 64 << 20
_EXECUTED_IN_PLACE = (SECURITY_CORE, PEI_CORE, PEIM, COMBINED_PEIM_DRIVER)

_LFANEW = struct.Struct("<I")
_LFANEW_OFFSET = 0x3C
_COFF = struct.Struct("<4sHHIIIHH")
# Magic, SizeOfCode, AddressOfEntryPoint, ImageBase, SizeOfImage, CheckSum
_OPTIONAL = {
    0x10B: struct.Struct("<H2xI8xI8xI24xI4xI"),
    0x20B: struct.Struct("<H2xI8xI4xQ24xI4xI"),
}
_MAGIC = struct.Struct("<H")
_TE_HEADER = struct.Struct("<2sHBBHIIQ16x")
_SECTION = struct.Struct("<8sIIII12xI")
_CODE = 0x20  # section Characteristics: IMAGE_SCN_CNT_CODE

# TimeDateStamp, SizeOfImage, AddressOfEntryPoint, SizeOfCode, CheckSum
_Header = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Module:
    """One program of the firmware; sizes in bytes.

    `name` is what the firmware calls it (its user interface section), else its GUID; `kind` is
    "PE32", "TE" or "RAW". `stamp` to `checksum` are its header's TimeDateStamp, SizeOfImage,
    AddressOfEntryPoint, SizeOfCode and CheckSum; a TE header has no stamp and no checksum (0), and
    there the sizes are those of its sections; a raw file has no header (all 0). `address` to `end`
    is where it executes in place; None for what is loaded elsewhere.
    """

    name: str
    guid: str
    kind: str
    stamp: int
    size: int
    entry: int
    code: int
    checksum: int
    address: int | None
    end: int | None


@dataclass(frozen=True)
class Modules:
    """The firmware's modules in the order of the file.

    `by_header` has the names of those with a PE header, by (stamp, size, entry, code, checksum);
    `in_place` the modules with an address, and that.
    """

    modules: tuple[Module, ...]
    by_header: dict[_Header, frozenset[str]]
    in_place: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True)
class _Image:
    """What an image's header says; `base` is the address its first byte is linked for."""

    header: _Header
    base: int


def read_modules(firmware: Path) -> Modules:
    """Read the modules of a raw flash image of UEFI code, such as OVMF_CODE_4M.fd.

    Raises SproutError when the file cannot be read, is longer than 64 MiB, or when a header in it
    is damaged (see `sprout.cost.volume.read_programs`).
    """
    return parse_modules(read_bounded(firmware, MAX_FIRMWARE_BYTES), firmware)


def parse_modules(data: bytes, where: object) -> Modules:
    """Read the modules of `data` as `read_modules` does; `where` names it in errors."""
    found = [(program, _read_image(program, where)) for program in read_programs(data, where)]
    bases = _volume_bases(found)
    modules = tuple(_module(program, image, bases) for program, image in found)
    by_header: dict[_Header, frozenset[str]] = {}
    for module, (_, image) in zip(modules, found, strict=True):
        if module.kind == PE32 and image is not None:
            by_header[image.header] = by_header.get(image.header, frozenset()) | {module.name}
    in_place = tuple(
        (module.address, module.end, module.name)
        for module in modules
        if module.address is not None and module.end is not None
    )
    return Modules(modules, by_header, in_place)


def name_image(  # noqa: PLR0917 - a header is told by all of these
    modules: Modules, stamp: int, size: int, entry: int, code: int, checksum: int
) -> str | None:
    """Give the module whose PE header has these fields (see `Module`).

    None where there is none, and where modules of different names share them.
    """
    names = modules.by_header.get((stamp, size, entry, code, checksum), frozenset())
    return next(iter(names)) if len(names) == 1 else None


def name_address(modules: Modules, pc: int) -> str | None:
    """Give the module that executes in place at the physical address `pc`.

    None where there is none, and where modules of different names claim it.
    """
    names = {name for address, end, name in modules.in_place if address <= pc < end}
    return names.pop() if len(names) == 1 else None


def _volume_bases(found: Sequence[tuple[Program, _Image | None]]) -> dict[int, int]:
    """Give the address of each volume in which modules execute in place.

    The build links each for the place that it has in its volume, and the volume for the place
    where it will be: flash, or memory that SEC unpacks it to. So their headers tell the volume's
    address. Where they disagree, none is believed.
    """
    claims: dict[int, set[int]] = {}
    for program, image in found:
        if image is None or program.offset is None or program.file_type not in _EXECUTED_IN_PLACE:
            continue
        if image.base > program.offset:  # one that is linked for 0 is loaded elsewhere
            claims.setdefault(program.volume, set()).add(image.base - program.offset)
    return {volume: bases.pop() for volume, bases in claims.items() if len(bases) == 1}


def _module(program: Program, image: _Image | None, bases: dict[int, int]) -> Module:
    address = end = None
    base = bases.get(program.volume)
    if base is not None and program.offset is not None:
        place = base + program.offset
        if image is None or (program.file_type in _EXECUTED_IN_PLACE and image.base == place):
            address, end = place, place + len(program.data)
    return Module(
        program.name or str(program.guid),
        str(program.guid),
        program.kind,
        *(image.header if image is not None else (0, 0, 0, 0, 0)),
        address,
        end,
    )


def _read_image(program: Program, where: object) -> _Image | None:
    if program.kind == PE32:
        return _read_pe(program, where)
    return _read_te(program, where) if program.kind == TE else None


def _read_pe(program: Program, where: object) -> _Image:
    data = program.data
    what = f"PE image of file {program.guid}"
    if len(data) < _LFANEW_OFFSET + _LFANEW.size or bytes(data[:2]) != b"MZ":
        raise damaged(where, f"{what}: e_magic", "is not MZ")
    (lfanew,) = _LFANEW.unpack_from(data, _LFANEW_OFFSET)
    optional = lfanew + _COFF.size
    if optional + _OPTIONAL[0x20B].size > len(data):
        raise damaged(where, f"{what}: e_lfanew", f"0x{lfanew:x} lies beyond its end")
    signature, _, _, stamp, *_ = _COFF.unpack_from(data, lfanew)
    if signature != b"PE\0\0":
        raise damaged(where, f"{what}: Signature", "is not PE")
    (magic,) = _MAGIC.unpack_from(data, optional)
    if magic not in _OPTIONAL:
        raise damaged(where, f"{what}: Magic", f"0x{magic:x} is neither PE32 nor PE32+")
    _, code, entry, base, size, checksum = _OPTIONAL[magic].unpack_from(data, optional)
    if entry >= size:
        raise damaged(where, f"{what}: AddressOfEntryPoint", "lies outside the image")
    return _Image((stamp, size, entry, code, checksum), base)


def _read_te(program: Program, where: object) -> _Image:
    data = program.data
    what = f"TE image of file {program.guid}"
    if len(data) < _TE_HEADER.size or bytes(data[:2]) != b"VZ":
        raise damaged(where, f"{what}: Signature", "is not VZ")
    _, _, count, _, stripped, entry, _, linked = _TE_HEADER.unpack_from(data)
    if _TE_HEADER.size + count * _SECTION.size > len(data):
        raise damaged(where, f"{what}: NumberOfSections", f"{count} lie beyond its end")
    size = code = 0
    for index in range(count):
        _, memory, address, stored, _, flags = _SECTION.unpack_from(
            data, _TE_HEADER.size + index * _SECTION.size
        )
        size = max(size, address + max(memory, stored))
        code += stored if flags & _CODE else 0
    if entry >= size:
        raise damaged(where, f"{what}: AddressOfEntryPoint", "lies outside the image")
    # ImageBase is the address of the headers that were there before; StrippedSize bytes of them
    # gave way to this one.
    return _Image((0, size, entry, code, 0), max(linked + stripped - _TE_HEADER.size, 0))
