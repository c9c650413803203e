from __future__ import annotations

import struct
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.cost.code import code_at, efi_entry_code, init_program
from sprout.cost.firmware import Modules
from sprout.cost.host_names import HostNamer, HostSymbols
from sprout.cost.symbols import table
from sprout.initramfs.cpio import Entry, write_cpio
from sprout.vm.counted import HOST_SPACE, HYPERVISOR_SPACE, ZONE_SPACE, Counted, LoadedImage
from sprout.vm.host_watch import at_guest, at_offset, at_program, during_hypervisors, during_zones

CODE = bytes(range(1, 65))
ENTRY = bytes.fromhex("fc81f88962d73675")


def elf64(address: int, data: bytes) -> bytes:
    """Make an ELF file with one segment that holds `data` at `address`."""
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, address, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = (1, 5, 120, address, address, len(data), len(data), 4096)
    return header + struct.pack("<IIQQQQQQ", *segment) + data


def hypervisor(tag: int) -> bytes:
    """Make a 32-bit ELF file with a Multiboot2 header with one tag, of kind `tag`."""
    address, at = 0x200000, 0x60
    data = bytearray(0x100)
    struct.pack_into("<IIII", data, 0, 0xE85250D6, 0, 40, 0)
    struct.pack_into("<HHII", data, 16, tag, 0, 12, address + at)
    struct.pack_into("<HHI", data, 32, 0, 0, 8)
    data[at : at + len(ENTRY)] = ENTRY
    header = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, address, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    segment = (1, 96, address, address, len(data), len(data), 7, 4096)
    return (header + struct.pack("<IIIIIIII", *segment)).ljust(96, b"\0") + data


def test_code_is_what_lies_there_of_one_page(tmp_path: Path) -> None:
    program = elf64(0xFFFFFFFF81000FF0, CODE)
    assert code_at(program, 0xFFFFFFFF81000FF0) == CODE[:16]
    assert code_at(program, 0xFFFFFFFF81001000) == CODE[16:48]
    assert code_at(program, 0xFFFFFFFF81001028) == CODE[56:]
    path = tmp_path / "vmlinux"
    path.write_bytes(program)
    assert code_at(path, 0xFFFFFFFF81001000, 8) == CODE[16:24]
    with pytest.raises(SproutError, match="has nothing at 0x10"):
        code_at(path, 0x10)
    with pytest.raises(SproutError, match="no ELF file"):
        code_at(b"none", 0x10)


def test_entry_of_a_hypervisor_is_what_its_header_names(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(hypervisor(9))
    assert efi_entry_code(path) == ENTRY
    path.write_bytes(hypervisor(3))
    with pytest.raises(SproutError, match="has no entry for 64-bit EFI"):
        efi_entry_code(path)


def test_init_is_found_in_its_archive(tmp_path: Path) -> None:
    path = tmp_path / "initramfs.cpio"
    path.write_bytes(write_cpio([Entry("dev", 0o040755), Entry("init", 0o100755, CODE)], epoch=0))
    assert init_program(path) == CODE
    path.write_bytes(write_cpio([Entry("dev", 0o040755)], epoch=0))
    with pytest.raises(SproutError, match="has no /init"):
        init_program(path)


def test_marks_are_what_the_counter_reads() -> None:
    assert at_guest("z", 0xFFFFFFFF81000000, CODE, after="c") == (
        f"guest z c ffffffff81000000 {CODE[:32].hex()}"
    )
    assert at_offset("c", 0x20, CODE[:2], after="s") == "at c s 20 0102"
    assert at_program("i", CODE[:2], after="z") == "program i z 0102"
    assert during_hypervisors("x", 0x10) == "hypervisor-span x 10"
    assert during_zones("x", 0x10) == "zone-span x 10"


def test_kernels_at_one_address_are_told_apart(tmp_path: Path, zone_image: Path) -> None:
    address = 0xFFFFFFFF81000000
    stub = LoadedImage(0x7000000, 1, 2, 3, 4, 5)
    counted = Counted((), 0, 0, 0, 0, {7: stub}, {}, {}, [])
    symbols = HostSymbols(
        hypervisor=table([(0xFFFF82D040200000, "start")]),
        kernel=table([(address, "host_function")]),
        zone=table([(address, "zone_function")]),
        stub=table([(0x1000, "efi_main")]),
        modules=Modules((), {}, ()),
    )
    namer = HostNamer(symbols, counted, zone_image)
    assert namer.name(address + 8, HOST_SPACE) == ("kernel", "host_function")
    assert namer.name(address + 8, ZONE_SPACE) == ("zone", "zone_function")
    assert namer.begins(address, ZONE_SPACE)
    assert not namer.begins(address + 8, ZONE_SPACE)
    assert namer.name(0xFFFF82D040200010, HYPERVISOR_SPACE) == ("xen", "start")
    assert namer.name(1 << 40, ZONE_SPACE) == ("programs", "the zones'")
    assert namer.name(1 << 40, HOST_SPACE) == ("programs", "the host's")
    assert namer.name(0x1000, 0) == ("firmware", "outside any module")
