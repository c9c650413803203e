"""The boot image of a host: the ELF files in it are looked into, and its sections are there."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from sample_pe import SBAT, sample_pe

from sprout.base.errors import SproutError
from sprout.image.elf import XenKernel, check_hypervisor, read_xen_kernel
from sprout.image.host import HostParts, build_host_image
from sprout.image.reading import read_image

VIRT_BASE, ENTRY, PHYS32_ENTRY, FEATURES = 3, 1, 18, 17
DOM0 = (1 << 11).to_bytes(4, "little")
WHOLE = {ENTRY: bytes(8), VIRT_BASE: bytes(8), PHYS32_ENTRY: bytes(8), FEATURES: DOM0}


def note(kind: int, contents: bytes, owner: bytes = b"Xen\0") -> bytes:
    padded = contents + bytes(-len(contents) % 4)
    return struct.pack("<III", len(owner), len(contents), kind) + owner + padded


def kernel_of(notes: dict[int, bytes], *, machine: int = 62) -> bytes:
    """Make a 64-bit ELF file of nothing but notes."""
    body = note(99, b"12345", b"GNU\0") + b"".join(note(k, v) for k, v in notes.items())
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 4, 0, 120, 0, 0, len(body), len(body), 4) + body


def hypervisor_of(*, tag: int = 9, checksum: int = 0, at: int = 0x1000) -> bytes:
    """Make a 32-bit ELF header, and a Multiboot2 header at `at`."""
    header = b"\x7fELF\x01\x01\x01".ljust(16, b"\0") + struct.pack("<HH", 2, 3)
    tags = struct.pack("<HHII", tag, 0, 12, 0x200000) + bytes(4) + struct.pack("<HHI", 0, 0, 8)
    size = 16 + len(tags)
    total = -(0xE85250D6 + size) + checksum & 0xFFFF_FFFF
    return header.ljust(at, b"\0") + struct.pack("<IIII", 0xE85250D6, 0, size, total) + tags


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ((), XenKernel(pv=True, pvh=True, host=True)),
        ((ENTRY,), XenKernel(pv=False, pvh=True, host=True)),
        ((VIRT_BASE,), XenKernel(pv=False, pvh=True, host=True)),
        ((PHYS32_ENTRY,), XenKernel(pv=True, pvh=False, host=True)),
        ((FEATURES,), XenKernel(pv=True, pvh=True, host=False)),
        (tuple(WHOLE), XenKernel(pv=False, pvh=False, host=False)),
    ],
)
def test_notes_say_how_a_kernel_is_started(missing: tuple[int, ...], expected: XenKernel) -> None:
    notes = {kind: data for kind, data in WHOLE.items() if kind not in missing}
    assert read_xen_kernel(kernel_of(notes), "kernel") == expected


def test_damaged_kernels_are_refused() -> None:
    good = kernel_of(WHOLE)
    for bad, words in (
        (b"", "no 64-bit ELF"),
        (good[:100], "program headers are damaged"),
        (kernel_of(WHOLE, machine=183), "not for x86_64"),
        (good[:-8], "notes reach beyond"),
        (good[:120] + b"\xff\xff\xff\x7f" + good[124:], "a note reaches beyond"),
    ):
        with pytest.raises(SproutError) as caught:
            read_xen_kernel(bad, "kernel")
        assert words in caught.value.message


def test_no_bytes_make_the_readers_stumble() -> None:
    draw = random.Random(5)  # noqa: S311 - it has to be the same each time
    for source, read in (
        (kernel_of(WHOLE), lambda data: read_xen_kernel(data, "x")),
        (hypervisor_of(at=64), lambda data: check_hypervisor(data, "x")),
    ):
        for _ in range(3000):
            data = bytearray(source[: draw.randrange(len(source) + 1)])
            for _ in range(draw.randrange(4)):
                if data:
                    data[draw.randrange(len(data))] = draw.choice((0, 1, 0x7F, 0xFF))
            try:
                read(bytes(data))
            except SproutError as error:
                assert error.hint


@pytest.mark.parametrize("at", [64, 0x1000, 32768 - 48])
def test_a_hypervisor_is_known_by_its_multiboot2_header(at: int) -> None:
    check_hypervisor(hypervisor_of(at=at), "xen")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (hypervisor_of(tag=3), "no Multiboot2 header"),
        (hypervisor_of(checksum=1), "no Multiboot2 header"),
        (hypervisor_of(at=32768), "no Multiboot2 header"),
        (kernel_of(WHOLE), "no 32-bit x86 ELF"),
        (b"\x1f\x8b" + bytes(100), "no 32-bit x86 ELF"),
    ],
)
def test_what_the_stub_could_not_start_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(SproutError) as caught:
        check_hypervisor(data, "xen")
    assert words in caught.value.message


def parts_of(folder: Path, **changes: bytes) -> HostParts:
    files = {
        "stub": bytes(sample_pe()),
        "hypervisor": hypervisor_of(),
        "kernel": kernel_of(WHOLE),
        "initramfs": b"070701" * 700,
        "microcode": b"070701" * 90,
    } | changes
    for name, data in files.items():
        (folder / name).write_bytes(data)
    paths = {name: folder / name for name in files}
    return HostParts(hypervisor_cmdline="console=com1", **paths)


def build(folder: Path, parts: HostParts, **changes: str) -> Path:
    texts = {"cmdline": "console=hvc0", "uname": "6.12.1-host", "sbat": SBAT} | changes
    target = folder / "host.efi"
    build_host_image(target, parts, os_release={"ID": "sprout"}, epoch=1767225600, **texts)
    return target


def test_the_sections_hold_the_parts(tmp_path: Path) -> None:
    parts = parts_of(tmp_path)
    target = build(tmp_path, parts)
    data = target.read_bytes()
    image = read_image(target)
    assert image.cmdline == "console=hvc0"
    assert image.hypervisor_cmdline == "console=com1"
    contents = {row.name: data[row.offset : row.offset + row.size] for row in image.sections}
    assert contents[".hv"] == parts.hypervisor.read_bytes()
    assert contents[".linux"] == parts.kernel.read_bytes()
    assert contents[".initrd"] == parts.initramfs.read_bytes()
    assert contents[".ucode"] == (tmp_path / "microcode").read_bytes()
    assert all(row.access == "r--" for row in image.sections if row.name != ".text")
    assert build(tmp_path, parts).read_bytes() == data


@pytest.mark.parametrize(
    ("part", "data", "words"),
    [
        ("hypervisor", b"\x1f\x8b" + bytes(99), "no 32-bit x86 ELF"),
        ("kernel", b"MZ" + bytes(99), "no 64-bit ELF"),
        ("kernel", kernel_of({PHYS32_ENTRY: bytes(8)}), "do not say that it can be Xen's host"),
    ],
)
def test_unfit_parts_are_refused(tmp_path: Path, part: str, data: bytes, words: str) -> None:
    with pytest.raises(SproutError) as caught:
        build(tmp_path, parts_of(tmp_path, **{part: data}))
    assert words in caught.value.message
    assert not (tmp_path / "host.efi").exists()


def test_a_command_line_that_xen_would_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SproutError) as caught:
        build(tmp_path, parts_of(tmp_path), cmdline="x" * 1024)
    assert "command line: 1,024 bytes" in caught.value.message


def test_words_for_microcode_count_too(tmp_path: Path) -> None:
    parts = replace(parts_of(tmp_path), hypervisor_cmdline="x" * 1013)
    with pytest.raises(SproutError) as caught:
        build(tmp_path, parts)
    assert "hypervisor_cmdline: 1,013 bytes" in caught.value.message
    build(tmp_path, replace(parts, microcode=None))
