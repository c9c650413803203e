"""Firmware volumes built here byte by byte: what is read out of them, and what is refused."""

from __future__ import annotations

import lzma
import struct
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.cost.firmware import (
    MAX_FIRMWARE_BYTES,
    name_address,
    name_image,
    parse_modules,
    read_modules,
)

FFS2 = uuid.UUID("8c8ce578-8a3d-4f1c-9935-896185c32dd3")
FFS3 = uuid.UUID("5473c07a-3dcb-4dca-bd6f-1e9689e7349a")
VARIABLES = uuid.UUID("fff12b8d-7696-4c8b-a985-2747075b4f50")
LZMA = uuid.UUID("ee4e5898-3914-4259-9d6e-dc7bd79403cf")
CRC32 = uuid.UUID("fc1bcdb0-7d31-49aa-936a-a4600d9dd083")
VOLUME_TOP = uuid.UUID("1ba0062e-c779-4582-8566-336ae8f78f09")
SEC, PEIM, DRIVER, VOLUME_FILE, RAW = 0x03, 0x06, 0x07, 0x0B, 0x01
PE32, TE, UI, IMAGE = 0x10, 0x12, 0x15, 0x17
MEMORY, FLASH = 0x820000, 0xFFFC0000


def guid(number: int) -> uuid.UUID:
    return uuid.UUID(int=number)


def padded(data: bytes, alignment: int, fill: bytes = b"\xff") -> bytes:
    return data + fill * (-len(data) % alignment)


def section(kind: int, data: bytes, *, large: bool = False) -> bytes:
    if large:
        return b"\xff\xff\xff" + struct.pack("<BI", kind, len(data) + 8) + data
    return (len(data) + 4).to_bytes(3, "little") + bytes([kind]) + data


def sections(*parts: bytes) -> bytes:
    return b"".join(padded(part, 4, b"\0") for part in parts[:-1]) + parts[-1]


def ui(name: str) -> bytes:
    return section(UI, name.encode("utf-16-le") + b"\0\0")


def encoded(encoding: uuid.UUID, data: bytes, attributes: int = 1) -> bytes:
    return section(0x02, encoding.bytes_le + struct.pack("<HH", 24, attributes) + data)


def lzma_data(data: bytes) -> bytes:
    """The .lzma format with its true size, as edk2 writes it."""
    packed = lzma.compress(data, lzma.FORMAT_ALONE, preset=0)
    return packed[:5] + struct.pack("<Q", len(data)) + packed[13:]


def packed(data: bytes) -> bytes:
    return encoded(LZMA, lzma_data(data))


def ffs(
    name: uuid.UUID,
    kind: int,
    body: bytes,
    *,
    large: bool = False,
    state: int = 0xF8,
    attributes: int = 0,
) -> bytes:
    size = 24 + len(body) + 8 * large
    header = bytearray(
        struct.pack("<16sBBBB", name.bytes_le, 0, 0xAA, kind, attributes | large)
        + (0 if large else size).to_bytes(3, "little")
        + bytes([state])
        + (struct.pack("<Q", size) if large else b"")
    )
    header[16] = -(sum(header) - header[17] - header[23]) & 0xFF
    return bytes(header) + body


def volume(
    *files: bytes,
    system: uuid.UUID = FFS2,
    free: int = 64,
    erased: int = 0xFF,
    extended: bytes = b"",
) -> bytes:
    fill = bytes([erased])
    start = 0x48
    body = b""
    if extended:
        body = guid(99).bytes_le + struct.pack("<I", 20 + len(extended)) + extended
    body = padded(body, 8, fill)
    for file in files:
        body += padded(file, 8, fill)
    body += fill * free
    length = start + len(body)
    header = bytearray(
        struct.pack(
            "<16s16sQ4sIHHHBB4I",
            bytes(16),
            system.bytes_le,
            length,
            b"_FVH",
            0x800 if erased else 0,
            start,
            0,
            start if extended else 0,
            0,
            2,
            *(1, length, 0, 0),
        )
    )
    struct.pack_into("<H", header, 50, -sum(memoryview(bytes(header)).cast("H")) & 0xFFFF)
    return bytes(header) + body


