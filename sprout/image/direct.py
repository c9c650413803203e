"""Lets QEMU's `-kernel` take a boot image: a Linux setup header in front of the PE header.

QEMU hands a file to UEFI firmware without any disk, through fw_cfg, but only when it looks like a
bzImage: the magic "HdrS" at 0x202 and a protocol version (Linux Documentation/arch/x86/boot.rst,
"The Real-Mode Kernel Header"). It then fills in what a boot loader would, up to 0x22f; so all of
this lies before the PE header, in bytes that no UEFI firmware looks at. Nothing else may take it
for a kernel: the boot flag at 0x1fe stays 0.
"""

from __future__ import annotations

import struct

from sprout.format import pe

_PE_OFFSET = 0x300
_LFANEW = 0x3C
_SETUP_SECTORS = 0x1F1
_MAGIC = 0x202
_PROTOCOL = 0x206
_LOAD_FLAGS = 0x211
_INITRD_ADDRESS_MAX = 0x22C
# 2.06: the last version for which QEMU appends nothing (from 2.09 on it adds setup data).
_VERSION = 0x0206
_LOADED_HIGH = 1


def with_setup_header(image: bytes, headers: pe.Headers) -> bytes:
    """Give the PE file `image` with its PE header at 0x300 and a setup header before it.

    `headers` are its own. The sections' bytes move down in the file by what SizeOfHeaders grows.
    Raises SproutError where the first section begins too early in memory to let it.
    """
    start = headers.coff_offset - 4
    table_end = headers.section_table_offset + len(headers.sections) * pe.SECTION.size
    first = min(section.raw_offset for section in headers.sections if section.raw_size)
    end = pe.align(_PE_OFFSET + table_end - start, headers.file_alignment)
    size_of_headers = max(end, headers.size_of_headers)
    if size_of_headers > headers.sections[0].virtual_address:
        raise pe.error("stub", "SizeOfHeaders", "no room for a setup header", "Use another stub.")
    moved = bytearray(image[:0x40]).ljust(_PE_OFFSET, b"\0")
    moved += image[start:table_end]
    moved += bytes(size_of_headers - len(moved)) + image[first:]
    _put(moved, "<I", _LFANEW, _PE_OFFSET)
    shift = _PE_OFFSET - start
    _put(moved, "<I", headers.optional_offset + shift + 60, size_of_headers)
    for index, section in enumerate(headers.sections):
        if section.raw_size:
            row = headers.section_table_offset + shift + index * pe.SECTION.size
            _put(moved, "<I", row + 20, section.raw_offset + size_of_headers - first)
    _put(moved, "<B", _SETUP_SECTORS, 1)
    moved[_MAGIC : _MAGIC + 4] = b"HdrS"
    _put(moved, "<H", _PROTOCOL, _VERSION)
    _put(moved, "<B", _LOAD_FLAGS, _LOADED_HIGH)
    _put(moved, "<I", _INITRD_ADDRESS_MAX, 0x7FFFFFFF)
    return bytes(moved)


def _put(image: bytearray, code: str, offset: int, value: int) -> None:
    struct.pack_into(code, image, offset, value)
