"""Proves of a fresh kernel that a certificate can be put into it, compressed or not."""

from __future__ import annotations

import struct
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.base.run import check
from sprout.kernel.reserve import Room, find_room

_MAX_IMAGE_BYTES = 256 << 20
_MAX_ELF_BYTES = 1 << 30
_LZ4_LEGACY = b"\x02\x21\x4c\x18"
_COMPLEMENT = bytes(range(256))[::-1]


def prove_room(image: Path, vmlinux: Path) -> None:
    """Check that a bzImage and its `vmlinux` have the same room, and have it exactly once.

    Every byte of the bzImage's room is changed and the image decompressed before and after: the
    two may differ in the room alone. Raises SproutError when they do not, which is so when LZ4
    has found a few bytes of the room nearby.
    """
    linked = read_bounded(vmlinux, _MAX_ELF_BYTES)
    room = find_room(linked, vmlinux.name)
    pattern = linked[room.start : room.end]
    packed = read_bounded(image, _MAX_IMAGE_BYTES)
    before = _decompressed(packed, image)
    try:
        changed = _inverted(packed, find_room(packed, image.name), pattern)
        expected = _inverted(before, find_room(before, image.name), pattern)
    except SproutError as error:
        raise _spoilt(image) from error
    if _decompressed(changed, image) != expected:
        raise _spoilt(image)


def _inverted(kernel: bytes, room: Room, pattern: bytes) -> bytes:
    if kernel[room.start : room.end] != pattern:
        raise SproutError("the room holds another pattern than in the ELF file", "")
    return kernel[: room.start] + pattern.translate(_COMPLEMENT) + kernel[room.end :]


def _decompressed(image: bytes, where: Path) -> bytes:
    """Give what a bzImage's payload unpacks to (Documentation/arch/x86/boot.rst, 2.08)."""
    payload = b""
    if len(image) >= 0x250 and image[0x202:0x206] == b"HdrS":
        offset, length = struct.unpack_from("<II", image, 0x248)
        start = ((image[0x1F1] or 4) + 1) * 512 + offset
        # The last four bytes are the unpacked size, which the kernel's build appends.
        payload = image[start : start + length - 4]
    if not payload.startswith(_LZ4_LEGACY):
        raise SproutError(
            f"{where.name}: is no bzImage compressed by LZ4, so nothing can be put into it",
            "Ask for CONFIG_KERNEL_LZ4=y in a fragment, or for no room for a certificate.",
        )
    return check(["lz4", "-dc", "-"], "Reinstall lz4.", data=payload)


def _spoilt(image: Path) -> SproutError:
    return SproutError(
        f"{image.name}: the room for a certificate was compressed",
        "By chance some of its bytes stand nearby as well; another "
        "CONFIG_SYSTEM_EXTRA_CERTIFICATE_SIZE in the fragment fills it with others.",
    )
