"""PE files made by hand, small enough to see through."""

from __future__ import annotations

import struct

from sprout.format import pe

SBAT = "sbat,1,SBAT Version,sbat,1,https://example.org\nlinux,1,Linux,linux,6.12.1,https://e.org\n"


def sample_pe(
    *,
    headers_size: int = 0x200,
    image_size: int = 0x3000,
    machine: int = 0x8664,
    access: int = pe.MEM_READ | pe.MEM_EXECUTE,
) -> bytearray:
    """Make a PE32+ of one section at 0x1000, filled so that lost bytes show."""
    data = bytearray(headers_size)
    data[:2] = b"MZ"
    struct.pack_into("<I", data, 0x3C, 0x40)
    data[0x40:0x44] = b"PE\0\0"
    pe.COFF.pack_into(data, 0x44, machine, 1, 0, 0, 0, 112 + 16 * 8, 0x22)
    optional = 0x58
    struct.pack_into("<H", data, optional, 0x20B)
    struct.pack_into("<III", data, optional + 16, 0x1000, 0x1000, 0)
    struct.pack_into("<II", data, optional + 32, 0x1000, 0x200)
    struct.pack_into("<II", data, optional + 56, image_size, headers_size)
    struct.pack_into("<H", data, optional + 68, pe.SUBSYSTEM_EFI_APPLICATION)
    struct.pack_into("<I", data, optional + 108, 16)
    row = pe.SectionHeader(".text", image_size - 0x1000, 0x1000, 0x400, headers_size, access)
    data[optional + 240 : optional + 280] = row.pack()
    return data + bytes(range(256)) * 4
