"""What a boot image has to know of the ELF files in it: a hypervisor, and kernels under Xen.

Layout: System V ABI, gABI chapters 4 and 5. Notes: Xen, public/elfnote.h and public/features.h.
Hypervisor: Multiboot2 Specification 2.0, section 3.1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sprout.base.errors import SproutError

_MAGIC = b"\x7fELF"
_HEADER_64 = struct.Struct("<16xHHIQQQIHHHHHH")
_PROGRAM_64 = struct.Struct("<IIQQQQQQ")
_NOTE = struct.Struct("<III")
_EM_386, _EM_X86_64 = 3, 62
_PT_LOAD, _PT_NOTE = 1, 4
_MAX_PROGRAM_HEADERS = 64
_MAX_NOTES_BYTES = 64 << 10

_ENTRY, _VIRT_BASE = 1, 3
_SUPPORTED_FEATURES, _PHYS32_ENTRY = 17, 18
_XENFEAT_DOM0 = 11

_MULTIBOOT2 = struct.Struct("<IIII")
_MULTIBOOT2_MAGIC = 0xE85250D6
_MULTIBOOT2_SEARCH = 32768
_TAG = struct.Struct("<HHI")
_TAG_EFI64_ENTRY = 9


@dataclass(frozen=True)
class XenKernel:
    """How Xen can start a kernel: paravirtualised, by its PVH entry, and as the host's own.

    `end` is the physical address, from 0, behind all that it takes while it is loaded.
    """

    pv: bool
    pvh: bool
    host: bool
    end: int = 0


def read_xen_kernel(data: bytes, where: object) -> XenKernel:
    """Read the notes for Xen in the 64-bit x86 ELF kernel `data`; no notes give no way to start it.

    Raises SproutError when that is no such ELF file, or is damaged.
    """
    headers = _program_headers(data, where)
    notes = dict(_xen_notes(data, headers, where))
    features = int.from_bytes(notes.get(_SUPPORTED_FEATURES, b""), "little")
    return XenKernel(
        pv=_ENTRY in notes and _VIRT_BASE in notes,
        pvh=_PHYS32_ENTRY in notes,
        host=bool(features >> _XENFEAT_DOM0 & 1),
        end=max((row.physical + row.memory for row in headers if row.kind == _PT_LOAD), default=0),
    )


def check_hypervisor(data: bytes, where: object) -> None:
    """Refuse a hypervisor that the stub cannot start.

    It has to be a 32-bit x86 ELF file with a Multiboot2 header that names an entry for 64-bit EFI.
    Raises SproutError when it is not.
    """
    if data[:6] != _MAGIC + b"\x01\x01" or len(data) < 52 or _u16(data, 18) != _EM_386:
        raise _error(where, "is no 32-bit x86 ELF file", "Name Xen's uncompressed `xen`.")
    for at in range(0, min(len(data), _MULTIBOOT2_SEARCH) - _MULTIBOOT2.size + 1, 8):
        magic, architecture, size, checksum = _MULTIBOOT2.unpack_from(data, at)
        if magic != _MULTIBOOT2_MAGIC or architecture != 0:
            continue
        if magic + architecture + size + checksum & 0xFFFF_FFFF == 0 and at + size <= len(data):
            if _has_efi_entry(data[at + _MULTIBOOT2.size : at + size]):
                return
            break
    raise _error(
        where, "has no Multiboot2 header with an entry for 64-bit EFI", "Use Xen 4.9 or later."
    )


def _has_efi_entry(tags: bytes) -> bool:
    at = 0
    while at + _TAG.size <= len(tags):
        kind, _flags, size = _TAG.unpack_from(tags, at)
        if kind == _TAG_EFI64_ENTRY:
            return True
        if kind == 0 or size < _TAG.size:
            return False
        at += size + 7 & ~7
    return False


@dataclass(frozen=True)
class _Header:
    kind: int
    offset: int
    physical: int
    size: int
    memory: int


def _program_headers(data: bytes, where: object) -> list[_Header]:
    if data[:6] != _MAGIC + b"\x02\x01" or len(data) < _HEADER_64.size:
        raise _error(where, "is no 64-bit ELF file", "Name an uncompressed kernel: its vmlinux.")
    _type, machine, _version, _entry, table, _sections, _flags, _size, row, count, *_ = (
        _HEADER_64.unpack_from(data)
    )
    if machine != _EM_X86_64:
        raise _error(where, "is not for x86_64", "Build it for the hypervisor's architecture.")
    if (
        row != _PROGRAM_64.size
        or not 0 < count <= _MAX_PROGRAM_HEADERS
        or table + count * row > len(data)
    ):
        raise _error(where, "its program headers are damaged", "Build it again.")
    found = []
    for at in range(table, table + count * row, row):
        kind, _flags, offset, _address, physical, size, memory, _ = _PROGRAM_64.unpack_from(
            data, at
        )
        found.append(_Header(kind, offset, physical, size, memory))
    return found


def _xen_notes(
    data: bytes, headers: Sequence[_Header], where: object
) -> Iterator[tuple[int, bytes]]:
    """Give type and contents of each note of the owner Xen."""
    for header in headers:
        if header.kind != _PT_NOTE:
            continue
        if header.size > _MAX_NOTES_BYTES or header.offset + header.size > len(data):
            raise _error(where, "its notes reach beyond its end", "Build it again.")
        yield from _notes(data[header.offset : header.offset + header.size], where)


def _notes(segment: bytes, where: object) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _NOTE.size <= len(segment):
        name_size, size, kind = _NOTE.unpack_from(segment, at)
        name = at + _NOTE.size
        contents = name + (name_size + 3 & ~3)
        end = contents + size
        if end > len(segment):
            raise _error(where, "a note reaches beyond its segment", "Build it again.")
        if segment[name : name + name_size] == b"Xen\0":
            yield kind, segment[contents:end]
        at = end + 3 & ~3


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _error(where: object, problem: str, hint: str) -> SproutError:
    return SproutError(f"{where}: {problem}", hint)
