"""Where the files of an image layout lie: in a directory, or in a tar archive that nobody unpacks.

Both may be a stranger's. A name leads to a regular file inside, or nowhere.
"""

from __future__ import annotations

import io
import os
import re
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from sprout.base.files import cannot_read
from sprout.oci.refused import malformed

if TYPE_CHECKING:
    from typing_extensions import Buffer

_BLOCK = 512
_MAX_MEMBERS = 8192
_MAX_EXTENSION_BYTES = 64 << 10
# What a pax header may say without changing which bytes a member is (pax(1), "pax Extended Header
# Keywords"): everything but these.
_DECISIVE = re.compile(rb"^[0-9]+ (?:path|linkpath|size|GNU\.sparse[^=]*)=", re.MULTILINE)


class Contents(Protocol):
    """The files of one layout, by their names in it, such as `index.json`."""

    def opened(self, name: str) -> io.RawIOBase | None:
        """Give a regular file to read from its beginning, which the caller closes, or None."""


@dataclass(frozen=True)
class Directory:
    """A layout's directory."""

    path: Path

    def opened(self, name: str) -> io.RawIOBase | None:
        """Give a file of it; None where there is none, or a link, or no regular file."""
        try:
            number = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if (self.path / name).is_symlink():
                return None
            raise cannot_read(self.path / name, error) from error
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            return None
        return open(number, "rb", buffering=0)  # noqa: PTH123 - a descriptor, the caller's


@dataclass(frozen=True)
class Tar:
    """An archive, and where in it the bytes of each regular file are: offset and size."""

    path: Path
    members: dict[str, tuple[int, int]]

    def opened(self, name: str) -> io.RawIOBase | None:
        """Give a file of it, or None where there is none."""
        if name not in self.members:
            return None
        try:
            return _Window(self.path, *self.members[name])
        except OSError as error:
            raise cannot_read(self.path, error) from error


class _Window(io.RawIOBase):
    """Some bytes of a file, as a file."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._offset = offset
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        count = os.preadv(self._file, [memoryview(buffer)[: self._left]], self._offset)
        self._offset += count
        self._left -= count
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._file)
        super().close()


def is_tar(path: Path) -> bool:
    """Tell whether a file looks like a tar archive (POSIX.1-1988 and later) that is not compressed.

    One that is compressed is nobody's here: what it grows to could only be learnt by growing it.
    """
    with _reading(path) as file:
        return file.read(_BLOCK)[257:262] == b"ustar"


def open_tar(path: Path) -> Tar:
    """Read the headers of an archive; nothing of it is unpacked.

    A link, a device, a name twice or one that leads elsewhere refuses the whole archive: another
    reader might see other files in it. Raises RefusedError.
    """
    members: dict[str, tuple[int, int]] = {}
    with _reading(path) as file:
        for name, offset, size in _members(file, str(path)):
            if name in members:
                raise malformed(str(path), f"holds {name[:100]} twice")
            members[name] = (offset, size)
    return Tar(path, members)


def _members(file: IO[bytes], where: str) -> Iterator[tuple[str, int, int]]:
    """Give the name, offset and size of each regular file; raises RefusedError."""
    end, offset = os.fstat(file.fileno()).st_size, 0
    for _ in range(_MAX_MEMBERS):
        file.seek(offset)
        block = file.read(_BLOCK)
        if not any(block):
            return
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError, ValueError) as error:
            raise malformed(where, f"has no tar header at byte {offset:,}: {error}") from error
        offset += _BLOCK
        if not 0 <= info.size <= end - offset:
            raise malformed(where, f"ends within {info.name[:100]!r}")
        if info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE):
            _check_extension(file, info.size, where)
        elif info.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
            yield _checked_name(info.name, where), offset, info.size
        elif info.type == tarfile.DIRTYPE:
            _checked_name(info.name.rstrip("/") or ".", where)
        else:
            raise malformed(where, f"holds {info.name[:100]!r}, which is no file or directory")
        offset += -(-info.size // _BLOCK) * _BLOCK
    raise malformed(where, f"has more than {_MAX_MEMBERS:,} members")


def _check_extension(file: IO[bytes], size: int, where: str) -> None:
    if size > _MAX_EXTENSION_BYTES or _DECISIVE.search(file.read(size)):
        raise malformed(where, "names or sizes a member in an extension of the format")


def _checked_name(name: str, where: str) -> str:
    name = name.removeprefix("./")
    if name.startswith("/") or ".." in name.split("/") or not name.isprintable():
        raise malformed(where, f"the member {name[:100]!r} leads elsewhere")
    return name


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise cannot_read(path, error) from error
