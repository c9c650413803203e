"""The initramfs archive: cpio in the `newc` format, written reproducibly and read strictly.

The format and what the kernel makes of it: kernel
Documentation/driver-api/early-userspace/buffer-format.rst and init/initramfs.c.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError

_MAGIC = b"070701"
_MAGIC_SUMMED = b"070702"
_HEADER_BYTES = 110
_FIELD = re.compile(rb"[0-9A-Fa-f]{104}")
_TRAILER = "TRAILER!!!"
_MAX_32 = 0xFFFF_FFFF
_MAX_PATH = 4096  # PATH_MAX with its NUL; the kernel drops longer names and targets silently
_PARENT_MODE = stat.S_IFDIR | 0o755
_TYPES = frozenset(
    (
        stat.S_IFREG,
        stat.S_IFDIR,
        stat.S_IFLNK,
        stat.S_IFCHR,
        stat.S_IFBLK,
        stat.S_IFIFO,
        stat.S_IFSOCK,
    )
)
_COMPRESSIONS = (  # kernel lib/decompress.c
    (b"\x1f\x8b", "gzip"),
    (b"\x1f\x9e", "gzip"),
    (b"BZh", "bzip2"),
    (b"\x5d\x00\x00", "lzma"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x89LZO", "lzo"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)


@dataclass(frozen=True)
class Entry:
    """One file of an archive.

    `name` is its path without a leading slash, `mode` the file type and permissions as stat(2)
    gives them, `data` a regular file's bytes or a symbolic link's target, `major` and `minor` a
    device node's number. Owner and group are always 0.
    """

    name: str
    mode: int
    data: bytes = b""
    major: int = 0
    minor: int = 0


def is_cpio(data: bytes) -> bool:
    """Tell whether `data` begins like an archive that `read_cpio` reads."""
    return data[:6] in (_MAGIC, _MAGIC_SUMMED)


def name_problem(name: str) -> str | None:
    """Say what keeps `name` from being a path in an archive, or None when nothing does."""
    if not name or name.startswith("/"):
        return "is not a path without a leading slash"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "has an empty, '.' or '..' part"
    if not name.isprintable():
        return "has a character that cannot be printed"
    if len(name.encode()) >= _MAX_PATH:
        return f"is longer than {_MAX_PATH - 1} bytes"
    if name == _TRAILER:
        return "is the name that ends an archive"
    return None


def write_cpio(entries: Iterable[Entry], *, epoch: int) -> bytes:
    """Give the archive of `entries`: the same bytes whatever their order.

    `epoch` (seconds, SOURCE_DATE_EPOCH) is every file's time. Files are sorted, parents before
    children; missing parents are added with mode 0755. Raises SproutError when an entry cannot be
    in an archive, or when two have one name.
    """
    if not 0 <= epoch <= _MAX_32:
        raise SproutError(
            f"initramfs: time {epoch} does not fit 32 bits", "Set SOURCE_DATE_EPOCH to seconds."
        )
    archive = bytearray()
    for number, entry in enumerate(_complete(entries), start=1):
        _check(entry)
        _append(archive, entry, number, epoch)
    _append(archive, Entry(_TRAILER, 0), 0, 0)
    return bytes(archive)


def _complete(entries: Iterable[Entry]) -> list[Entry]:
    """Give the entries sorted, with their missing parents."""
    named: dict[str, Entry] = {}
    for entry in entries:
        if problem := name_problem(entry.name):
            raise _refused(entry, f"its name {problem}")
        if entry.name in named:
            raise _refused(entry, "is there twice")
        named[entry.name] = entry
    for entry in list(named.values()):
        parts = entry.name.split("/")
        for end in range(1, len(parts)):
            name = "/".join(parts[:end])
            parent = named.setdefault(name, Entry(name, _PARENT_MODE))
            if not stat.S_ISDIR(parent.mode):
                raise _refused(entry, f"its parent {name} is no directory")
    return sorted(named.values(), key=lambda entry: entry.name.split("/"))


def _check(entry: Entry) -> None:
    kind = stat.S_IFMT(entry.mode)
    if kind not in _TYPES or entry.mode > 0xFFFF:
        raise _refused(entry, f"mode {entry.mode:o} has no known file type")
    if entry.data and kind not in (stat.S_IFREG, stat.S_IFLNK):
        raise _refused(entry, "has data but is neither a file nor a link")
    if len(entry.data) > _MAX_32:
        raise _refused(entry, "is longer than 4 GiB")
    if kind == stat.S_IFLNK and (b"\0" in entry.data or not 0 < len(entry.data) < _MAX_PATH):
        raise _refused(entry, "its target is empty, too long or has a NUL")
    is_device = kind in (stat.S_IFCHR, stat.S_IFBLK)
    limits = (
        ((entry.major, 0xFFF), (entry.minor, 0xF_FFFF))
        if is_device
        else (
            (entry.major, 0),
            (entry.minor, 0),
        )
    )
    if any(not 0 <= number <= limit for number, limit in limits):
        raise _refused(entry, f"cannot have the device number {entry.major}:{entry.minor}")


def _refused(entry: Entry, problem: str) -> SproutError:
    return SproutError(
        f"initramfs: {entry.name!r}: {problem}", "Mend this entry in the list of files."
    )


def _append(archive: bytearray, entry: Entry, number: int, epoch: int) -> None:
    name = entry.name.encode() + b"\0"
    fields = (
        number,
        entry.mode,
        0,  # uid
        0,  # gid
        2 if stat.S_ISDIR(entry.mode) else 1,
        epoch,
        len(entry.data),
        0,  # the archive's own device
        0,
        entry.major,
        entry.minor,
        len(name),
        0,  # no checksum in this format
    )
    archive += _MAGIC + b"".join(b"%08X" % field for field in fields)
    archive += name
    _align(archive)
    archive += entry.data
    _align(archive)


def _align(archive: bytearray) -> None:
    archive += bytes(-len(archive) % 4)


def describe(entries: Iterable[Entry]) -> list[str]:
    """Give a line for every entry, as `ls -l` would: mode, size or device number, name, target."""
    lines = []
    for entry in entries:
        size = f"{len(entry.data):,}"
        if stat.S_ISCHR(entry.mode) or stat.S_ISBLK(entry.mode):
            size = f"{entry.major}, {entry.minor}"
        line = f"{stat.filemode(entry.mode)} {size:>12} {entry.name}"
        if stat.S_ISLNK(entry.mode):
            line += f" -> {_printable(entry.data)}"
        lines.append(line)
    return lines


def _printable(raw: bytes) -> str:
    """Give text that is safe on a terminal, whatever the bytes are."""
    text = raw.decode(errors="backslashreplace")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def read_cpio(data: bytes, where: Path) -> list[Entry]:
    """Read every file of an uncompressed initramfs; `where` names it in errors.

    As in the kernel, several archives may follow each other with zero bytes between them. Names
    are given as they are in the archive, with bytes that cannot be printed escaped; they may be
    absolute or repeat. Raises SproutError naming the offset when anything is not as the format
    wants it, and when an archive is compressed.
    """
    entries: list[Entry] = []
    offset = _skip_zeros(data, 0)
    if offset == len(data):
        raise _broken(where, 0, "no cpio archive")
    while offset < len(data):
        for entry, end in _archive(data, offset, where):
            offset = end
            if entry is not None:
                entries.append(entry)
        offset = _skip_zeros(data, offset)
    return entries


_ZEROS = re.compile(rb"\0*")


def _skip_zeros(data: bytes, offset: int) -> int:
    match = _ZEROS.match(data, offset)
    return match.end() if match else offset


def _archive(data: bytes, offset: int, where: Path) -> Iterator[tuple[Entry | None, int]]:
    """Give an archive's entries with the offset after each; None is its trailer."""
    if not is_cpio(data[offset : offset + 6]):
        _refuse_compressed(data, offset, where)
    elif offset % 4:
        raise _broken(where, offset, "the archive does not begin at a multiple of 4")
    while True:
        entry, offset = _entry(data, offset, where)
        if entry.name == _TRAILER:
            if entry.data:
                raise _broken(where, offset, "the trailer has data")
            yield None, offset
            return
        yield entry, offset


