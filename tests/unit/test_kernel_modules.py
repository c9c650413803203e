"""The archive of a kernel's modules: in order, the same each time, and bounded when read."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.kernel.compiled import pack_modules
from sprout.kernel.modules import read_modules, write_modules

MODULES = {"a": b"1", "b": b"22", "c": b"", "z": b"4" * 1000}
NEEDS = {"a": ["z"], "b": [], "c": ["a", "b"], "z": []}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "modules.tar"
    write_modules(path, MODULES, NEEDS, epoch=1)
    return path


def made_of(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_modules_come_after_what_they_need(archive: Path) -> None:
    modules = read_modules(archive)
    assert modules == MODULES
    assert list(modules) == ["z", "a", "b", "c"]


def test_chosen_modules_bring_what_they_need(archive: Path) -> None:
    assert list(read_modules(archive, ["a"])) == ["z", "a"]
    assert list(read_modules(archive, ["c"])) == ["z", "a", "b", "c"]
    assert list(read_modules(archive, ["b"])) == ["b"]
    assert read_modules(archive, []) == {}


def test_module_that_is_not_there(archive: Path) -> None:
    with pytest.raises(SproutError, match="has no module snd_pcm") as caught:
        read_modules(archive, ["snd-pcm"])
    assert "a, b, c, z" in caught.value.hint


def test_same_modules_same_bytes(archive: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.tar"
    write_modules(again, dict(reversed(MODULES.items())), NEEDS, epoch=1)
    assert again.read_bytes() == archive.read_bytes()


def test_kernel_without_modules(tmp_path: Path) -> None:
    path = tmp_path / "modules.tar"
    pack_modules(tmp_path, path, epoch=1)
    assert read_modules(path) == {}


def test_need_that_was_not_built(tmp_path: Path) -> None:
    with pytest.raises(SproutError, match="no module gone was built"):
        write_modules(tmp_path / "x.tar", {"a": b""}, {"a": ["gone"]}, epoch=1)
    with pytest.raises(SproutError, match="needs itself"):
        write_modules(tmp_path / "x.tar", {"a": b""}, {"a": ["a"]}, epoch=1)


@pytest.mark.parametrize(
    ("listed", "problem"),
    [
        (b"a.ko: b.ko\nb.ko:\n", "needs a module that comes later"),
        (b"a.ko:\na.ko:\n", "modules.dep:2 is no line"),
        (b"../a.ko:\n", "modules.dep:1 is no line"),
        (b"a.ko\n", "modules.dep:1 is no line"),
        (b"\xff\xfe", "modules.dep:1 is no line"),
        (b"a.ko:\nb.ko: a.ko\n", "lacks b.ko"),
        (b"", "holds more"),
    ],
)
def test_list_that_is_wrong(tmp_path: Path, listed: bytes, problem: str) -> None:
    path = made_of(tmp_path / "x.tar", ("modules.dep", listed), ("a.ko", b""))
    with pytest.raises(SproutError) as caught:
        read_modules(path)
    assert "x.tar: is no archive of modules" in caught.value.message
    assert problem in caught.value.message


def test_members_that_are_no_files(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("modules.dep")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(SproutError, match=r"lacks modules\.dep"):
        read_modules(path)


def test_archive_that_is_damaged(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    path = tmp_path / "x.tar"
    for data in (b"", b"\0" * 512, b"x" * 2000, whole[:600], whole[:700], whole[:1600]):
        path.write_bytes(data)
        with pytest.raises(SproutError, match=r"x\.tar: is no archive of modules"):
            read_modules(path)
    with pytest.raises(SproutError, match="cannot be read"):
        read_modules(tmp_path / "missing.tar")
