"""The bootable disk: the same bytes anywhere, read back strictly."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import time
import zlib
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.image.disk import make_disk, read_disk
from sprout.image.gpt import ESP_TYPE

EPOCH = 1767225600


def sample_image(path: Path, *, machine: int = 0x8664, size: int = 50_000) -> Path:
    """Write the least PE that names a machine, with `size` bytes behind it."""
    data = bytearray(0x400)
    data[:2] = b"MZ"
    struct.pack_into("<I", data, 0x3C, 0x40)
    data[0x40:0x44] = b"PE\0\0"
    struct.pack_into("<HHIIIHH", data, 0x44, machine, 1, 0, 0, 0, 112, 0x22)
    struct.pack_into("<H", data, 0x58, 0x20B)
    struct.pack_into("<II", data, 0x58 + 32, 0x1000, 0x200)
    struct.pack_into("<II", data, 0x58 + 56, 0x2000, 0x200)
    struct.pack_into("<8sIIII", data, 0x58 + 112, b".text", 0x1000, 0x1000, 0x200, 0x200)
    path.write_bytes(bytes(data) + random.Random(1).randbytes(size))  # noqa: S311
    return path


def sample_disk(folder: Path) -> Path:
    disk = folder / "disk.img"
    make_disk(disk, sample_image(folder / "image.efi"), epoch=EPOCH)
    return disk


def patch(path: Path, offset: int, code: str, value: int) -> None:
    """Change one number in a file, in place."""
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(struct.pack(code, value))


def reseal(path: Path, sector: int) -> None:
    """Make a GPT header's checksums right again after a change."""
    with path.open("r+b") as stream:
        stream.seek(sector * 512)
        header = bytearray(stream.read(92))
        stream.seek(struct.unpack_from("<Q", header, 72)[0] * 512)
        struct.pack_into("<I", header, 88, zlib.crc32(stream.read(128 * 128)))
        struct.pack_into("<I", header, 16, 0)
        struct.pack_into("<I", header, 16, zlib.crc32(header))
        stream.seek(sector * 512)
        stream.write(header)


def test_disk_reads_back(tmp_path: Path) -> None:
    disk = read_disk(sample_disk(tmp_path))
    assert disk.image == (tmp_path / "image.efi").read_bytes()
    assert disk.image_name == "BOOTX64.EFI"
    assert disk.partition.type_guid == ESP_TYPE
    assert (disk.partition.number, disk.partition.first, disk.partition.name) == (1, 2048, "ESP")


def test_arm64_image_gets_its_own_name(tmp_path: Path) -> None:
    image = sample_image(tmp_path / "image.efi", machine=0xAA64)
    make_disk(tmp_path / "disk.img", image, epoch=EPOCH)
    assert read_disk(tmp_path / "disk.img").image_name == "BOOTAA64.EFI"


def test_disk_is_sparse(tmp_path: Path) -> None:
    status = sample_disk(tmp_path).stat()
    assert status.st_size < 70 << 20
    assert status.st_blocks * 512 < 2 << 20


def test_image_larger_than_the_least_fat32_fits(tmp_path: Path) -> None:
    image = tmp_path / "image.efi"
    sample_image(image)
    with image.open("r+b") as stream:
        stream.truncate(140 << 20)
    make_disk(tmp_path / "disk.img", image, epoch=EPOCH)
    assert len(read_disk(tmp_path / "disk.img").image) == 140 << 20
    assert (tmp_path / "disk.img").stat().st_size < 146 << 20


def test_same_bytes_at_another_time_place_and_zone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sample_disk(tmp_path)
    other = tmp_path / "other@@1 place"
    other.mkdir()
    (tmp_path / ".mtoolsrc").write_text("mtools_lower_case=1\nMTOOLS_NO_VFAT=1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    monkeypatch.setenv("MTOOLS_LOWER_CASE", "1")
    mask = os.umask(0o077)
    try:
        time.sleep(2.1)  # FAT counts time in steps of two seconds
        second = sample_disk(other)
    finally:
        os.umask(mask)
    assert first.read_bytes() == second.read_bytes()


def test_identifiers_follow_the_content(tmp_path: Path) -> None:
    first = read_disk(sample_disk(tmp_path)).table.disk_guid
    image = sample_image(tmp_path / "image.efi", size=50_001)
    make_disk(tmp_path / "disk.img", image, epoch=EPOCH)
    assert read_disk(tmp_path / "disk.img").table.disk_guid != first


@pytest.mark.parametrize("epoch", [0, 1 << 33])
def test_time_outside_fat_is_clamped(tmp_path: Path, epoch: int) -> None:
    disk = tmp_path / "disk.img"
    make_disk(disk, sample_image(tmp_path / "image.efi"), epoch=epoch)
    listing = subprocess.run(
        ["mdir", "-i", f"{disk}@@1M", "::/EFI/BOOT"], check=True, capture_output=True, text=True
    ).stdout
    assert ("1980-01-01" if epoch == 0 else "2107-12-31") in listing


def test_something_else_makes_no_disk(tmp_path: Path) -> None:
    image = tmp_path / "image.efi"
    image.write_bytes(b"no PE at all")
    with pytest.raises(SproutError, match="e_magic"):
        make_disk(tmp_path / "disk.img", image, epoch=EPOCH)
    assert [path.name for path in tmp_path.iterdir()] == ["image.efi"]


def test_unknown_machine_is_refused(tmp_path: Path) -> None:
    image = sample_image(tmp_path / "image.efi", machine=0x1C0)
    with pytest.raises(SproutError, match="Machine"):
        make_disk(tmp_path / "disk.img", image, epoch=EPOCH)


def test_failing_program_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = sample_image(tmp_path / "image.efi")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SproutError):
        make_disk(tmp_path / "disk.img", image, epoch=EPOCH)
    assert [path.name for path in tmp_path.iterdir()] == ["image.efi"]


