"""A small PE image made by hand, for tests that alter one byte after the other."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from sprout.format import levels, pe
from sprout.format.sbat import parse_sbat

SECTIONS = {".text": b"\xc3" * 600, ".rdata": bytes(range(256)), ".odd": b"odd"}
_LFANEW = 0x40
_FILE_ALIGNMENT = 0x200
_OPTIONAL = struct.Struct("<HBBIIIIIQIIHHHHHHIIIIHHQQQQII")


def small_pe(sections: Mapping[str, bytes] = SECTIONS, *, trailing: bytes = b"") -> bytes:
    """Give an EFI application with these sections, and `trailing` bytes after them."""
    optional_size = _OPTIONAL.size + 16 * 8
    head = _LFANEW + 4 + pe.COFF.size + optional_size + len(sections) * pe.SECTION.size
    head = pe.align(head, _FILE_ALIGNMENT)
    rows, body, address = b"", b"", 0x1000
    for name, data in sections.items():
        raw = pe.align(len(data), _FILE_ALIGNMENT)
        flags = pe.INITIALIZED_DATA | pe.MEM_READ
        row = pe.SectionHeader(name, len(data), address, raw, head + len(body), flags)
        rows += row.pack()
        body += data.ljust(raw, b"\0")
        address = pe.align(address + len(data), 0x1000)
    coff = pe.COFF.pack(0x8664, len(sections), 0, 0, 0, optional_size, 0x22)
    optional = _OPTIONAL.pack(
        *(0x20B, 0, 0, 0, 0, 0, 0x1000, 0x1000, 0, 0x1000, _FILE_ALIGNMENT, 0, 0, 0, 0, 0, 0, 0),
        *(address, head, 0, pe.SUBSYSTEM_EFI_APPLICATION, pe.NX_COMPAT, 0, 0, 0, 0, 0, 16),
    )
    start = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", _LFANEW) + b"PE\0\0" + coff + optional
    image = (start + bytes(16 * 8) + rows).ljust(head, b"\0") + body + trailing
    even = image + bytes(len(image) % 2)
    checksum = _LFANEW + 4 + pe.COFF.size + 64
    total = struct.pack("<I", pe.checksum(even, checksum))
    return image[:checksum] + total + image[checksum + 4 :]


def pe_with_sbat(generation: int = 2, **changes: bytes) -> bytes:
    """Give an image whose component `sprout` has `generation`; `changes` replace sections."""
    rows = f"sbat,1,SBAT,sbat,1,url\nsprout,{generation},vendor,sprout,1,url\n"
    table = levels.pack(levels.generations(parse_sbat(rows, "rows"), "rows"))
    own = {".text": b"\xc3" * 600, ".sbat": rows.encode(), ".sbatlvl": table}
    return small_pe(own | {f".{name}": data for name, data in changes.items()})
