"""A bootable disk: one EFI system partition with the boot image under its default name.

(UEFI specification 2.10, section 3.5.1.1 "Removable Media Boot Behavior".)
"""

from __future__ import annotations

import hashlib
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import sha256_file
from sprout.base.run import started
from sprout.format import pe
from sprout.image.esp import PROGRAMS, make_esp, mtools_environment, work_directory
from sprout.image.gpt import ESP_TYPE, SECTOR, Gpt, Partition, parse_gpt
from sprout.image.reading import read_mapped
from sprout.image.uki import MAX_IMAGE_BYTES

__all__ = ["BOOT_NAMES", "MAX_DISK_BYTES", "PROGRAMS", "BootDisk", "make_disk", "read_disk"]

BOOT_NAMES = {"x86_64": "BOOTX64.EFI", "aarch64": "BOOTAA64.EFI"}
MAX_DISK_BYTES = 1 << 40  # sparse, so the limit is on what is mapped, not on what is stored

_TIMEOUT_S = 120.0
_MAX_SAID = 4096
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
    path = f"EFI/BOOT/{_boot_name(image)}"
    seed = hashlib.sha256(f"sprout disk {epoch} {sha256_file(image)}".encode()).digest()
    make_esp(target, {path: image}, epoch=epoch, seed=seed)


def read_disk(path: Path) -> BootDisk:
    """Read the boot image back out of a disk's first EFI system partition.

    Raises SproutError when the partition table is damaged, there is no such partition, or no image
    of at most 1 GiB under one of BOOT_NAMES in it.
    """
    table = read_mapped(path, MAX_DISK_BYTES, lambda data: _table(memoryview(data), path))
    partition = next((row for row in table.partitions if row.type_guid == ESP_TYPE), None)
    if partition is None:
        raise SproutError(f"{path}: no EFI system partition", _READ_HINT)
    with work_directory(None) as work:
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


def _read_file(work: Path, offset: int, name: str, where: Path) -> tuple[bytes, str]:
    """Give a file's bytes by mcopy, or no bytes and what mcopy said."""
    said = work / "said"
    arguments = ["mcopy", "-i", f"disk@@{offset}", name, "-"]
    with (
        said.open("wb") as stderr,
        started(
            arguments,
            cwd=work,
            env=mtools_environment(work, 0),
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
