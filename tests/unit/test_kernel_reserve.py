"""The room for a certificate: found where it is whole, and refused where it is not."""

from __future__ import annotations

import random
import re
import struct
import zlib
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.base.run import check
from sprout.kernel.reserve import CLOSES, OPENS, find_room, insert_certificate
from sprout.kernel.reserve_proof import prove_room

ROOT = Path(__file__).parents[2]
_SIZE = 2048
CERTIFICATE = b"\x30\x82\x03\x00" + random.Random(1).randbytes(0x300)  # noqa: S311 - no key


def pattern(size: int = _SIZE) -> bytes:
    """Give what the patch fills the reserve with, and the words around it."""
    words, filler = [], size
    for _ in range((size - 32) // 4 + 8):
        filler = (filler * 1664525 + 1013904223) & 0xFFFFFFFF
        words.append(bytes(0x90 + (filler >> shift & 63) for shift in (8, 14, 20, 26)))
    return b"".join([*words[:4], OPENS, *words[4:-4], CLOSES, *words[-4:]])


def elf(*inside: bytes) -> bytes:
    """Give something that stands for a linked kernel with `inside` in it."""
    return b"\x7fELF" + bytes(600) + b"kernel text\0" * 400 + b"".join(inside) + bytes(5000)


def bzimage(linked: bytes, *, packed: bytes | None = None) -> bytes:
    """Give something that stands for a bzImage: a setup header, a payload by lz4, a checksum."""
    payload = check(["lz4", "-l", "-9", "-c", "-"], "", data=linked) if packed is None else packed
    payload += struct.pack("<I", len(linked))
    setup = bytearray(1024)
    setup[0x1F1], setup[0x202:0x206] = 1, b"HdrS"
    struct.pack_into("<II", setup, 0x248, 64, len(payload))
    image = bytes(setup) + bytes(64) + payload + bytes(32)
    return image + struct.pack("<I", zlib.crc32(image) ^ 0xFFFFFFFF)


def test_the_patch_fills_in_what_is_looked_for() -> None:
    patch = (ROOT / "kernels/patches/certs-reserve-stands-alone.patch").read_text()
    lines = re.findall(r"^\+\t\.long ((?:0x\w{8}(?:, )?){4})$", patch, re.MULTILINE)
    marks = [struct.pack("<4I", *(int(word, 16) for word in line.split(", "))) for line in lines]
    assert marks == [OPENS, CLOSES]
    assert "filler * 1664525 + 1013904223" in patch
    assert "0x90 + ((filler >> 26) & 63)" in patch


@pytest.mark.parametrize("size", [1024, 1536, 2048, 2560, 3072, 3584, 4096])
def test_no_four_bytes_of_the_room_are_in_it_twice(size: int) -> None:
    """LZ4 takes up four bytes that it has seen before, and no fewer."""
    room = pattern(size)
    assert len({room[at : at + 4] for at in range(len(room) - 3)}) == len(room) - 3


def test_certificate_goes_into_an_elf_file_and_nothing_else_changes() -> None:
    kernel = elf(pattern())
    room = find_room(kernel)
    assert room.size == _SIZE - len(CLOSES)
    after = insert_certificate(kernel, CERTIFICATE)
    assert after[room.start : room.start + len(CERTIFICATE)] == CERTIFICATE
    assert after[: room.start] == kernel[: room.start]
    assert after[room.start + len(CERTIFICATE) :] == kernel[room.start + len(CERTIFICATE) :]


def test_certificate_goes_into_a_bzimage_and_its_checksum_holds() -> None:
    after = insert_certificate(bzimage(elf(pattern())), CERTIFICATE)
    # The CRC of the whole file, its own checksum included, is 0 (boot.rst, "The Image Checksum").
    assert zlib.crc32(after) ^ 0xFFFFFFFF == 0
    offset, length = struct.unpack_from("<II", after, 0x248)
    payload = after[1024 + offset : 1024 + offset + length - 4]
    unpacked = check(["lz4", "-dc", "-"], "", data=payload)
    assert unpacked == insert_certificate(elf(pattern()), CERTIFICATE)


def test_checksum_that_was_not_there_is_not_made() -> None:
    kernel = bzimage(elf(pattern()))[:-4] + b"else"
    assert insert_certificate(kernel, CERTIFICATE).endswith(b"else")


def test_largest_certificate() -> None:
    room = find_room(elf(pattern()))
    largest = b"\x30\x82" + struct.pack(">H", room.size - 4) + bytes(room.size - 4)
    after = insert_certificate(elf(pattern()), largest)
    assert after.count(CLOSES) == 1
    longer = b"\x30\x82" + struct.pack(">H", room.size - 3) + bytes(room.size - 3)
    with pytest.raises(SproutError, match=r"certificate has 2,033 bytes, its room 2,032"):
        insert_certificate(elf(pattern()), longer)


@pytest.mark.parametrize(
    ("kernel", "problem"),
    [
        (elf(), "has no room"),
        (b"", "has no room"),
        (elf(pattern(), pattern()), "has two rooms"),
        (elf(pattern(), OPENS), "has two rooms"),
        (elf(OPENS), "is damaged"),
        (elf(CLOSES, pattern()[16:-32]), "is damaged"),
        (elf(OPENS, CLOSES), "is damaged"),
        (elf(OPENS, b"abc", CLOSES), "is damaged"),
        (elf(pattern()[:1000], b"\0", pattern()[1001:]), "is damaged"),
        (elf(pattern(65536)), "is damaged"),
        (insert_certificate(elf(pattern()), CERTIFICATE), "already"),
    ],
)
def test_kernel_that_takes_no_certificate(kernel: bytes, problem: str) -> None:
    with pytest.raises(SproutError) as caught:
        insert_certificate(kernel, CERTIFICATE, "some/vmlinux")
    assert caught.value.message.startswith("some/vmlinux: ")
    assert problem in caught.value.message


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30\x82",
        CERTIFICATE[:-1],
        CERTIFICATE + b"\0",
        b"\x30\x81\x20" + bytes(0x20),
        b"-----BEGIN CERTIFICATE-----\n" + bytes(800),
        CERTIFICATE * 2,
    ],
)
def test_what_is_no_certificate(der: bytes) -> None:
    with pytest.raises(SproutError, match="is no certificate in DER"):
        insert_certificate(elf(pattern()), der)


