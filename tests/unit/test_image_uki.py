"""The boot image: its layout, what reading gives back, and what is refused."""

from __future__ import annotations

import hashlib
import random
import struct
from pathlib import Path

import pytest
from sample_pe import SBAT, sample_pe

from sprout.base.errors import SproutError
from sprout.format import levels, pe
from sprout.format.sbat import fill_sbat, parse_sbat
from sprout.image.bzimage import read_setup_header
from sprout.image.reading import ADDON, APPLICATION, KERNEL, UKI, parse_image, read_image
from sprout.image.uki import Section, build_image, lay_out

EPOCH = 1767225600


def sample_kernel(*, setup_version: bytes = b"6.12.1-sample (builder@host) #1 SMP") -> bytes:
    """Make a PE with the setup header of a bzImage; it wants 0x9000 bytes of memory."""
    data = sample_pe(headers_size=0x1000, image_size=0x9000)
    data[0x1F1] = 7
    data[0x1FE:0x200] = b"\x55\xaa"
    data[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", data, 0x206, 0x020F)
    struct.pack_into("<H", data, 0x20E, 0x300)
    struct.pack_into("<I", data, 0x238, 2047)
    data[0x500 : 0x500 + len(setup_version)] = setup_version
    return bytes(data)


def sample_image(folder: Path, **changes: object) -> Path:
    """Write an image of the sample parts, with some of build_image's arguments changed."""
    parts = {"stub": bytes(sample_pe()), "kernel": sample_kernel(), "initramfs": b"070701" * 700}
    arguments: dict[str, object] = {
        "cmdline": "console=ttyS0 quiet",
        "os_release": {"ID": "sprout", "PRETTY_NAME": 'Sprout "zone"'},
        "uname": "6.12.1-sample",
        "sbat": SBAT,
        "epoch": EPOCH,
    }
    for name, data in parts.items():
        (folder / name).write_bytes(data)
        arguments[name] = folder / name
    arguments |= changes
    target = folder / "image.efi"
    build_image(target, **arguments)  # type: ignore[arg-type]
    return target


def test_image_reads_back(tmp_path: Path) -> None:
    image = read_image(sample_image(tmp_path))
    assert image.kind == UKI
    assert image.machine == "x86_64"
    assert image.timestamp == EPOCH
    assert image.cmdline == "console=ttyS0 quiet"
    assert image.os_release == 'ID="sprout"\nPRETTY_NAME="Sprout \\"zone\\""\n'
    assert image.uname == image.kernel_version == "6.12.1-sample"
    assert [row.component for row in image.sbat] == ["sbat", "linux"]
    assert image.generations == {"linux": 1, "sbat": 1}
    assert image.generations_agree
    assert not image.signed
    names = [section.name for section in image.sections]
    assert names == [
        *(".text", ".osrel", ".cmdline", ".uname", ".sbat", ".sbatlvl", ".initrd", ".linux")
    ]
    sections = {section.name: section for section in image.sections}
    assert sections[".linux"].memory_size == 0x9000
    assert sections[".linux"].sha256 == hashlib.sha256(sample_kernel()).hexdigest()
    assert sections[".initrd"].size == 4200
    assert {section.access for section in image.sections[1:]} == {"r--"}


def test_layout_keeps_every_rule(tmp_path: Path) -> None:
    data = sample_image(tmp_path).read_bytes()
    headers = pe.parse_headers(data, "image")
    assert headers.dll_characteristics == pe.NX_COMPAT | pe.DYNAMIC_BASE
    assert len(headers.sections) == 8
    assert all(row.virtual_address % 4096 == 0 for row in headers.sections)
    assert all(row.raw_offset % headers.file_alignment == 0 for row in headers.sections)
    end = max(row.virtual_end for row in headers.sections)
    assert headers.size_of_image == pe.align(end, 4096)
    stored = sum(row.raw_size for row in headers.sections[1:])
    assert headers.initialized_data == stored
    assert headers.sections[0].raw_offset + stored + 0x400 == len(data)
    # The headers had no room for a setup header before them: the bytes had to move, unchanged.
    text = headers.sections[0]
    assert (headers.size_of_headers, text.raw_offset) == (0x600, 0x600)
    assert data[text.raw_offset :][: text.raw_size] == bytes(range(256)) * 4


def test_headers_with_room_stay_where_they_are() -> None:
    stub = bytes(sample_pe(headers_size=0x800))
    image = lay_out(stub, [Section(".cmdline", b"quiet")], epoch=0)
    assert pe.parse_headers(image, "image").size_of_headers == 0x800
    assert image[0x800:0xC00] == stub[0x800:]


def test_qemu_takes_it_for_a_kernel_and_nothing_else_does(tmp_path: Path) -> None:
    data = sample_image(tmp_path).read_bytes()
    (lfanew,) = struct.unpack_from("<I", data, 0x3C)
    assert lfanew == 0x300
    # Linux Documentation/arch/x86/boot.rst: magic, and a protocol that takes a command line.
    assert data[0x202:0x206] == b"HdrS"
    assert struct.unpack_from("<H", data, 0x206) == (0x0206,)
    assert data[0x1F1] == 1
    # QEMU writes the fields of a boot loader, 0x210 to 0x22f; PE readers use nothing before 0x300.
    assert not any(data[0x230:0x300])
    # A BIOS boot loader wants the boot flag as well.
    assert data[0x1FE:0x200] == b"\0\0"
    assert parse_image(data, "image").kind == UKI


def test_checksum_is_the_one_pefile_works_out(tmp_path: Path) -> None:
    import pefile

    image = pefile.PE(data=sample_image(tmp_path).read_bytes())
    assert image.OPTIONAL_HEADER.CheckSum == image.generate_checksum() != 0


def test_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = sample_image(tmp_path / "a").read_bytes()
    assert sample_image(tmp_path / "b").read_bytes() == first
    assert sample_image(tmp_path / "b", epoch=EPOCH + 1).read_bytes() != first


def test_empty_command_line_is_left_out(tmp_path: Path) -> None:
    image = read_image(sample_image(tmp_path, cmdline=""))
    assert image.cmdline is None


def test_image_without_sbat_has_no_table(tmp_path: Path) -> None:
    image = read_image(sample_image(tmp_path, sbat=""))
    assert image.generations is None
    assert image.generations_agree
    assert levels.SECTION not in {section.name for section in image.sections}


@pytest.mark.parametrize(
    "table",
    [{"linux": 1}, {"linux": 2, "sbat": 1}, {"linux": 1, "sbat": 1, "sprout-stub": 1}, {}],
)
def test_table_that_disagrees_with_the_text_is_seen(table: dict[str, int]) -> None:
    sections = [Section(".sbat", SBAT.encode()), Section(levels.SECTION, levels.pack(table))]
    image = parse_image(lay_out(bytes(sample_pe()), sections, epoch=0), "image")
    assert image.generations == table
    assert not image.generations_agree


@pytest.mark.parametrize("table", [b"x", levels.pack({"linux": 1}) + b"\0", bytes(3000)])
def test_malformed_table_is_refused(table: bytes) -> None:
    data = lay_out(bytes(sample_pe()), [Section(levels.SECTION, table)], epoch=0)
    with pytest.raises(SproutError, match=r"image: \.sbatlvl: "):
        parse_image(data, "image")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cmdline": "x" * 2048}, "command line: 2,048 bytes, but"),
        ({"cmdline": "a\nb"}, "command line: holds control characters"),
        ({"uname": "6.12.2"}, "uname: 6.12.2, but"),
        ({"uname": ""}, "uname: ''"),
        ({"sbat": "linux,one,a,b,c,d\n"}, ".sbat row 1"),
        ({"sbat": SBAT + SBAT}, ".sbat: component sbat is there twice"),
        ({"sbat": f"{'x' * 24},1,a,b,c,d\n"}, "does not fit in the table"),
        ({"os_release": {"id": "x"}}, "os-release: 'id'"),
        ({"epoch": 1 << 32}, "TimeDateStamp"),
        ({"kernel": Path("/nonexistent/bzImage")}, "/nonexistent/bzImage: cannot be read"),
    ],
)
def test_unfit_metadata_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(SproutError) as caught:
        sample_image(tmp_path, **changes)
    assert words in caught.value.message
    assert not (tmp_path / "image.efi").exists()


