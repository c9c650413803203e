"""The newc writer and reader."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.initramfs.cpio import Entry, describe, is_cpio, read_cpio, write_cpio

WHERE = Path("some.cpio")
FILE = stat.S_IFREG | 0o644
ENTRIES = [
    Entry("init", stat.S_IFREG | 0o755, b"\x7fELF"),
    Entry("dev", stat.S_IFDIR | 0o755),
    Entry("dev/console", stat.S_IFCHR | 0o600, major=5, minor=1),
    Entry("dev/vda", stat.S_IFBLK | 0o660, major=254, minor=0xF_FFFF),
    Entry("sbin", stat.S_IFDIR | 0o755),
    Entry("sbin/reboot", stat.S_IFLNK | 0o777, b"/init"),
    Entry("etc", stat.S_IFDIR | 0o755),
    Entry("etc/größe", FILE, bytes(range(256))),
    Entry("etc/empty", FILE),
    Entry("run", stat.S_IFDIR | 0o1777),
    Entry("run/pipe", stat.S_IFIFO | 0o600),
]


def entry_at(data: bytes, name: bytes) -> int:
    """The offset of the header of the entry called `name`."""
    return data.index(name + b"\0") - 110


def patched(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


def refused(data: bytes) -> str:
    with pytest.raises(SproutError) as caught:
        read_cpio(data, WHERE)
    assert caught.value.message.startswith("some.cpio: offset ")
    assert caught.value.hint
    return caught.value.message


def test_the_same_list_gives_the_same_bytes_in_any_order() -> None:
    expected = write_cpio(ENTRIES, epoch=1_700_000_000)
    chance = random.Random(1)  # noqa: S311 - the same every time
    before = os.umask(0o077)
    try:
        for _ in range(10):
            shuffled = chance.sample(ENTRIES, len(ENTRIES))
            assert write_cpio(shuffled, epoch=1_700_000_000) == expected
    finally:
        os.umask(before)


def test_one_file_has_the_bytes_that_the_format_describes() -> None:
    data = write_cpio([Entry("a", FILE, b"hi")], epoch=0x65000000)
    fields = "00000001 000081A4 00000000 00000000 00000001 65000000 00000002 "
    fields += "00000000 00000000 00000000 00000000 00000002 00000000"
    expected = b"070701" + fields.replace(" ", "").encode() + b"a\0" + b"hi\0\0"
    assert data[: len(expected)] == expected
    trailer = data[len(expected) :]
    assert trailer == b"070701" + b"0" * 32 + b"00000001" + b"0" * 48 + b"0000000B" + b"0" * 8 + (
        b"TRAILER!!!\0" + b"\0" * 3
    )


def test_reading_gives_back_what_was_written_sorted() -> None:
    read = read_cpio(write_cpio(ENTRIES, epoch=7), WHERE)
    assert read == sorted(ENTRIES, key=lambda entry: entry.name.split("/"))


def test_parents_stand_before_children_even_when_they_sort_after() -> None:
    names = [entry.name for entry in read_cpio(write_cpio(
        [Entry("a-b", FILE), Entry("a/c", FILE), Entry("a", stat.S_IFDIR | 0o700)], epoch=0
    ), WHERE)]  # fmt: skip
    assert names == ["a", "a/c", "a-b"]


def test_missing_parents_are_added() -> None:
    read = read_cpio(write_cpio([Entry("a/b/c", FILE)], epoch=0), WHERE)
    assert [(entry.name, entry.mode) for entry in read] == [
        ("a", stat.S_IFDIR | 0o755),
        ("a/b", stat.S_IFDIR | 0o755),
        ("a/b/c", FILE),
    ]


def test_everything_is_aligned() -> None:
    for size in range(9):
        data = write_cpio([Entry("x" * (size + 1), FILE, b"y" * size)], epoch=0)
        assert len(data) % 4 == 0
        assert entry_at(data, b"TRAILER!!!") % 4 == 0


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (Entry("", FILE), "leading slash"),
        (Entry("/init", FILE), "leading slash"),
        (Entry("a/../b", FILE), "'..'"),
        (Entry("a//b", FILE), "empty"),
        (Entry("a/", FILE), "empty"),
        (Entry("./a", FILE), "'.'"),
        (Entry("a\0b", FILE), "cannot be printed"),
        (Entry("a\x1bb", FILE), "cannot be printed"),
        (Entry("\ud800", FILE), "cannot be printed"),
        (Entry("a" * 4096, FILE), "4095 bytes"),
        (Entry("TRAILER!!!", FILE), "ends an archive"),
        (Entry("a", 0o644), "file type"),
        (Entry("a", FILE | 1 << 20), "file type"),
        (Entry("a", stat.S_IFDIR | 0o755, b"x"), "neither a file nor a link"),
        (Entry("a", stat.S_IFLNK | 0o777), "target"),
        (Entry("a", stat.S_IFLNK | 0o777, b"x\0y"), "target"),
        (Entry("a", stat.S_IFLNK | 0o777, b"x" * 4096), "target"),
        (Entry("a", stat.S_IFCHR | 0o600, major=4096), "device number"),
        (Entry("a", stat.S_IFCHR | 0o600, minor=-1), "device number"),
        (Entry("a", FILE, major=1), "device number"),
    ],
)
def test_the_writer_refuses(entry: Entry, problem: str) -> None:
    with pytest.raises(SproutError, match=problem) as caught:
        write_cpio([entry], epoch=0)
    assert repr(entry.name) in caught.value.message


def test_the_writer_refuses_conflicts() -> None:
    with pytest.raises(SproutError, match="twice"):
        write_cpio([Entry("a", FILE), Entry("a", FILE, b"x")], epoch=0)
    with pytest.raises(SproutError, match="parent a is no directory"):
        write_cpio([Entry("a", FILE), Entry("a/b", FILE)], epoch=0)
    with pytest.raises(SproutError, match="32 bits"):
        write_cpio([], epoch=1 << 32)


def test_archives_may_follow_each_other_with_zeros_between() -> None:
    first, second = (write_cpio([Entry(name, FILE)], epoch=0) for name in "ab")
    data = bytes(512) + first + bytes(400) + second + bytes(13)
    assert [entry.name for entry in read_cpio(data, WHERE)] == ["a", "b"]


def test_an_archive_at_an_odd_offset_is_refused() -> None:
    archive = write_cpio([], epoch=0)
    assert "multiple of 4" in refused(archive + b"\0" + archive)


@pytest.mark.parametrize("data", [b"", bytes(100)])
def test_nothing_is_no_archive(data: bytes) -> None:
    assert "no cpio archive" in refused(data)


@pytest.mark.parametrize(
    ("magic", "name"),
    [
        (b"\x1f\x8b", "gzip"),
        (b"BZh9", "bzip2"),
        (b"\x5d\x00\x00\x80", "lzma"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\x89LZO\x00", "lzo"),
        (b"\x02\x21\x4c\x18", "lz4"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
    ],
)
def test_compressed_archives_are_named(magic: bytes, name: str) -> None:
    early = write_cpio([Entry("kernel/x86/microcode/GenuineIntel.bin", FILE)], epoch=0)
    for data in (magic + bytes(50), early + magic + bytes(50)):
        with pytest.raises(SproutError, match=f"compressed with {name}") as caught:
            read_cpio(data, WHERE)
        assert name in caught.value.hint


def test_damage_is_named_with_its_offset() -> None:
    data = write_cpio(ENTRIES, epoch=0)
    file = entry_at(data, "etc/größe".encode())
    assert f"offset {file}: no cpio magic" in refused(patched(data, file, b"070707"))
    assert "not hexadecimal" in refused(patched(data, file + 6, b"0000000g"))
    assert "not hexadecimal" in refused(patched(data, file + 6, b"+0000001"))
    assert "reach beyond the end" in refused(patched(data, file + 54, b"FFFFFFFF"))
    assert "a name of 4,294,967,295 bytes" in refused(patched(data, file + 94, b"FFFFFFFF"))
    assert "a name of 0 bytes" in refused(patched(data, file + 94, b"00000000"))
    assert "one NUL" in refused(patched(data, file + 94, b"0000000A"))
    assert "no known file type" in refused(patched(data, file + 14, b"00000000"))
    console = entry_at(data, b"dev/console")
    assert "neither a file nor a link" in refused(patched(data, console + 54, b"00000004"))
    link = entry_at(data, b"sbin/reboot")
    assert "a link target of 0 bytes" in refused(patched(data, link + 54, b"00000000"))


def test_a_missing_trailer_is_damage() -> None:
    data = write_cpio(ENTRIES, epoch=0)
    assert "without its trailer" in refused(data[: entry_at(data, b"TRAILER!!!")])


def test_every_truncation_is_refused() -> None:
    data = write_cpio(ENTRIES[:7], epoch=0)
    for size in range(len(data)):
        refused(data[:size])


def test_no_altered_byte_brings_anything_but_an_error_or_entries() -> None:
    data = write_cpio(ENTRIES[:7], epoch=0)
    chance = random.Random(2)  # noqa: S311 - the same every time
    for offset in range(len(data)):
        try:
            entries = read_cpio(patched(data, offset, bytes([chance.randrange(256)])), WHERE)
        except SproutError:
            continue
        describe(entries)


def test_checksums_of_the_other_format_are_checked() -> None:
    plain = write_cpio([Entry("a", FILE, b"hi")], epoch=0)
    summed = plain.replace(b"070701", b"070702", 1)
    assert "checksum" in refused(summed)
    right = patched(summed, 102, b"%08X" % sum(b"hi"))
    assert read_cpio(right, WHERE) == [Entry("a", FILE, b"hi")]


def test_descriptions_are_safe_on_a_terminal() -> None:
    data = write_cpio([Entry("aXb", FILE), Entry("l", stat.S_IFLNK | 0o777, b"t\x1b")], epoch=0)
    lines = describe(read_cpio(data.replace(b"aXb", b"a\x1bb"), WHERE))
    assert lines == ["-rw-r--r--            0 a\\x1bb", "lrwxrwxrwx            2 l -> t\\x1b"]
    assert describe([ENTRIES[2]]) == ["crw-------         5, 1 dev/console"]


def test_archives_are_recognised() -> None:
    assert is_cpio(write_cpio([], epoch=0))
    assert not is_cpio(b"")
    assert not is_cpio(b"MZ" + bytes(100))
