"""GNU cpio reads what the writer wrote, and the reader reads what GNU cpio wrote."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sprout.base.run import check
from sprout.initramfs.cpio import Entry, read_cpio, write_cpio

_EPOCH = 1_700_000_000
_HINT = "cpio reads the archive."
_FILES = [
    Entry("bin", stat.S_IFDIR | 0o755),
    Entry("bin/tool", stat.S_IFREG | 0o750, b"\0\x01" * 1001),
    Entry("empty", stat.S_IFREG | 0o644),
    Entry("link", stat.S_IFLNK | 0o777, b"bin/tool"),
    Entry("private", stat.S_IFDIR | 0o700),
]
_NODES = [
    Entry("dev/console", stat.S_IFCHR | 0o600, major=5, minor=1),
    Entry("dev/vda", stat.S_IFBLK | 0o660, major=254, minor=16),
]


def test_cpio_lists_every_file() -> None:
    listing = check(["cpio", "-tv"], _HINT, data=write_cpio(_FILES + _NODES, epoch=_EPOCH))
    lines = [line.partition(" -> ")[0] for line in listing.decode().splitlines()]
    words = {line.split()[-1]: line.split() for line in lines}
    assert words["dev/console"][:6] == ["crw-------", "1", "root", "root", "5,", "1"]
    assert words["dev/vda"][0] == "brw-rw----"
    assert words["dev"][:2] == ["drwxr-xr-x", "2"]
    assert words["bin/tool"][4] == "2002"
    assert "link -> bin/tool" in listing.decode()


def test_cpio_unpacks_every_file(tmp_path: Path) -> None:
    archive = write_cpio(_FILES, epoch=_EPOCH)
    check(["cpio", "-idm", "--no-absolute-filenames"], _HINT, cwd=tmp_path, data=archive)
    for entry in _FILES:
        path = tmp_path / entry.name
        status = path.lstat()
        assert status.st_mode == entry.mode
        assert not stat.S_ISREG(status.st_mode) or status.st_mtime == _EPOCH
        if stat.S_ISREG(status.st_mode):
            assert path.read_bytes() == entry.data
    assert os.readlink(tmp_path / "link") == "bin/tool"  # noqa: PTH115 - not resolved


@pytest.mark.parametrize("kind", ["newc", "crc"])
def test_archives_of_cpio_are_read(tmp_path: Path, kind: str) -> None:
    for entry in _FILES:
        path = tmp_path / entry.name
        if stat.S_ISDIR(entry.mode):
            path.mkdir()
        elif stat.S_ISLNK(entry.mode):
            path.symlink_to(entry.data.decode())
            continue
        else:
            path.write_bytes(entry.data)
        path.chmod(stat.S_IMODE(entry.mode))
    names = "".join(f"{entry.name}\n" for entry in _FILES).encode()
    archive = check(["cpio", "-o", "-H", kind], _HINT, cwd=tmp_path, data=names)
    assert read_cpio(archive, Path("made by cpio")) == _FILES
