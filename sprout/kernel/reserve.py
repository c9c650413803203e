"""The room for a certificate in a finished kernel, and the certificate that is put there.

`kernels/patches/certs-reserve-stands-alone.patch` fills the kernel's reserve (its option
CONFIG_SYSTEM_EXTRA_CERTIFICATE) with a pattern that does not compress. LZ4 copies what it cannot
compress byte by byte (LZ4 block format, "literals"), so the room stands in a bzImage as it stands
in the ELF file, and a certificate can be written over it in both without linking or compressing
again.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from sprout.base.errors import SproutError

OPENS = bytes.fromhex("d79fc8a7e4ea844c4560a69ce629448f")
CLOSES = bytes.fromhex("7319ac4c7b53f6c8f9e8bd4d7cd27b98")
_REBUILD = (
    "Build a flavor with the fragment `modules` and the patch certs-reserve-stands-alone.patch."
)
_MAX_ROOM = 32768
_FILLER = re.compile(rb"[\x90-\xcf]+")


@dataclass(frozen=True)
class Room:
    """Where a certificate can be written: the offset in the file, and the bytes that there are."""

    start: int
    size: int

    @property
    def end(self) -> int:
        """Give the offset behind the room."""
        return self.start + self.size


def find_room(kernel: bytes, where: object = "kernel") -> Room:
    """Give the room in a kernel, an ELF file or a bzImage; `where` names it in errors.

    Raises SproutError when there is none, more than one, one that is damaged, or one that a
    certificate was put into already.
    """
    opens, closes = kernel.count(OPENS), kernel.count(CLOSES)
    if (opens, closes) == (0, 1):
        raise SproutError(
            f"{where}: a certificate was put into this kernel already",
            "Take the kernel as it was built.",
        )
    if opens == closes == 0:
        raise SproutError(f"{where}: this kernel has no room for a certificate", _REBUILD)
    if opens > 1 or closes > 1:
        raise SproutError(f"{where}: this kernel has two rooms for a certificate", _REBUILD)
    room = Room(kernel.find(OPENS), kernel.find(CLOSES) - kernel.find(OPENS))
    if not len(OPENS) < room.size <= _MAX_ROOM or not _FILLER.fullmatch(
        kernel, room.start + len(OPENS), room.end
    ):
        raise SproutError(f"{where}: the room for a certificate is damaged", _REBUILD)
    return room


def insert_certificate(kernel: bytes, der: bytes, where: object = "kernel") -> bytes:
    """Give the kernel, an ELF file or a bzImage, with the certificate `der` (X.509) in its room.

    Nothing else changes, but for the CRC-32 at a bzImage's end (Documentation/arch/x86/boot.rst,
    "The Image Checksum"). Raises SproutError for a kernel that `find_room` refuses and for a
    certificate that does not fit.
    """
    room = find_room(kernel, where)
    # The kernel takes a SEQUENCE with a length of two bytes and nothing else (x509_loader.c).
    if len(der) < 256 or der[:2] != b"\x30\x82" or len(der) != 4 + int.from_bytes(der[2:4], "big"):
        raise SproutError(
            f"{where}: what is to be put into it is no certificate in DER",
            "Give one X.509 certificate of an RSA key.",
        )
    if len(der) > room.size:
        raise SproutError(
            f"{where}: the certificate has {len(der):,} bytes, its room {room.size:,}",
            "Give one with shorter names, or raise CONFIG_SYSTEM_EXTRA_CERTIFICATE_SIZE.",
        )
    after = kernel[: room.start] + der + kernel[room.start + len(der) :]
    if kernel[0x202:0x206] == b"HdrS" and kernel[-4:] == _checksum(kernel):
        after = after[:-4] + _checksum(after)
    return after


def _checksum(image: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(image[:-4]) ^ 0xFFFFFFFF)