def test_kernel_for_another_machine_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(sample_pe(machine=0xAA64))
    with pytest.raises(SproutError, match="Machine: aarch64, but the stub is for x86_64"):
        sample_image(tmp_path, kernel=other)


def _patched(code: str, offset: int, value: int) -> bytes:
    data = sample_pe()
    struct.pack_into(code, data, offset, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("stub", "field"),
    [
        (b"", "e_magic"),
        (b"MZ", "e_lfanew"),
        (bytes(sample_pe())[:0x80], "optional header"),
        (bytes(sample_pe())[:-1], "SizeOfRawData"),
        (_patched("<H", 0x58, 0x10B), "Magic"),
        (_patched("<H", 0x46, 97), "NumberOfSections"),
        (_patched("<I", 0x58 + 16, 0x3000), "AddressOfEntryPoint"),
        (_patched("<I", 0x58 + 32, 0x1800), "SectionAlignment"),
        (_patched("<I", 0x58 + 32, 0x200), "SectionAlignment"),
        (_patched("<I", 0x58 + 56, 0x2000), "VirtualSize"),
        (_patched("<H", 0x58 + 68, 3), "Subsystem"),
        (_patched("<I", 0x58 + 112 + 4 * 8 + 4, 8), "certificate table"),
        (_patched("<H", 0x56, 0x23), "Characteristics"),
        (bytes(sample_pe(access=pe.MEM_WRITE | pe.MEM_EXECUTE)), "section Characteristics"),
        (bytes(sample_pe()) + bytes(0x200), "bytes follow"),
    ],
)
def test_unfit_stub_is_refused(stub: bytes, field: str) -> None:
    with pytest.raises(SproutError) as caught:
        lay_out(stub, [Section(".cmdline", b"quiet")], epoch=0)
    assert field in caught.value.message