def pe(
    *, base: int = 0, stamp: int = 0, size: int = 0x2000, entry: int = 0x240, plus: bool = True
) -> bytes:
    data = bytearray(0x400)
    data[:2] = b"MZ"
    struct.pack_into("<I", data, 0x3C, 0x80)
    struct.pack_into("<4sHHI", data, 0x80, b"PE\0\0", 0x8664 if plus else 0x14C, 1, stamp)
    optional = 0x98
    struct.pack_into("<H", data, optional, 0x20B if plus else 0x10B)
    struct.pack_into("<I", data, optional + 4, 0x1000)
    struct.pack_into("<I", data, optional + 16, entry)
    struct.pack_into("<Q" if plus else "<I", data, optional + (24 if plus else 28), base)
    struct.pack_into("<I", data, optional + 56, size)
    struct.pack_into("<I", data, optional + 64, 0xC5)
    return bytes(data)


def te(*, base: int, stripped: int = 0x1D0, entry: int = 0x250) -> bytes:
    """A terse image linked so that its header lies at `base`."""
    header = struct.pack(
        "<2sHBBHIIQ16x", b"VZ", 0x8664, 2, 11, stripped, entry, 0x240, base - stripped + 40
    )
    rows = b"".join(
        struct.pack("<8sIIII12xI", name, memory, address, stored, address, flags)
        for name, memory, address, stored, flags in (
            (b".text", 0x90, 0x240, 0xA0, 0x60000020),
            (b".data", 0x300, 0x2E0, 0x40, 0xC0000040),
        )
    )
    return padded(header + rows, 0x400, b"\0")


def flash(*volumes: bytes) -> bytes:
    """Volumes one behind the other, as far apart as flash blocks would have them."""
    return b"".join(padded(one, 16) for one in volumes)


def driver(name: str, image: bytes, number: int = 1, state: int = 0xF8) -> bytes:
    body = sections(section(PE32, image), ui(name))
    return ffs(guid(number), DRIVER, body, state=state)


def in_place(make: Callable[[int], bytes], kind: int, image_section: int, at: int) -> bytes:
    """A file for offset `at` of its volume; `make` gets the offset of the image in the volume."""
    return ffs(guid(7), kind, sections(section(image_section, make(at + 28)), ui("InPlace")))


HEADER = (0, 0x2000, 0x240, 0x1000, 0xC5)


def test_driver_in_a_packed_volume_is_named_by_its_header() -> None:
    unnamed = ffs(guid(5), DRIVER, section(PE32, pe(stamp=7)))
    nested = volume(
        driver("SomeDxe", pe()), unnamed, driver("ThirtyTwoDxe", pe(size=0x900, plus=False))
    )
    outer = ffs(
        guid(3), VOLUME_FILE, packed(sections(section(0x19, b"pad"), section(IMAGE, nested)))
    )
    modules = parse_modules(volume(outer), "code.fd")
    assert name_image(modules, *HEADER) == "SomeDxe"
    assert name_image(modules, 7, *HEADER[1:]) == str(guid(5))
    assert name_image(modules, 0, 0x900, *HEADER[2:]) == "ThirtyTwoDxe"
    for index in range(5):
        other = [value + (place == index) for place, value in enumerate(HEADER)]
        assert name_image(modules, *other) is None
    assert [(module.kind, module.address) for module in modules.modules] == [("PE32", None)] * 3


def test_header_of_two_names_names_neither() -> None:
    same = (driver("OneDxe", pe(), 1), driver("OneDxe", pe(), 2))
    assert name_image(parse_modules(volume(*same), "f"), *HEADER) == "OneDxe"
    assert name_image(parse_modules(volume(*same, driver("TwoDxe", pe(), 3)), "f"), *HEADER) is None


