"""Where the kernel is relocated: the list behind it, and a kernel that ran elsewhere."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from spinning_machine import IMAGE, spinning, spinning_initramfs, symbols_of

from sprout.base.run import check
from sprout.vm.firmware import find_firmware

_LZ4_LEGACY = bytes.fromhex("02214c18")
_ESCAPE = 255
_LEAD = 2 << 20  # KERNEL_FILE_LEAD of the patch
_AT_LEAST = 10_000  # of the places that hold 64 bits; there are more


@dataclass(frozen=True)
class Relocatable:
    """A bzImage's kernel: its segments by address, and where it holds addresses of its own.

    `rodata`: where what is never written begins and ends.
    """

    image: Path
    rodata: tuple[int, int]
    offsets: list[int]
    segments: list[tuple[int, bytes]]
    wide: list[int]
    inverse: list[int]
    narrow: list[int]

    def read(self, address: int, size: int) -> bytes:
        for start, data in self.segments:
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        raise AssertionError(f"{address:#x} is in no segment")


def _payload(image: bytes) -> bytes:
    """Unpack what a bzImage holds (Documentation/arch/x86/boot.rst: payload_offset)."""
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    packed = image[start : start + length]
    assert packed.startswith(_LZ4_LEGACY)
    (size,) = struct.unpack("<I", packed[-4:])
    kernel = check(["lz4", "-q", "-d", "-", "-"], "", data=packed[:-4])
    assert len(kernel) == size
    return kernel


def _distances(table: bytes, at: int) -> tuple[list[int], int]:
    """Give the addresses of one list, and where it ends."""
    places: list[int] = []
    place = 0
    while True:
        distance = table[at]
        at += 1
        if distance == _ESCAPE:
            (distance,) = struct.unpack_from("<I", table, at)
            at += 4
        if not distance:
            return places, at
        place += distance
        places.append(place | 0xFFFF_FFFF_0000_0000)


@pytest.fixture(scope="module")
def kernel(zone_kernel: Path, tmp_path_factory: pytest.TempPathFactory) -> Relocatable:
    payload = _payload(zone_kernel.read_bytes())
    path = tmp_path_factory.mktemp("payload") / "kernel"
    path.write_bytes(payload)
    with path.open("rb") as file:
        loaded = list(ELFFile(file).iter_segments("PT_LOAD"))
        offsets = [segment["p_offset"] for segment in loaded]
        segments = [(IMAGE + segment["p_paddr"], bytes(segment.data())) for segment in loaded]
    (size,) = struct.unpack("<I", payload[-4:])
    table = payload[-4 - size : -4]
    wide, at = _distances(table, 0)
    inverse, at = _distances(table, at)
    narrow, at = _distances(table, at)
    assert at == size
    symbols = symbols_of(zone_kernel)
    rodata = symbols["__start_rodata"], symbols["__start_ro_after_init"]
    segments = [(start, data + bytes(-len(data) % 4096)) for start, data in segments]
    return Relocatable(zone_kernel, rodata, offsets, segments, wide, inverse, narrow)


@pytest.fixture(scope="module")
def initramfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spinning_initramfs(tmp_path_factory.mktemp("relocations"))


def test_each_list_ascends_and_its_places_hold_addresses_of_the_kernel(kernel: Relocatable) -> None:
    assert len(kernel.wide) > _AT_LEAST and kernel.inverse and kernel.narrow
    low = min(start for start, _ in kernel.segments)
    for places in (kernel.wide, kernel.inverse, kernel.narrow):
        assert all(one < other for one, other in itertools.pairwise(places))
    for place in kernel.wide:
        (value,) = struct.unpack("<Q", kernel.read(place, 8))
        # Some are of its place in memory, before there are page tables.
        start = low if value >= IMAGE else low - IMAGE
        assert start <= value < start + (64 << 20), f"{place:#x} holds {value:#x}"
    for place in kernel.narrow:
        (value,) = struct.unpack("<i", kernel.read(place, 4))
        assert value >= IMAGE - (1 << 64), f"{place:#x} holds {value:#x}"


def test_nearly_all_of_the_file_lies_as_the_kernel_does(kernel: Relocatable) -> None:
    """So that the stub, which leaves room for the header below, moves next to nothing."""
    low = min(start for start, _ in kernel.segments)
    moved = 0
    for offset, (start, data) in zip(kernel.offsets, kernel.segments, strict=True):
        assert start - low <= offset - _LEAD, "a segment would move up"
        moved += len(data) * (start - low != offset - _LEAD)
    assert moved < 0.2 * sum(len(data) for _, data in kernel.segments)


def _uefi() -> list[str | Path]:
    firmware = find_firmware("x86_64", "pc-q35-7.2")
    drive = f"if=pflash,unit=0,format={firmware.executable_format},readonly=on"
    return ["-drive", f"{drive},file={firmware.executable}"]


@pytest.mark.parametrize("way", ["bios", "uefi"])
def test_what_is_read_only_is_relocated_there_and_nowhere_else(
    way: str, kernel: Relocatable, initramfs: Path, tmp_path: Path
) -> None:
    """The processor has a random number, so the kernel chooses an address that is not its own."""
    more = _uefi() if way == "uefi" else []
    start, end = kernel.rodata
    linked = min(address for address, _ in kernel.segments)
    with spinning("max", "", kernel.image, initramfs, tmp_path / "console", more=more) as machine:
        machine.stop_in_program()
        runs = min(address for address, _ in machine.pages() if address >= IMAGE)
        found = machine.virtual(start + runs - linked, end - start, tmp_path)
    moved = runs - linked
    assert moved
    expected = bytearray(kernel.read(start, end - start))
    within = [place for place in kernel.wide if start <= place < end]
    assert len(within) > 1000
    for place in within:
        (value,) = struct.unpack_from("<Q", expected, place - start)
        struct.pack_into("<Q", expected, place - start, value + moved)
    for place in kernel.narrow:
        if start <= place < end:
            (value,) = struct.unpack_from("<I", expected, place - start)
            struct.pack_into("<I", expected, place - start, (value + moved) & 0xFFFF_FFFF)
    different = [index for index in range(0, end - start, 8)
                 if expected[index : index + 8] != found[index : index + 8]]  # fmt: skip
    assert [f"{start + index:#x}" for index in different] == []