@pytest.mark.parametrize("name", ["", ".toolongx", ".a\n", ".text"])
def test_unfit_section_name_is_refused(name: str) -> None:
    with pytest.raises(SproutError):
        lay_out(bytes(sample_pe()), [Section(name, b"x")], epoch=0)


def test_kernel_addon_and_application_are_told_apart() -> None:
    kernel = parse_image(sample_kernel(), "bzImage")
    assert (kernel.kind, kernel.kernel_version) == (KERNEL, "6.12.1-sample")
    stub = bytes(sample_pe())
    assert parse_image(stub, "stub").kind == APPLICATION
    addon = lay_out(stub, [Section(".cmdline", b"quiet")], epoch=0)
    assert parse_image(addon, "addon").kind == ADDON


def test_kernel_without_efi_stub_is_named() -> None:
    data = bytearray(sample_kernel())
    data[:2] = b"\xea\x05"
    image = parse_image(bytes(data), "bzImage")
    assert image.kind == "Linux kernel without EFI stub"
    assert image.kernel_version == "6.12.1-sample"


def test_kernel_version_outside_the_setup_code_is_refused() -> None:
    endless = sample_kernel(setup_version=b"x" * 0xB00)
    with pytest.raises(SproutError, match="kernel_version"):
        read_setup_header(endless, "bzImage")


def test_names_cannot_drive_a_terminal(tmp_path: Path) -> None:
    data = bytearray(sample_image(tmp_path).read_bytes())
    row = data.index(b".osrel\0\0")
    data[row : row + 8] = b"\x1b[2J\x07\xff\0\0"
    names = [section.name for section in parse_image(bytes(data), "image").sections]
    assert names[1] == "\\x1b[2J\\x07\\xff"


