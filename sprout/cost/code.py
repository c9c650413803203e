"""The bytes of programs at addresses that a measurement watches for."""

from __future__ import annotations

import io
import struct
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.initramfs.cpio import read_cpio

_MAX_BYTES = 256 << 20
_PAGE = 4096
_CODE = 32
_INIT = "init"
# Multiboot2 Specification 2.0, section 3.1: the header, and the tag that names the entry for EFI.
_MULTIBOOT2 = struct.Struct("<IIII")
_MAGIC = 0xE85250D6
_SEARCH = 32768
_TAG = struct.Struct("<HHI")
_EFI64_ENTRY = 9


def init_program(archive: Path) -> bytes:
    """Give the program /init in an archive; raises SproutError where it has none."""
    for entry in read_cpio(read_bounded(archive, _MAX_BYTES), archive):
        if entry.name == _INIT:
            return entry.data
    raise SproutError(f"{archive}: has no /init", "Build it again from this tree.")


def code_at(program: Path | bytes, address: int, size: int = _CODE) -> bytes:
    """Give up to `size` bytes that an ELF file has at a virtual address, of one page.

    Raises SproutError when it is no ELF file, or has nothing there.
    """
    data = program if isinstance(program, bytes) else read_bounded(program, _MAX_BYTES)
    where = "init" if isinstance(program, bytes) else program
    try:
        for segment in ELFFile(io.BytesIO(data)).iter_segments("PT_LOAD"):
            begin, filled = segment["p_vaddr"], segment["p_filesz"]
            if begin <= address < begin + filled:
                at = segment["p_offset"] + address - begin
                room = min(size, begin + filled - address, _PAGE - address % _PAGE)
                return data[at : at + room]
    except (ELFError, ValueError, KeyError, struct.error) as error:
        raise SproutError(f"{where}: no ELF file: {error}", "Build it again.") from error
    raise SproutError(f"{where}: has nothing at {address:#x}", "Build it again.")


def efi_entry_code(hypervisor: Path) -> bytes:
    """Give the 8 bytes at which UEFI enters a hypervisor by Multiboot2.

    Raises SproutError where its header names no entry.
    """
    data = read_bounded(hypervisor, _MAX_BYTES)
    for at in range(0, min(len(data), _SEARCH) - _MULTIBOOT2.size + 1, 8):
        magic, _, length, _ = _MULTIBOOT2.unpack_from(data, at)
        if magic != _MAGIC or length > _SEARCH or at + length > len(data):
            continue
        tag, end = at + _MULTIBOOT2.size, at + length
        while tag + 12 <= end:
            kind, _, size = _TAG.unpack_from(data, tag)
            if kind == _EFI64_ENTRY:
                return code_at(data, struct.unpack_from("<I", data, tag + 8)[0], 8)
            tag += max(size + 7 & ~7, 8)
    raise SproutError(f"{hypervisor}: has no entry for 64-bit EFI", "Build it again.")
