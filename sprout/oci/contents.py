"""Where the files of an image layout lie: in a directory, or in a tar archive that nobody unpacks.

Both may be a stranger's. A name leads to a regular file inside, or nowhere.
"""

from __future__ import annotations

import errno
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
# What a pax header may say here: what changes neither the bytes of a member nor its name (pax(1),
# "pax Extended Header Keywords").
_HARMLESS = re.compile(rb"([0-9]{1,5}) (?:[acm]time|[ug]id|[ug]name|comment|LIBARCHIVE\.[a-z]+)=")
_MAX_REST_BYTES = 1 << 20


class Contents(Protocol):
    """The files of one layout, by their names in it, such as `index.json`."""

    def opened(self, name: str) -> io.RawIOBase | None:
        """Give a regular file to read from its beginning, which the caller closes, or None."""


@dataclass(frozen=True)
class Directory:
    """A layout's directory."""

    path: Path

    def opened(self, name: str) -> io.RawIOBase | None:
        """Give a file of it; None where there is none, or a link on the way, or no regular file."""
        *parents, last = name.split("/")
        folder = _open(self.path, os.O_DIRECTORY, None)
        for part in parents:
            if folder is None:
                return None
            folder = _below(folder, part, os.O_DIRECTORY | os.O_NOFOLLOW)
        # What is no regular file might keep who opens it waiting.
        number = None if folder is None else _below(folder, last, os.O_NONBLOCK | os.O_NOFOLLOW)
        if number is None:
            return None
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            return None
        return open(number, "rb", buffering=0)  # noqa: PTH123 - a descriptor, the caller's


def _below(folder: int, name: str, flags: int) -> int | None:
    """Open what is in an open directory, and close the directory."""
    try:
        return _open(Path(name), flags, folder)
    finally:
        os.close(folder)


def _open(path: Path, flags: int, folder: int | None) -> int | None:
    """Give a descriptor; None where there is nothing, a link, or no directory."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            return None
        raise cannot_read(path, error) from error


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
            _check_end(file, offset, where)
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
        elif info.type == tarfile.DIRTYPE and info.size == 0:
            if info.name not in (".", "./"):
                _checked_name(info.name.removesuffix("/"), where)
        else:
            raise malformed(where, f"holds {info.name[:100]!r}, which is no file or directory")
        offset += -(-info.size // _BLOCK) * _BLOCK
    raise malformed(where, f"has more than {_MAX_MEMBERS:,} members")


def _check_end(file: IO[bytes], offset: int, where: str) -> None:
    """Refuse what comes after the end: another reader might go on."""
    file.seek(offset)
    rest = file.read(_MAX_REST_BYTES + 1)
    if any(rest) or len(rest) > _MAX_REST_BYTES:
        raise malformed(where, "goes on after its end")


def _check_extension(file: IO[bytes], size: int, where: str) -> None:
    """Read the records of an extended header, "LENGTH KEYWORD=VALUE\\n" each."""
    data = file.read(size) if size <= _MAX_EXTENSION_BYTES else b""
    at = 0
    while at < size:
        record = _HARMLESS.match(data, at)
        length = int(record[1]) if record else 0
        if not record or data[at + length - 1 : at + length] != b"\n" or length <= len(record[0]):
            raise malformed(where, "says more of a member in an extension than its times and owner")
        at += length
    if at != size:
        raise malformed(where, "says more of a member in an extension than its times and owner")


def _checked_name(name: str, where: str) -> str:
    name = name.removeprefix("./")
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or not name.isprintable():
        raise malformed(where, f"the member {name[:100]!r} leads elsewhere")
    return name


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise cannot_read(path, error) from error