def test_signature_is_seen_and_bounded(tmp_path: Path) -> None:
    data = bytearray(sample_image(tmp_path).read_bytes())
    entry = 0x300 + 24 + 112 + pe.DIRECTORY_SECURITY * 8
    struct.pack_into("<II", data, entry, len(data), 16)
    data += struct.pack("<IHH", 16, 0x0200, 2) + bytes(8)
    assert parse_image(bytes(data), "image").certificates == 1
    for broken in (data[:-1], data.replace(struct.pack("<IHH", 16, 0x200, 2), bytes(8))):
        with pytest.raises(SproutError, match="certificate table"):
            parse_image(bytes(broken), "image")


@pytest.mark.parametrize("kept", [0, 1, 2, 63, 64, 100, 0x158, 0x180, 0x1FF, 0x400, 5000, -1])
def test_truncated_image_is_refused(tmp_path: Path, kept: int) -> None:
    path = sample_image(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SproutError, match=r"image\.efi: "):
        read_image(path)


def test_altered_images_never_give_a_traceback(tmp_path: Path) -> None:
    original = sample_image(tmp_path).read_bytes()
    chance = random.Random(2)  # noqa: S311 - repeatable on purpose
    refused = 0
    for _ in range(600):
        data = bytearray(original)
        # Most of what is read by its value stands in the headers.
        limit = 0x400 if chance.random() < 0.8 else len(data)
        for _ in range(chance.choice((1, 1, 2, 8))):
            data[chance.randrange(limit)] = chance.choice((0, 0x7F, 0xFF, chance.randrange(256)))
        if chance.random() < 0.2:
            del data[chance.randrange(len(data)) :]
        try:
            parse_image(bytes(data), "image")
        except SproutError as error:
            assert error.message.startswith("image: ")
            refused += 1
    assert 100 < refused < 600


def test_altered_stubs_never_give_a_traceback() -> None:
    original = bytes(sample_pe())
    chance = random.Random(3)  # noqa: S311 - repeatable on purpose
    for _ in range(600):
        data = bytearray(original)
        for _ in range(chance.choice((1, 2))):
            data[chance.randrange(0x200)] = chance.choice((0, 0x7F, 0xFF, chance.randrange(256)))
        try:
            lay_out(bytes(data), [Section(".linux", b"kernel")] * 1, epoch=0)
        except SproutError as error:
            assert error.hint


def test_sections_cannot_make_the_reader_hash_for_ever(tmp_path: Path) -> None:
    data = bytearray(sample_image(tmp_path).read_bytes())
    headers = pe.parse_headers(bytes(data), "image")
    for index in range(len(headers.sections)):
        row = headers.section_table_offset + index * pe.SECTION.size
        struct.pack_into("<III", data, row + 8, len(data), 0x1000, len(data))
        struct.pack_into("<I", data, row + 20, 0)
    with pytest.raises(SproutError, match="overlaps"):
        parse_image(bytes(data), "image")


@pytest.mark.parametrize("name", ["", "folder"])
def test_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SproutError):
        read_image(tmp_path / (name or "missing"))


def test_own_sbat_rows_are_filled_in() -> None:
    template = Path(__file__).parents[2] / "signing" / "sbat.csv"
    own = {"stub": "0.1.0", "kernel": "6.12.117"}
    zone = {"sbat": "1", "sprout-stub": "0.1.0", "linux": "6.12.117"}
    for hypervisor, expected in ((None, zone), ("4.17.5", zone | {"xen": "4.17.5"})):
        text = fill_sbat(template, own | {"hypervisor": hypervisor})
        rows = parse_sbat(text, template)
        assert {row.component: row.version for row in rows} == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("linux,1,a,b,{kernel},u\n", "first component"),
        ("sbat,1,a,b,1,u\nlinux,0,a,b,1,u\n", "row 2: the generation"),
        ("sbat,1,a,b,1\n", "5 fields"),
        ("sbat,1,a,b,{missing},u\n", "{missing} is no version"),
        ("sbat,1,a,b,{kernel},u\n", "cannot stand in a CSV field"),
    ],
)
def test_unfit_sbat_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "sbat.csv"
    path.write_text(text)
    with pytest.raises(SproutError) as caught:
        fill_sbat(path, {"kernel": "6.12,117"})
    assert words in caught.value.message