def proven(tmp_path: Path, image: bytes, linked: bytes) -> None:
    (tmp_path / "image").write_bytes(image)
    (tmp_path / "vmlinux").write_bytes(linked)
    prove_room(tmp_path / "image", tmp_path / "vmlinux")


def test_room_is_proven(tmp_path: Path) -> None:
    for size in (1024, 2048, 4096):
        linked = elf(pattern(size))
        proven(tmp_path, bzimage(linked), linked)


def test_room_whose_bytes_stand_nearby_is_found_out(tmp_path: Path) -> None:
    room = pattern()
    before = elf(room[500:504], bytes(range(200)), room)
    after = elf(room, bytes(range(200)), room[500:560])
    for linked in (before, after):
        with pytest.raises(SproutError, match="was compressed") as caught:
            proven(tmp_path, bzimage(linked), linked)
        assert "CONFIG_SYSTEM_EXTRA_CERTIFICATE_SIZE" in caught.value.hint


@pytest.mark.parametrize("packed", [b"\x1f\x8b" + bytes(500), b""])
def test_kernel_compressed_by_something_else(packed: bytes, tmp_path: Path) -> None:
    linked = elf(pattern())
    with pytest.raises(SproutError, match="no bzImage compressed by LZ4"):
        proven(tmp_path, bzimage(linked, packed=packed), linked)


def test_image_of_another_kernel(tmp_path: Path) -> None:
    with pytest.raises(SproutError, match="was compressed"):
        proven(tmp_path, bzimage(elf(pattern(1024))), elf(pattern()))
    with pytest.raises(SproutError, match="vmlinux: this kernel has no room"):
        proven(tmp_path, bzimage(elf(pattern())), elf())
    with pytest.raises(SproutError, match="no bzImage"):
        proven(tmp_path, b"short", elf(pattern()))
