"""The firmware of this machine is read whole: an independent reader agrees, damage does no harm."""

from __future__ import annotations

import random
import time
from itertools import pairwise
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.cost.firmware import Modules, name_address, name_image, parse_modules, read_modules
from sprout.cost.volume import PE32, Program, read_programs
from sprout.vm.firmware import find_firmware
from sprout.vm.qemu import find_qemu

FLASH_END = 1 << 32
RESET_VECTOR = FLASH_END - 16  # where an x86 CPU fetches its first instruction


@pytest.fixture(scope="module")
def code() -> Path:
    """The firmware that exact mode boots on this machine."""
    return find_firmware("x86_64", find_qemu("x86_64").versioned("q35")).executable


@pytest.fixture(scope="module")
def modules(code: Path) -> Modules:
    return read_modules(code)


@pytest.fixture(scope="module")
def programs(code: Path) -> list[Program]:
    return read_programs(code.read_bytes(), code)


def test_every_module_has_a_name_of_its_own(modules: Modules) -> None:
    names = {module.name for module in modules.modules}
    assert len(names) > 100
    assert {"SecMain", "PeiCore", "DxeIpl", "DxeCore", "BdsDxe", "RuntimeDxe"} <= names
    for module in modules.modules:
        assert module.name != module.guid
        if module.kind == PE32:
            header = (module.stamp, module.size, module.entry, module.code, module.checksum)
            assert name_image(modules, *header) == module.name


def test_sec_and_pei_execute_where_the_machine_has_them(code: Path, modules: Modules) -> None:
    flash = FLASH_END - code.stat().st_size
    ranges = sorted(modules.in_place)
    for (_, end, name), (following, _, _) in pairwise(ranges):
        assert end <= following, name
    assert name_address(modules, RESET_VECTOR) == "ResetVector"
    assert ranges[-1] == (ranges[-1][0], FLASH_END, "ResetVector")
    by_name = {name: (address, end) for address, end, name in ranges}
    assert by_name["SecMain"][0] >= flash
    # PEI's volume is unpacked to low memory, with all of its modules.
    assert {"PeiCore", "PlatformPei", "DxeIpl"} <= set(by_name)
    low = [row for row in ranges if row[1] < 1 << 24]
    assert len(low) == len(ranges) - 2
    for address, end, name in ranges:
        assert name_address(modules, address) == name_address(modules, end - 1) == name


def test_flash_holds_what_the_addresses_say(code: Path, modules: Modules) -> None:
    data = code.read_bytes()
    address = next(address for address, _, name in modules.in_place if name == "SecMain")
    assert data[address - (FLASH_END - len(data)) :][:2] in (b"MZ", b"VZ")


def test_pefile_reads_the_same_headers(programs: list[Program], modules: Modules) -> None:
    import pefile

    assert len(programs) == len(modules.modules)
    for program, module in zip(programs, modules.modules, strict=True):
        if program.kind != PE32:
            continue
        headers = pefile.PE(data=program.data.tobytes(), fast_load=True)
        optional = headers.OPTIONAL_HEADER
        assert module.stamp == headers.FILE_HEADER.TimeDateStamp
        assert module.size == optional.SizeOfImage
        assert module.entry == optional.AddressOfEntryPoint
        assert module.code == optional.SizeOfCode
        assert module.checksum == optional.CheckSum
        if module.address is not None:
            assert module.address == optional.ImageBase


def test_reading_takes_less_than_a_second(code: Path) -> None:
    times = []
    for _ in range(3):
        start = time.process_time()
        read_modules(code)
        times.append(time.process_time() - start)
    assert min(times) < 1.0


def read_anyhow(data: bytes) -> bool:
    """Tell whether the data could be read; anything but a clear refusal is a failure."""
    try:
        parse_modules(data, "code.fd")
    except SproutError as error:
        assert error.message.startswith("code.fd: ")
        return False
    return True


def damage(data: bytes, position: int, chance: random.Random) -> bytes:
    """Cut `data` at `position`, or change one bit, one byte or four bytes there."""
    kind = chance.randrange(4)
    if kind == 0:
        return data[:position]
    size = 4 if kind == 1 else 1
    changed = chance.randbytes(size)
    if kind == 2:
        changed = bytes([data[position] ^ 1 << chance.randrange(8)])
    return data[:position] + changed + data[position + size :]


def test_damaged_outer_volume_is_read_or_refused(code: Path) -> None:
    chance = random.Random(1)  # noqa: S311 - the same damage in every run
    data = code.read_bytes()
    second = int.from_bytes(data[32:40], "little")  # behind FvLength bytes: the volume of SEC
    places = [chance.randrange(0x100) for _ in range(24)]  # volume, file, section, LZMA
    places += [second + chance.randrange(0x100) for _ in range(6)]
    outcomes = [read_anyhow(damage(data, place, chance)) for place in places]
    assert False in outcomes


def test_damaged_inner_headers_are_read_or_refused(programs: list[Program]) -> None:
    chance = random.Random(2)  # noqa: S311 - the same damage in every run
    driver = next(program for program in programs if program.name == "DxeCore")
    assert driver.offset is not None
    unpacked = driver.data.obj
    assert isinstance(unpacked, bytes)  # what the LZMA section held: damage it without packing it
    assert read_anyhow(unpacked)
    starts = [unpacked.index(b"_FVH") - 40]
    for program in programs:
        if program.data.obj is unpacked:
            # The file's and the section's headers, and that of the image behind them.
            starts.append(unpacked.index(program.data) - 40)
    places = [chance.choice(starts) + chance.randrange(0x110) for _ in range(60)]
    outcomes = [read_anyhow(damage(unpacked, place, chance)) for place in places]
    assert set(outcomes) == {False, True}