def _refuse_compressed(data: bytes, offset: int, where: Path) -> None:
    for magic, name in _COMPRESSIONS:
        if data.startswith(magic, offset):
            raise SproutError(
                f"{where}: offset {offset}: the archive is compressed with {name}",
                f"Unpack it with {name} first; only uncompressed archives are read.",
            )


def _entry(data: bytes, offset: int, where: Path) -> tuple[Entry, int]:
    """Read the entry at `offset`; give it with the offset of the next."""
    header = data[offset : offset + _HEADER_BYTES]
    if not header:
        raise _broken(where, offset, "the archive ends without its trailer")
    if not is_cpio(header):
        raise _broken(where, offset, "no cpio magic")
    if len(header) < _HEADER_BYTES:
        raise _broken(where, offset, "the header is cut off")
    if not _FIELD.fullmatch(header, 6):
        raise _broken(where, offset, "the header has a field that is not hexadecimal")
    fields = [int(header[at : at + 8], 16) for at in range(6, _HEADER_BYTES, 8)]
    mode, size, name_size, checksum = fields[1], fields[6], fields[11], fields[12]
    name = _name(data, offset, name_size, where)
    start = _aligned(offset + _HEADER_BYTES + name_size)
    if start + size > len(data):
        raise _broken(where, offset, f"{name}: {size:,} bytes of data reach beyond the end")
    entry = Entry(name, mode, data[start : start + size], fields[9], fields[10])
    if name != _TRAILER:
        _check_read(entry, offset, where)
    summed = header.startswith(_MAGIC_SUMMED) and stat.S_ISREG(mode)  # as the kernel does
    if summed and checksum != sum(entry.data) & _MAX_32:
        raise _broken(where, offset, f"{name}: its checksum does not match its data")
    end = _aligned(start + size)
    if end > len(data):
        raise _broken(where, offset, f"{name}: the padding is cut off")
    return entry, end