def test_sec_and_reset_vector_have_their_place_in_flash() -> None:
    sec = in_place(lambda offset: te(base=FLASH + offset), SEC, TE, 0x48)
    vector = ffs(VOLUME_TOP, RAW, b"\xf4" * 0x20)
    data = volume(sec, vector, free=0)
    modules = parse_modules(flash(volume(driver("SomeDxe", pe())), data), "f")
    _, terse, top = modules.modules
    assert (terse.kind, terse.size, terse.entry, terse.code) == ("TE", 0x5E0, 0x250, 0xA0)
    assert (terse.address, terse.end) == (FLASH + 0x48 + 28, FLASH + 0x48 + 28 + 0x400)
    assert top.end == FLASH + len(data)
    for address, name in (
        (FLASH + 0x48 + 27, None),
        (FLASH + 0x48 + 28, "InPlace"),
        (FLASH + 0x48 + 28 + 0x3FF, "InPlace"),
        (FLASH + 0x48 + 28 + 0x400, None),
        (FLASH + len(data) - 1, "ResetVector"),
        (FLASH + len(data), None),
    ):
        assert name_address(modules, address) == name
    assert name_image(modules, 0, terse.size, terse.entry, terse.code, 0) is None


@pytest.mark.parametrize("plus", [False, True])
def test_peim_executes_in_the_unpacked_volume(plus: bool) -> None:
    peim = in_place(lambda offset: pe(base=MEMORY + offset, plus=plus), PEIM, PE32, 0x48)
    nested = section(IMAGE, volume(peim, driver("SomeDxe", pe(size=0x3000))))
    modules = parse_modules(volume(ffs(guid(3), VOLUME_FILE, packed(nested))), "f")
    assert name_address(modules, MEMORY + 0x48 + 28) == "InPlace"
    assert [name for _, _, name in modules.in_place] == ["InPlace"]


def test_volume_whose_modules_disagree_has_no_place() -> None:
    first = in_place(lambda offset: pe(base=MEMORY + offset), PEIM, PE32, 0x48)
    at = 0x48 + len(padded(first, 8))
    second = in_place(lambda offset: pe(base=MEMORY + offset + 4), PEIM, PE32, at)
    assert parse_modules(volume(first, second), "f").in_place == ()
    # One that is linked for 0 is moved before it runs, and claims nothing.
    moved = in_place(lambda _offset: pe(), PEIM, PE32, at)
    assert len(parse_modules(volume(first, moved), "f").in_place) == 1


def test_address_claimed_by_two_names_has_neither() -> None:
    def claimed_by(name: str) -> bytes:
        image = section(PE32, pe(base=MEMORY + 0x48 + 28))
        return volume(ffs(guid(7), PEIM, sections(image, ui(name))))

    one, other = claimed_by("OnePei"), claimed_by("OtherPei")
    assert name_address(parse_modules(flash(one, one), "f"), MEMORY + 0x100) == "OnePei"
    assert name_address(parse_modules(flash(one, other), "f"), MEMORY + 0x100) is None


