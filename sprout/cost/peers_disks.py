"""Disks for the boot loaders compared: an EFI system partition as sprout.image.esp makes it.

All carry the same kernel and initrd, byte for byte, and differ in what starts them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sprout.base.files import read_bounded, staged_file
from sprout.base.run import check
from sprout.cost.measure import Subject
from sprout.format import pe
from sprout.image.esp import make_esp
from sprout.image.uki import MAX_IMAGE_BYTES, Section, lay_out
from sprout.initramfs.cpio import Entry, write_cpio

BOOT_NAME = "EFI/BOOT/BOOTX64.EFI"
PAYLOAD = "payload"
_TIMEOUT_S = 120.0
_HINT = "Read what the program said; nothing was left."
_TEXTS = (".osrel", ".cmdline", ".uname", ".sbat")


@dataclass(frozen=True)
class Parts:
    """What every loader starts: files of kernel and initrd, the command line; and our image's
    stub and texts by section name. `epoch` (seconds since 1970) is every file's time.
    """

    kernel: Path
    initrd: Path
    cmdline: str
    stub: Path
    texts: dict[str, bytes]
    epoch: int


def parts_of(subject: Subject, initrd: Path) -> Parts:
    """Give the parts of `subject`'s image with another `initrd`.

    Raises SproutError when the image is no PE file.
    """
    data = read_bounded(subject.image, MAX_IMAGE_BYTES)
    headers = pe.parse_headers(data, subject.image)
    texts = {
        row.name: data[row.raw_offset : row.raw_offset + row.virtual_size]
        for row in headers.sections
        if row.name in _TEXTS
    }
    return Parts(
        kernel=subject.kernel / "image",
        initrd=initrd,
        cmdline=subject.cmdline,
        stub=subject.stub_symbols.with_name("stub.efi"),
        texts=texts,
        epoch=pe.COFF.unpack_from(data, headers.coff_offset)[2],
    )


def pad_initrd(target: Path, initrd: Path, size: int) -> None:
    """Write `initrd` followed by a second archive, `size` bytes in all, uncompressed.

    The second archive holds one file of pseudo-random bytes, the same ones each time: like the
    compressed files that fill a real initrd they can be made no smaller, and no page of them is
    empty; and no decompressor in the kernel hides what a loader costs.
    """
    first = read_bounded(initrd, MAX_IMAGE_BYTES)
    first += bytes(-len(first) % 4)
    around = len(write_cpio([Entry(PAYLOAD, 0o100644)], epoch=0))
    room = max(size - len(first) - around, 0) & ~3
    payload = hashlib.shake_256(b"sprout cost peers").digest(room)
    second = write_cpio([Entry(PAYLOAD, 0o100644, payload)], epoch=0)
    with staged_file(target) as staging:
        # The kernel takes zeros after an archive for padding.
        staging.write_bytes((first + second).ljust(size, b"\0"))


def make_disk(target: Path, files: Mapping[str, Path], *, epoch: int) -> None:
    """Write a disk whose EFI system partition holds `files`, by their names there.

    Raises SproutError when a program fails or the space does not suffice.
    """
    seed = hashlib.sha256(" ".join(files).encode()).digest()
    make_esp(target, files, epoch=epoch, seed=seed)


def our_image(target: Path, parts: Parts) -> None:
    """Write the image on our stub, as `sprout build` lays it out."""
    kernel = read_bounded(parts.kernel, MAX_IMAGE_BYTES)
    memory = pe.parse_headers(kernel, parts.kernel).size_of_image
    sections = [Section(name, parts.texts[name]) for name in _TEXTS if name in parts.texts]
    sections.append(Section(".initrd", read_bounded(parts.initrd, MAX_IMAGE_BYTES)))
    sections.append(Section(".linux", kernel, memory))
    stub = read_bounded(parts.stub, MAX_IMAGE_BYTES)
    target.write_bytes(lay_out(stub, sections, epoch=parts.epoch))


def systemd_image(target: Path, parts: Parts, stub: Path) -> None:
    """Write the image on systemd's stub, by objcopy, as systemd-stub(7) says."""
    data = read_bounded(stub, MAX_IMAGE_BYTES)
    headers = pe.parse_headers(data, stub)
    # objcopy counts from where the image is linked to: ImageBase (PE Format, optional header).
    (base,) = struct.unpack_from("<Q", data, headers.optional_offset + 24)
    address = base + max(row.virtual_end for row in headers.sections)
    command: list[str | Path] = ["objcopy"]
    for name in (".osrel", ".cmdline", ".uname", ".initrd", ".linux"):
        file = {".initrd": parts.initrd, ".linux": parts.kernel}.get(name)
        if file is None:
            if name not in parts.texts:
                continue
            file = target.with_name(name[1:])
            file.write_bytes(parts.texts[name])
        address = pe.align(address, 4096)
        command += ["--add-section", f"{name}={file}"]
        command += ["--change-section-vma", f"{name}={address:#x}"]
        address += file.stat().st_size
    check([*command, stub, target], _HINT, timeout=_TIMEOUT_S)
