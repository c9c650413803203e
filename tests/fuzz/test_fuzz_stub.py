"""Fuzzes everything in the stub that reads bytes, for a bounded number of runs."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from sprout.base.run import check, run
from sprout.format import levels, stamps
from sprout.image.stub import stub_sources

HERE = Path(__file__).parent
MOCK = HERE.parent / "unit" / "stub"
RUNS = 200_000
GENERATIONS = levels.pack({"sbat": 1, "linux": 3, "sprout-stub": 2})
DATA, CODE, WRITABLE = 0x40000040, 0x60000020, 0xC0000040

Section = tuple[bytes, int, int, int, int, int]


def headers(image_size: int, headers_size: int, entry: int, sections: list[Section]) -> bytes:
    """Give PE32+ headers; a section is name, size, address, raw size, raw offset, flags."""
    optional = bytearray(112 + 6 * 8)
    struct.pack_into("<H", optional, 0, 0x20B)
    struct.pack_into("<I", optional, 16, entry)
    struct.pack_into("<I", optional, 32, 4096)
    struct.pack_into("<II", optional, 56, image_size, headers_size)
    struct.pack_into("<H", optional, 68, 10)
    struct.pack_into("<I", optional, 108, 6)
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, len(sections), 0, 0, 0, len(optional), 0x22)
    table = b"".join(struct.pack("<8s4I12x1I", *section) for section in sections)
    return (dos + coff + bytes(optional) + table).ljust(headers_size, b"\0")


def kernel() -> bytes:
    sections = [
        (b".text", 0x1000, 0x1000, 0x1000, 0x1000, CODE),
        (b".data", 0x1800, 0x2000, 0x200, 0x2000, WRITABLE),
    ]
    return headers(0x4000, 0x1000, 0x1000, sections) + bytes(0x1200)


def boot_image() -> bytes:
    sections = [
        (b".cmdline", 5, 0x1000, 0x200, 0x400, DATA),
        (b".initrd", 6, 0x2000, 0x200, 0x600, DATA),
        (b".sbatlvl", len(GENERATIONS), 0x2800, 0x200, 0x600, DATA),
        (b".linux", 0x4000, 0x3000, 0x2200, 0x800, DATA),
    ]
    start = headers(0x7000, 0x400, 0, sections).ljust(0x1000, b"\0") + b"quiet".ljust(0x1000, b"\0")
    own = b"070701".ljust(0x800, b"\0") + GENERATIONS
    return start + own.ljust(0x1000, b"\0") + kernel().ljust(0x4000, b"\0")


def hypervisor() -> bytes:
    """Give an ELF file of one segment with a Multiboot2 header at its start."""
    tags = struct.pack("<HHIII", 1, 0, 16, 4, 6) + struct.pack("<HHI", 6, 0, 8)
    tags += struct.pack("<HHIIIII", 10, 1, 24, 0x200000, 0xFFFFFFFF, 0x1000, 2)
    tags += struct.pack("<HHI", 7, 1, 8) + struct.pack("<HHIIxxxx", 9, 1, 12, 0x200010)
    tags += struct.pack("<HHI", 0, 0, 8)
    size = 16 + len(tags)
    header = struct.pack("<IIII", 0xE85250D6, 0, size, -(0xE85250D6 + size) & 0xFFFFFFFF)
    segment = struct.pack("<8I", 1, 0x80, 0x200000, 0x200000, 0x180, 0x1800, 7, 64)
    elf = b"\x7fELF\1\1\1".ljust(16, b"\0")
    elf += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x200000, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    return (elf + segment).ljust(0x80, b"\0") + (header + tags).ljust(0x180, b"\xf4")


def host_image() -> bytes:
    sections = [
        (b".cmdline", 5, 0x1000, 0x200, 0x400, DATA),
        (b".hvcmd", 4, 0x1800, 0x200, 0x600, DATA),
        (b".sbatlvl", len(GENERATIONS), 0x1A00, 0x200, 0x600, DATA),
        (b".hv", 0x200, 0x2000, 0x200, 0x600, DATA),
        (b".initrd", 6, 0x3000, 0x200, 0x600, DATA),
        (b".linux", 0x40, 0x3800, 0x200, 0x600, DATA),
    ]
    start = headers(0x4000, 0x400, 0, sections).ljust(0x1000, b"\0")
    texts = b"quiet".ljust(0x800, b"\0") + b"sync".ljust(0x200, b"\0") + GENERATIONS
    modules = b"070701".ljust(0x800, b"\0") + b"\x7fELF".ljust(0x40, b"\1")
    return (start + texts.ljust(0x1000, b"\0") + hypervisor().ljust(0x1000, b"\0") + modules).ljust(
        0x4000, b"\0"
    )


def added_up(table: bytearray, checksum: int) -> bytes:
    table[checksum] = -sum(table) & 0xFF
    return bytes(table)


def acpi_tables() -> bytes:
    """Give physical memory from 0x1000 on: RSDP, XSDT at 0x1040, FADT at 0x1080."""
    rsdp = bytearray(b"RSD PTR ".ljust(36, b"\0"))
    rsdp[15] = 2
    struct.pack_into("<Q", rsdp, 24, 0x1040)
    xsdt = bytearray(44)
    struct.pack_into("<4sI", xsdt, 0, b"XSDT", 44)
    struct.pack_into("<Q", xsdt, 36, 0x1080)
    fadt = bytearray(244)
    struct.pack_into("<4sI", fadt, 0, b"FACP", 244)
    fadt[91] = 4
    fadt[208] = 1
    struct.pack_into("<Q", fadt, 212, 0x608)
    memory = added_up(rsdp, 32).ljust(64, b"\0") + added_up(xsdt, 9).ljust(64, b"\0")
    return memory + added_up(fadt, 9)


def seeds() -> dict[str, bytes]:
    """Give one input for each reader; the first byte chooses it."""
    return {
        # Bits of the second byte stand for a firmware with memory attributes, for a foreign initrd
        # and for a machine with an SBAT level; see fuzz_boot.
        "boot": b"\0M\0" + boot_image()[2:],
        "boot in place": b"\0M\1" + boot_image()[2:],
        "boot beside others": b"\0M\2" + boot_image()[2:],
        "boot with a level": b"\0M\5" + boot_image()[2:],
        "host": b"\0M\0" + host_image()[2:],
        "host with attributes": b"\0M\1" + host_image()[2:],
        "hypervisor": b"\5" + hypervisor(),
        "level": b"\4" + bytes([len(GENERATIONS)]) + GENERATIONS + GENERATIONS,
        "kernel": b"\1" + kernel(),
        "cmdline": b"\2" + "console=ttyS0 ü€𝄞\n".encode(),
        "acpi": b"\3" + acpi_tables(),
    }


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("fuzz")
    (directory / "sprout_stamps.h").write_text(stamps.c_header())
    (directory / "sprout_levels.h").write_text(levels.c_header())
    (directory / "version.h").write_text('#define SPROUT_VERSION u"1.2.3-test"\n')
    stub = [path for path in stub_sources() if path.suffix == ".c" and path.name != "memory.c"]
    root = next(path.parent for path in stub if path.name == "main.c")
    program = directory / "stub_fuzz"
    flags = ["-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror"]
    flags += ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    includes = [f"-I{path}" for path in (MOCK, root, directory)]
    sources = [HERE / "stub_fuzz.c", *sorted(MOCK.glob("mock*.c")), MOCK / "images.c", *stub]
    check(
        ["clang", *flags, *includes, *sources, "-o", program],
        "Mend the C that does not compile.",
        timeout=120,
    )
    return program


def test_stub_survives_any_bytes(target: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, data in seeds().items():
        (corpus / name).write_bytes(data)
    options = [f"-runs={RUNS}", "-seed=1", "-max_len=32768", "-timeout=10", "-rss_limit_mb=1024"]
    output = run([target, *options, f"-artifact_prefix={tmp_path}/", corpus], timeout=300)
    assert output.status == 0, output.stderr.decode(errors="replace")[-4000:]
