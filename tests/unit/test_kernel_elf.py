"""A kernel's ELF with what is loaded: the same memory, the same notes, no holes."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.kernel.elf import pack_kernel

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
PROGRAM = struct.Struct("<IIQQQQQQ")
LOAD, NOTE, STACK = 1, 4, 0x6474E551
Segment = tuple[int, int, bytes, int]  # type, address, contents, memory size


def kernel(path: Path, *, note_at: int = 0x10, cut: int = 0) -> Path:
    """Write a kernel of two segments with a hole, notes within the first, and sections."""
    text, data = bytes(range(256)) * 20, b"data" * 1000
    rows = [
        (LOAD, 5, 0x1000, 0xFFFFFFFF81000000, 0x1000000, len(text), len(text), 0x200000),
        (LOAD, 6, 0x200040, 0x40, 0x1200040, len(data), len(data) + 4096, 0x200000),
        (NOTE, 0, 0x1000 + note_at, 0xFFFFFFFF81000000 + note_at, 0, 24, 24, 4),
        (STACK, 6, 0, 0, 0, 0, 0, 16),
    ]
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    file = bytearray(0x200040) + data + b"symbols"
    HEADER.pack_into(file, 0, identity, 2, 62, 1, 0x1000123, 64, 64, 0, 64, 56, len(rows), 64, 3, 2)
    for index, row in enumerate(rows):
        PROGRAM.pack_into(file, 64 + 56 * index, *row)
    file[0x1000 : 0x1000 + len(text)] = text
    path.write_bytes(file[: len(file) - cut])
    return path


def segments(path: Path) -> list[Segment]:
    file = path.read_bytes()
    header = HEADER.unpack_from(file)
    found = []
    for index in range(header[10]):
        kind, _flags, offset, address, _, size, memory, _ = PROGRAM.unpack_from(
            file, header[5] + 56 * index
        )
        found.append((kind, address, file[offset : offset + size], memory))
    return found


def test_packed_kernel_loads_as_the_one_it_was(tmp_path: Path) -> None:
    vmlinux, elf = kernel(tmp_path / "vmlinux"), tmp_path / "elf"
    pack_kernel(vmlinux, elf)
    assert segments(elf) == segments(vmlinux)
    assert elf.stat().st_size < 16384 < vmlinux.stat().st_size
    header = HEADER.unpack_from(elf.read_bytes())
    assert header[4] == 0x1000123
    assert (header[6], *header[12:]) == (0, 0, 0)
    for index in range(2):
        row = PROGRAM.unpack_from(elf.read_bytes(), header[5] + 56 * index)
        assert row[2] % row[7] == row[3] % row[7]


def test_kernels_that_cannot_be_packed(tmp_path: Path) -> None:
    target = tmp_path / "elf"
    other = tmp_path / "other"
    other.write_bytes(b"\x7fELF\x01\x01" + bytes(100))
    for vmlinux, words in (
        (other, "is no 64-bit ELF file"),
        (kernel(tmp_path / "a", cut=100), "reaches beyond its end"),
        (kernel(tmp_path / "b", note_at=9000), "not within a loaded one"),
    ):
        with pytest.raises(SproutError, match=words):
            pack_kernel(vmlinux, target)
        assert not target.exists()