@pytest.mark.parametrize(
    ("offset", "code", "value", "field"),
    [
        (510, "<H", 0, "protective MBR"),
        (512, "<I", 0, "Signature"),
        (512 + 16, "<I", 1, "HeaderCRC32"),
        (512 + 12, "<I", 600, "HeaderSize"),
        (1024, "<I", 1, "PartitionEntryArrayCRC32"),
    ],
)
def test_altered_table_is_refused(
    tmp_path: Path, offset: int, code: str, value: int, field: str
) -> None:
    path = sample_disk(tmp_path)
    patch(path, offset, code, value)
    with pytest.raises(SproutError, match=field):
        read_disk(path)


@pytest.mark.parametrize(
    ("offset", "code", "value", "field"),
    [
        (512 + 24, "<Q", 5, "MyLBA"),
        (512 + 32, "<Q", 1 << 40, "beyond the end"),
        (512 + 80, "<I", 1 << 31, "NumberOfPartitionEntries"),
        (512 + 48, "<Q", 1 << 40, "LastUsableLBA"),
        (512 + 56, "<Q", 7, "backup GPT header"),
        (1024 + 32, "<Q", 5, "backup GPT entries"),
        (1024, "<Q", 5, "backup GPT entries"),
    ],
)
def test_lying_table_with_right_checksums_is_refused(
    tmp_path: Path, offset: int, code: str, value: int, field: str
) -> None:
    path = sample_disk(tmp_path)
    patch(path, offset, code, value)
    reseal(path, 1)
    with pytest.raises(SproutError, match=field):
        read_disk(path)


@pytest.mark.parametrize(
    ("offset", "words"),
    [(32, "partition 1: lies outside"), (0, "no EFI system partition")],
)
def test_partition_outside_or_of_another_type_is_refused(
    tmp_path: Path, offset: int, words: str
) -> None:
    path = sample_disk(tmp_path)
    with path.open("rb") as stream:
        backup = struct.unpack_from("<Q", stream.read(1024), 512 + 32)[0]
        stream.seek(backup * 512)
        second = struct.unpack_from("<Q", stream.read(512), 72)[0] * 512
    for table in (1024, second):
        patch(path, table + offset, "<Q", 5)
    reseal(path, 1)
    reseal(path, backup)
    with pytest.raises(SproutError, match=words):
        read_disk(path)


@pytest.mark.parametrize("kept", [0, 511, 1000, 20_000, 1 << 20, -1, -512])
def test_truncated_disk_is_refused(tmp_path: Path, kept: int) -> None:
    path = sample_disk(tmp_path)
    size = path.stat().st_size
    os.truncate(path, kept if kept >= 0 else size + kept)
    with pytest.raises(SproutError, match=r"disk\.img: "):
        read_disk(path)


def test_partition_without_an_image_is_refused(tmp_path: Path) -> None:
    path = sample_disk(tmp_path)
    subprocess.run(["mdel", "-i", f"{path}@@1M", "::/EFI/BOOT/BOOTX64.EFI"], check=True)
    with pytest.raises(SproutError, match=r"no BOOTX64.EFI or BOOTAA64.EFI: .*not found"):
        read_disk(path)


def test_altered_file_systems_never_give_a_traceback(tmp_path: Path) -> None:
    path = sample_disk(tmp_path)
    with path.open("rb") as stream:
        stream.seek(1 << 20)
        original = stream.read(40_000)
    chance = random.Random(4)  # noqa: S311 - repeatable on purpose
    refused = 0
    with path.open("r+b") as stream:
        for _ in range(100):
            start = (1 << 20) + chance.choice((0, 0, 32 * 512))
            offset = start + chance.randrange(200)
            stream.seek(offset)
            stream.write(chance.randbytes(chance.choice((1, 4))))
            stream.flush()
            try:
                read_disk(path)
            except SproutError:
                refused += 1
            stream.seek(1 << 20)
            stream.write(original)
            stream.flush()
    assert 0 < refused < 100