@pytest.mark.parametrize(
    "data",
    [
        volume(driver("SomeDxe", pe(), state=0x07), erased=0x00),
        volume(driver("SomeDxe", pe()), extended=b"a part of the extended header"),
        volume(ffs(guid(1), DRIVER, section(PE32, pe()) + ui("SomeDxe"), large=True), system=FFS3),
        volume(ffs(guid(1), DRIVER, sections(section(PE32, pe(), large=True), ui("SomeDxe")))),
        volume(ffs(guid(1), DRIVER, encoded(CRC32, section(PE32, pe()) + ui("SomeDxe"), 2))),
        volume(ffs(guid(1), DRIVER, section(0x01, bytes(5) + section(PE32, pe()) + ui("SomeDxe")))),
        volume(ffs(guid(2), 0xF0, b"\xff" * 99), driver("SomeDxe", pe())),
        volume(ffs(guid(2), RAW, b"raw"), driver("SomeDxe", pe())),
        volume(ffs(guid(2), 0x02, section(0x19, b"logo")), driver("SomeDxe", pe())),
        volume(ffs(guid(2), DRIVER, b"junk", state=0xE8), driver("SomeDxe", pe())),
        flash(volume(b"\1" * 99, system=VARIABLES), volume(driver("SomeDxe", pe()))),
        b"\x14\0\0\xea_FVH" + bytes(0x1000 - 8) + volume(driver("SomeDxe", pe())),
    ],
    ids=[
        *("erased to zeros", "extended header", "large file", "large section", "crc32"),
        *("compression type none", "pad file", "raw file", "freeform file", "deleted file"),
        *("variables", "code in front"),
    ],
)
def test_form_is_read(data: bytes) -> None:
    assert name_image(parse_modules(data, "f"), *HEADER) == "SomeDxe"


@pytest.mark.parametrize(
    "body",
    [encoded(CRC32, b"anything"), section(0x01, struct.pack("<IB", 9, 1) + b"packed")],
    ids=["unknown encoding", "compression of the specification"],
)
def test_encoding_that_is_not_known_is_left_out(body: bytes) -> None:
    modules = parse_modules(volume(ffs(guid(1), DRIVER, body), driver("SomeDxe", pe())), "f")
    assert [module.name for module in modules.modules] == ["SomeDxe"]


def nested_volumes(depth: int) -> bytes:
    data = volume()
    for _ in range(depth):
        data = volume(ffs(guid(1), VOLUME_FILE, section(IMAGE, data)))
    return data


def nested_sections(depth: int) -> bytes:
    data = section(PE32, pe())
    for _ in range(depth):
        data = section(0x01, bytes(5) + data)
    return volume(ffs(guid(1), DRIVER, data))


def holding(body: bytes) -> bytes:
    return volume(ffs(guid(1), DRIVER, body))


