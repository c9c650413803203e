"""A kernel's ELF file with what is loaded and nothing more.

A `vmlinux` keeps each segment at a multiple of 2 MiB, which leaves holes of megabytes in the file;
a hypervisor's builder of domains copies segments to where they belong, wherever they lie.
Layout: System V ABI, gABI chapters 4 and 5.
"""

from __future__ import annotations

import struct
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded

_MAX_KERNEL_BYTES = 1 << 30
_IDENTITY = b"\x7fELF\x02\x01"  # 64-bit, little-endian
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_PT_LOAD = 1
_PAGE = 4096


def pack_kernel(vmlinux: Path, elf: Path) -> None:
    """Write the segments of `vmlinux` close together to `elf`, without symbols and sections.

    The notes stay: by them a hypervisor knows how to start a kernel (Xen public/elfnote.h).
    Raises SproutError when that is no 64-bit ELF file, or is damaged.
    """
    data = read_bounded(vmlinux, _MAX_KERNEL_BYTES)
    if not data.startswith(_IDENTITY) or len(data) < _HEADER.size:
        raise SproutError(f"{vmlinux}: is no 64-bit ELF file", "Build it again.")
    header = list(_HEADER.unpack_from(data))
    table, row, count = header[5], header[9], header[10]
    if row != _PROGRAM.size or table + count * row > len(data):
        raise SproutError(f"{vmlinux}: its program headers are damaged", "Build it again.")
    rows = [list(_PROGRAM.unpack_from(data, table + i * row)) for i in range(count)]
    out = bytearray(_HEADER.size + count * row)
    moved: list[tuple[int, int, int]] = []  # of each loaded segment: old offset, size, new offset
    for kept in (entry for entry in rows if entry[0] == _PT_LOAD):
        offset, address, size = kept[2], kept[3], kept[5]
        if offset + size > len(data):
            raise SproutError(f"{vmlinux}: a segment reaches beyond its end", "Build it again.")
        # Within its page it stays where it was, as the format asks.
        out += bytes((address - len(out)) % _PAGE)
        moved.append((offset, size, len(out)))
        kept[2], kept[7] = len(out), _PAGE
        out += data[offset : offset + size]
    for inner in (entry for entry in rows if entry[0] != _PT_LOAD):
        inner[2] = _new_offset(inner[2], inner[5], moved, vmlinux)
    header[5], header[6] = _HEADER.size, 0
    header[11:] = [0, 0, 0]
    _HEADER.pack_into(out, 0, *header)
    for i, entry in enumerate(rows):
        _PROGRAM.pack_into(out, _HEADER.size + i * row, *entry)
    elf.write_bytes(out)


def _new_offset(offset: int, size: int, moved: list[tuple[int, int, int]], vmlinux: Path) -> int:
    """Give where a segment such as the notes, a part of a loaded one, has gone."""
    if size == 0:
        return 0
    for old, length, new in moved:
        if old <= offset and offset + size <= old + length:
            return new + offset - old
    raise SproutError(f"{vmlinux}: a segment is not within a loaded one", "Report this as a bug.")
