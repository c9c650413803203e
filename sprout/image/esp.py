"""An EFI system partition (FAT32) on a GPT disk of its own, made from a list of files.

Made by `sfdisk` and mtools on an ordinary file, so nothing needs root, and a function of what it is
given alone: identifiers come from a seed, time stamps from the epoch. (UEFI specification 2.10,
section 13.3 "File System Format".)
"""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sprout.base.files import staged_file
from sprout.base.run import check
from sprout.format import pe
from sprout.image.gpt import ESP_TYPE, SECTOR

PROGRAMS = ("sfdisk", "mformat", "mmd", "mcopy")

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
_MAKE_HINT = "Read what the program said; nothing was written."


def make_esp(target: Path, files: Mapping[str, Path], *, epoch: int, seed: bytes) -> None:
    """Write a sparse disk to `target` whose one partition holds `files`, by their names there.

    Names are paths with slashes, such as "EFI/BOOT/BOOTX64.EFI". `epoch` (seconds since 1970)
    becomes the files' time; every identifier is made from `seed` (32 bytes). Raises SproutError
    when a program fails or the space does not suffice.
    """
    directories = _directories(files)
    sizes = [path.stat().st_size for path in files.values()]
    cluster = _cluster_sectors(sum(sizes))
    sectors = _partition_sectors(sizes, len(directories), cluster)
    with staged_file(target) as staging, work_directory(target.parent) as work:
        # The programs run inside the directory: no path of this machine can get into the file,
        # and none can hold what mtools takes for syntax.
        disk = work / "disk"
        with disk.open("wb") as stream:
            stream.truncate(2 * _START + sectors * SECTOR)
        _partition(disk, sectors, seed)
        commands = [_mformat(sectors, cluster, seed)]
        if directories:
            commands.append(["mmd", *(f"::/{directory}" for directory in directories)])
        for number, (path, file) in enumerate(files.items()):
            (work / f"{number}").symlink_to(file.resolve())
            commands.append(["mcopy", f"{number}", f"::/{path}"])
        environment = mtools_environment(work, epoch)
        for program, *options in commands:
            check(
                [program, "-i", f"disk@@{_START}", *options],
                _MAKE_HINT,
                cwd=work,
                env=environment,
                timeout=_TIMEOUT_S,
            )
        disk.replace(staging)


@contextmanager
def work_directory(beside: Path | None) -> Iterator[Path]:
    """Give a directory for a while: in `beside`, else where temporary files go."""
    with tempfile.TemporaryDirectory(prefix=".sprout-disk-", dir=beside) as name:
        yield Path(name)


def _directories(files: Mapping[str, Path]) -> list[str]:
    """Give every directory that the files' names need, parents first."""
    found: dict[str, None] = {}
    for name in files:
        parts = name.split("/")[:-1]
        for end in range(1, len(parts) + 1):
            found.setdefault("/".join(parts[:end]))
    return list(found)


def _cluster_sectors(size: int) -> int:
    cluster, largest = _CLUSTER_SECTORS
    while cluster < largest and _FAT32_MIN_CLUSTERS * 2 * cluster * SECTOR <= size:
        cluster *= 2
    return cluster


def _partition_sectors(sizes: Sequence[int], directories: int, cluster: int) -> int:
    """Give the sectors of a partition with room for files of `sizes` bytes, by whole MiB."""
    # Beside the files: the root, the directories, one to spare, and room for more files' names.
    beside = directories + 2 + max(len(sizes) - 1, 0)
    taken = sum(-(-size // (cluster * SECTOR)) for size in sizes)
    clusters = max(taken + beside, _FAT32_MIN_CLUSTERS + 16)
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


def mtools_environment(work: Path, epoch: int) -> dict[str, str]:
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