def put(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


def claims_to_unpack_to(size: int) -> bytes:
    data = lzma_data(bytes(1 << 20))
    return holding(encoded(LZMA, put(data, 5, struct.pack("<Q", size))))


PLAIN = volume(driver("SomeDxe", pe()))
BODY = 0x48 + 24  # where the first file's first section is


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", "Signature"),
        (b"\xff" * 4096, "Signature"),
        (PLAIN[:100], "FvLength"),
        (put(PLAIN, 32, bytes(8)), "FvLength"),
        (put(PLAIN, 48, b"\x47"), "HeaderLength"),
        (put(PLAIN, 48, b"\xfe\xff"), "HeaderLength"),
        (put(PLAIN, 50, b"\0\0"), "Checksum"),
        (put(PLAIN, 16, b"\0"), "Checksum"),
        (put(PLAIN, 0x48, b"\x55"), "IntegrityCheck"),
        (put(PLAIN, 0x48 + 22, b"\x7f"), "Size"),
        (put(PLAIN, 0x48 + 20, b"\x05\0\0"), "Size"),
        (put(PLAIN, 0x48 + 23, b"\xfe"), "State"),
        (volume(ffs(guid(1), DRIVER, b"", attributes=1), free=0), "ExtendedSize"),
        (put(PLAIN, BODY, b"\x03\0\0"), "Size"),
        (put(PLAIN, BODY, b"\0\0\x7f"), "Size"),
        (holding(b"\xff\xff\xff\x10"), "ExtendedSize"),
        (holding(b"\xff\xff\xff\x10\x07\0\0\0"), "Size"),
        (holding(section(0x01, b"\0")), "CompressionType"),
        (holding(section(0x02, bytes(19))), "is cut short"),
        (holding(section(0x02, LZMA.bytes_le + b"\x17\0\1\0")), "DataOffset"),
        (holding(section(0x02, LZMA.bytes_le + b"\xff\0\1\0")), "DataOffset"),
        (holding(encoded(LZMA, b"]\0\0")), "LZMA header"),
        (holding(encoded(LZMA, b"\xff" * 5 + struct.pack("<Q", 9) + bytes(99))), "LZMA data"),
        (holding(encoded(LZMA, lzma_data(bytes(1 << 20))[:60])), "LZMA data"),
        (claims_to_unpack_to((1 << 20) + 1), "LZMA data"),
        (claims_to_unpack_to((64 << 20) + 1), "LZMA header"),
        (claims_to_unpack_to((1 << 64) - 1), "LZMA header"),
        (holding(section(UI, "x".encode("utf-16-le") * 500 + b"\0\0")), "name"),
        (holding(section(UI, b"")), "name"),
        (holding(section(UI, b"S\0")), "name"),
        (holding(ui("Some\x1b[2JDxe")), "name"),
        (holding(section(UI, b"\0\xd8\0\0")), "name"),
        (holding(section(IMAGE, b"")), "is cut short"),
        (holding(section(IMAGE, put(PLAIN, 40, b"_FVX"))), "Signature"),
        (holding(section(PE32, b"MZ")), "e_magic"),
        (holding(section(PE32, put(pe(), 0, b"ZM"))), "e_magic"),
        (holding(section(PE32, put(pe(), 0x3C, b"\xf0\xff\xff\xff"))), "e_lfanew"),
        (holding(section(PE32, put(pe(), 0x80, b"NE"))), "Signature"),
        (holding(section(PE32, put(pe(), 0x98, b"\7\1"))), "Magic"),
        (holding(section(PE32, pe(entry=0x2000))), "AddressOfEntryPoint"),
        (holding(section(TE, b"VZ")), "Signature"),
        (holding(section(TE, put(te(base=0x1000), 0, b"MZ"))), "Signature"),
        (holding(section(TE, put(te(base=0x1000), 4, b"\xff"))), "NumberOfSections"),
        (holding(section(TE, te(base=0x1000, entry=0x5E0))), "AddressOfEntryPoint"),
        (nested_volumes(40), "nested deeper"),
        (nested_sections(40), "nested deeper"),
        (flash(*[volume()] * 300), "volumes"),
        (volume(*[ffs(guid(1), RAW, b"")] * 5000), "files"),
        (holding(sections(*[section(0x19, b"")] * 40000)), "sections"),
    ],
)
def test_damage_is_an_error_that_names_file_and_field(data: bytes, field: str) -> None:
    with pytest.raises(SproutError) as caught:
        parse_modules(data, "some/code.fd")
    assert caught.value.message.startswith("some/code.fd: ")
    assert field in caught.value.message
    assert "ovmf" in caught.value.hint


def test_sections_that_unpack_to_too_much_together_are_refused() -> None:
    body = encoded(LZMA, lzma_data(section(0x19, bytes(24 << 20), large=True)))
    with pytest.raises(SproutError, match="unpacks to more than"):
        parse_modules(volume(*[ffs(guid(1), 0x02, body)] * 3), "f")


def test_terse_image_linked_below_0_has_no_place() -> None:
    low = volume(
        ffs(guid(1), SEC, section(TE, put(put(te(base=0x1000), 6, bytes(2)), 16, bytes(8))))
    )
    assert parse_modules(low, "f").in_place == ()


def test_file_that_is_missing_or_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "code.fd"
    with pytest.raises(SproutError, match=r"code\.fd: cannot be read"):
        read_modules(path)
    with path.open("wb") as stream:
        stream.truncate(MAX_FIRMWARE_BYTES + 1)
    with pytest.raises(SproutError, match=r"code\.fd: longer"):
        read_modules(path)