def _aligned(offset: int) -> int:
    return (offset + 3) & ~3


def _name(data: bytes, offset: int, size: int, where: Path) -> str:
    start = offset + _HEADER_BYTES
    if not 1 < size <= _MAX_PATH:
        raise _broken(where, offset, f"a name of {size:,} bytes")
    raw = data[start : start + size]
    if len(raw) < size:
        raise _broken(where, offset, "the name reaches beyond the end")
    if raw.find(b"\0") != size - 1:
        raise _broken(where, offset, "the name does not end with its one NUL")
    return _printable(raw[:-1])


def _check_read(entry: Entry, offset: int, where: Path) -> None:
    kind = stat.S_IFMT(entry.mode)
    if kind not in _TYPES or entry.mode > 0xFFFF:
        raise _broken(where, offset, f"{entry.name}: mode {entry.mode:o} has no known file type")
    if entry.data and kind not in (stat.S_IFREG, stat.S_IFLNK):
        raise _broken(where, offset, f"{entry.name}: has data but is neither a file nor a link")
    if kind == stat.S_IFLNK and not 0 < len(entry.data) < _MAX_PATH:
        raise _broken(where, offset, f"{entry.name}: a link target of {len(entry.data):,} bytes")


def _broken(where: Path, offset: int, problem: str) -> SproutError:
    return SproutError(
        f"{where}: offset {offset}: {problem}",
        "The initramfs is damaged or is none; build or fetch it again.",
    )
