"""Where two builds differ first: every kind of file that is built, and the part of it."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
from pathlib import Path

import pytest
from small_pe import small_pe

from sprout.base.run import check
from sprout.build.difference import compare
from sprout.initramfs.cpio import Entry, write_cpio


def where(tmp_path: Path, one: bytes | None, other: bytes | None) -> str | None:
    """Give where two files differ that stand for the same one in two builds."""
    for side, data in (("first", one), ("second", other)):
        folder = tmp_path / side / "x-kernel"
        folder.mkdir(parents=True, exist_ok=True)
        if data is None:
            (folder / "file").unlink(missing_ok=True)
        else:
            (folder / "file").write_bytes(data)
    (row,) = compare(tmp_path / "first", tmp_path / "second")
    assert row.name == "x-kernel/file"
    return row.where


def test_bytes_and_lines(tmp_path: Path) -> None:
    assert where(tmp_path, b"same", b"same") is None
    assert where(tmp_path, b"a\nb\nc 1\n", b"a\nb\nc 2\n") == "line 3: 'c 1' and 'c 2'"
    assert where(tmp_path, b"\0" * 9, b"\0" * 7) == "9 bytes and 7"
    said = where(tmp_path, bytes(3_000_000), bytes(2_000_001) + b"\1" + bytes(999_998))
    assert said is not None
    assert said.startswith("byte 2,000,001: ")
    assert where(tmp_path, b"x", None) == "is in the first build alone"
    assert where(tmp_path, None, b"x") == "is in the second build alone"


def compiled(tmp_path: Path, text: str) -> bytes:
    (tmp_path / "x.c").write_text(text)
    check(["clang", "-c", "-O1", "-o", tmp_path / "x.o", tmp_path / "x.c"], "x")
    check(["ld", "-e", "f", "-o", tmp_path / "x", tmp_path / "x.o"], "x")
    return (tmp_path / "x").read_bytes()


def test_section_and_symbol_of_a_program(tmp_path: Path) -> None:
    code = "int f(void) {{ return 1; }}\nint g(void) {{ return {}; }}\nconst char s[] = {};\n"
    first = compiled(tmp_path, code.format(1, '"one"'))
    said = where(tmp_path, first, compiled(tmp_path, code.format(2, '"one"')))
    assert said is not None
    assert said.startswith("section .text, symbol g, byte ")
    said = where(tmp_path, first, compiled(tmp_path, code.format(1, '"two"')))
    assert said is not None
    assert said.startswith("section .rodata, symbol s, line 1: ") or "symbol s, byte " in said


def test_file_in_an_archive_and_its_mode(tmp_path: Path) -> None:
    def archive(data: bytes, mode: int = 0o644) -> bytes:
        rows = [Entry("a", stat.S_IFREG | 0o644, b"a"), Entry("b", stat.S_IFREG | mode, data)]
        return write_cpio(rows, epoch=0)

    first = archive(b"1\0")
    said = where(tmp_path, first, archive(b"2\0"))
    assert said == "b in the archive, byte 0: b'1\\x00' and b'2\\x00'"
    said = where(tmp_path, first, archive(b"1\0", 0o600))
    assert said is not None
    assert said.startswith("mode of b, line 1: ")
    packed = [gzip.compress(data, mtime=0) for data in (first, archive(b"2\0"))]
    said = where(tmp_path, *packed)
    assert said is not None
    assert said.startswith("what is compressed, b in the archive, byte 0")
    said = where(tmp_path, packed[0], gzip.compress(first, mtime=5))
    assert said is not None
    assert said.startswith("header of gzip, byte 4")


@pytest.mark.parametrize(("changes", "words"), [({"mtime": 5}, "header of a"), ({}, "a in")])
def test_member_of_a_tar(tmp_path: Path, changes: dict[str, int], words: str) -> None:
    both = []
    for number in range(2):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            row = tarfile.TarInfo("a")
            data = b"x" if changes or number == 0 else b"y"
            row.size = len(data)
            row.mtime = changes.get("mtime", 0) * number
            archive.addfile(row, io.BytesIO(data))
        both.append(out.getvalue())
    said = where(tmp_path, *both)
    assert said is not None
    assert said.startswith(words)


def test_names_that_differ(tmp_path: Path) -> None:
    one = write_cpio([Entry("a", stat.S_IFREG | 0o644)], epoch=0)
    other = write_cpio([Entry("b", stat.S_IFREG | 0o644)], epoch=0)
    said = where(tmp_path, one, other)
    assert said == "in one of the two only: a in the archive, b in the archive, mode of a"


def test_section_of_a_boot_image(tmp_path: Path) -> None:
    sections = {".text": b"\0code", ".data": b"\0one"}
    said = where(tmp_path, small_pe(sections), small_pe(sections | {".data": b"\0two"}))
    assert said is not None
    assert said.startswith("section .data, byte 1: ")


def test_damaged_files_are_compared_as_bytes(tmp_path: Path) -> None:
    for head in (b"\x7fELF", b"070701", b"\x1f\x8b", b"MZ"):
        said = where(tmp_path, head + b"\0" * 90, head + b"\0" * 89 + b"\1")
        assert said is not None
        assert said.startswith(f"byte {len(head) + 89}: ")


def test_order_is_that_of_the_making(tmp_path: Path) -> None:
    names = ["x-oci/index.json", "x-kernel/image", "x-kernel/vmlinux", "log/x", "x-image/x.efi"]
    names += ["stub/stub.efi", "x-kernel/.key.json", "x-initramfs/a"]
    for side in ("first", "second"):
        for name in names:
            path = tmp_path / side / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(side)
    rows = compare(tmp_path / "first", tmp_path / "second")
    assert [row.name for row in rows] == [
        *("x-kernel/vmlinux", "x-kernel/image", "x-initramfs/a"),
        *("stub/stub.efi", "x-image/x.efi", "x-oci/index.json"),
    ]
    assert all(row.where for row in rows)
