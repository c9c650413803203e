"""A bootable disk: GPT, one EFI system partition (FAT32), the boot image under its default name.

Made by `sfdisk` and mtools on an ordinary file, so nothing needs root, and a function of the image
and the epoch alone: identifiers come from the content, time stamps from the epoch. (UEFI
specification 2.10, sections 3.5.1.1 "Removable Media Boot Behavior" and 13.3 "File System Format".)
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import sha256_file, staged_file
from sprout.base.run import check, started
from sprout.format import pe
from sprout.image.gpt import ESP_TYPE, SECTOR, Gpt, Partition, parse_gpt
from sprout.image.reading import read_mapped
from sprout.image.uki import MAX_IMAGE_BYTES

PROGRAMS = ("sfdisk", "mformat", "mmd", "mcopy")
BOOT_NAMES = {"x86_64": "BOOTX64.EFI", "aarch64": "BOOTAA64.EFI"}
MAX_DISK_BYTES = 1 << 40  # sparse, so the limit is on what is mapped, not on what is stored

_MIB = 1 << 20
_START = _MIB  # where partitioning tools align to
_RESERVED_SECTORS = 32 + 1
_FAT32_MIN_CLUSTERS = 65525  # fewer make it FAT16 (Microsoft FAT specification, section 3.5)
# A FAT is followed cluster by cluster. Until the image's first instruction OVMF under TCG takes, in
# millions of instruction times (QEMU 7.2, -icount shift=3), by cluster size:
#     image      512 B    1 KiB    4 KiB   16 KiB
#     14 MiB   1,228.5  1,225.2  1,223.0  1,222.1
#     64 MiB   1,418.4  1,402.4  1,392.5
# But the least FAT32 is 35, 67, 259 and 1,027 MiB then. 1 KiB is the bargain; a larger image gets
# the largest clusters that cost no room.
_CLUSTER_SECTORS = (2, 64)
_FAT_EPOCHS = (315_532_800, 4_354_819_199)  # FAT's years: 1980 to 2107
_TIMEOUT_S = 120.0
_MAX_SAID = 4096
_MAKE_HINT = "Read what the program said; nothing was written."
_READ_HINT = "Name a disk whose EFI system partition holds an image under the default name."


@dataclass(frozen=True)
class BootDisk:
    """A disk read back: its table, the partition, and the image found there with its name."""

    table: Gpt
    partition: Partition
    image_name: str
    image: bytes


def make_disk(target: Path, image: Path, *, epoch: int) -> None:
    """Write a sparse disk image to `target` that any UEFI firmware boots `image` from.

    `epoch` (seconds since 1970) becomes the files' time. Raises SproutError when `image` is no PE
    file of a known machine, or when a program fails or the space does not suffice.
    """
    name = _boot_name(image)
    size = image.stat().st_size
    seed = hashlib.sha256(f"sprout disk {epoch} {sha256_file(image)}".encode()).digest()
    cluster = _cluster_sectors(size)
    sectors = _partition_sectors(size, cluster)
    with staged_file(target) as staging, _work_directory(target.parent) as work:
        # The programs run inside the directory: no path of this machine can get into the file,
        # and none can hold what mtools takes for syntax.
        disk = work / "disk"
        with disk.open("wb") as stream:
            stream.truncate(2 * _START + sectors * SECTOR)
        _partition(disk, sectors, seed)
        (work / name).symlink_to(image.resolve())
        environment = _environment(work, epoch)
        for program, *options in (
            _mformat(sectors, cluster, seed),
            ["mmd", "::/EFI", "::/EFI/BOOT"],
            ["mcopy", name, f"::/EFI/BOOT/{name}"],
        ):
            check(
                [program, "-i", f"disk@@{_START}", *options],
                _MAKE_HINT,
                cwd=work,
                env=environment,
                timeout=_TIMEOUT_S,
            )
        disk.replace(staging)


def read_disk(path: Path) -> BootDisk:
    """Read the boot image back out of a disk's first EFI system partition.

    Raises SproutError when the partition table is damaged, there is no such partition, or no image
    of at most 1 GiB under one of BOOT_NAMES in it.
    """
    table = read_mapped(path, MAX_DISK_BYTES, lambda data: _table(memoryview(data), path))
    partition = next((row for row in table.partitions if row.type_guid == ESP_TYPE), None)
    if partition is None:
        raise SproutError(f"{path}: no EFI system partition", _READ_HINT)
    with _work_directory(None) as work:
        (work / "disk").symlink_to(path.resolve())
        for name in BOOT_NAMES.values():
            image, said = _read_file(work, partition.first * SECTOR, f"::/EFI/BOOT/{name}", path)
            if image:
                return BootDisk(table, partition, name, image)
            if "not found" not in said:
                raise SproutError(f"{path}: EFI system partition: {name}: {said}", _READ_HINT)
    names = " or ".join(BOOT_NAMES.values())
    raise SproutError(f"{path}: EFI system partition: no {names}: {said}", _READ_HINT)


def _table(data: memoryview, path: Path) -> Gpt:
    with data:
        return parse_gpt(data, path)


def _boot_name(image: Path) -> str:
    headers = read_mapped(image, MAX_IMAGE_BYTES, lambda data: pe.parse_headers(data, image))
    found = pe.MACHINES.get(headers.machine, "unknown")
    if found not in BOOT_NAMES:
        raise pe.error(
            image, "Machine", f"{found} has no boot name here", f"Known: {', '.join(BOOT_NAMES)}."
        )
    return BOOT_NAMES[found]


def _cluster_sectors(size: int) -> int:
    cluster, largest = _CLUSTER_SECTORS
    while cluster < largest and _FAT32_MIN_CLUSTERS * 2 * cluster * SECTOR <= size:
        cluster *= 2
    return cluster


def _partition_sectors(size: int, cluster: int) -> int:
    """Give the sectors of a partition with room for a file of `size` bytes, by whole MiB."""
    # Beside the file: the root, two directories, and the rounding of the file itself.
    clusters = max(-(-size // (cluster * SECTOR)) + 4, _FAT32_MIN_CLUSTERS + 16)
    fats = 2 * -(-(clusters + 2) * 4 // SECTOR)
    total = _RESERVED_SECTORS + fats + clusters * cluster
    return pe.align(total * SECTOR, _MIB) // SECTOR


def _partition(disk: Path, sectors: int, seed: bytes) -> None:
    script = (
        f"label: gpt\nlabel-id: {_guid(seed[:16])}\nunit: sectors\nsector-size: {SECTOR}\n\n"
        f"start={_START // SECTOR}, size={sectors}, type={ESP_TYPE}, "
        f'uuid={_guid(hashlib.sha256(seed).digest()[:16])}, name="ESP"\n'
    )
    check(
        ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "--wipe", "never", "disk"],
        _MAKE_HINT,
        cwd=disk.parent,
        data=script.encode(),
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        timeout=_TIMEOUT_S,
    )


def _mformat(sectors: int, cluster: int, seed: bytes) -> list[str]:
    """Give mformat's arguments: FAT32, and every value that it would otherwise think up."""
    geometry = ["-T", str(sectors), "-h", "255", "-s", "63", "-H", str(_START // SECTOR)]
    identity = ["-m", "0xf8", "-N", seed[-4:].hex(), "-v", "ESP"]
    return ["mformat", "-F", "-c", str(cluster), *geometry, *identity, "::"]


def _guid(seed: bytes) -> uuid.UUID:
    """Make a GUID of 16 bytes of a digest: RFC 9562 version 8, "custom"."""
    raw = bytearray(seed)
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(raw))


def _environment(work: Path, epoch: int) -> dict[str, str]:
    """Give the whole environment of mtools, so that nothing of the user's settings matters.

    The names are settings that /etc/mtools.conf may hold too; the environment goes before it.
    """
    first, last = _FAT_EPOCHS
    return {
        "TZ": "UTC",
        "LC_ALL": "C",
        "HOME": str(work),
        "MTOOLSRC": "/dev/null",
        "MTOOLS_SKIP_CHECK": "0",
        "MTOOLS_FAT_COMPATIBILITY": "0",
        "MTOOLS_LOWER_CASE": "0",
        "MTOOLS_NO_VFAT": "0",
        "MTOOLS_NAME_NUMERIC_TAIL": "1",
        "SOURCE_DATE_EPOCH": str(min(max(epoch, first), last)),
    }


def _read_file(work: Path, offset: int, name: str, where: Path) -> tuple[bytes, str]:
    """Give a file's bytes by mcopy, or no bytes and what mcopy said."""
    said = work / "said"
    arguments = ["mcopy", "-i", f"disk@@{offset}", name, "-"]
    with (
        said.open("wb") as stderr,
        started(
            arguments,
            cwd=work,
            env=_environment(work, 0),
            stdout=subprocess.PIPE,
            stderr=stderr,
        ) as process,
    ):
        # A FAT that was made to be followed for ever ends here.
        watchdog = threading.Timer(_TIMEOUT_S, process.kill)
        watchdog.start()
        try:
            data = process.stdout.read(MAX_IMAGE_BYTES + 1) if process.stdout else b""
            if len(data) > MAX_IMAGE_BYTES:
                raise SproutError(
                    f"{where}: {name}: longer than {MAX_IMAGE_BYTES:,} bytes", _READ_HINT
                )
            status = process.wait()
        finally:
            watchdog.cancel()
    if status == 0:
        return data, ""
    lines = said.read_bytes()[:_MAX_SAID].decode("ascii", "backslashreplace").split("\n")
    return b"", next((line.strip() for line in lines if line.strip()), "it printed nothing")


@contextmanager
def _work_directory(beside: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=".sprout-disk-", dir=beside) as name:
        yield Path(name)
