"""Where two files that should be the same differ first: in which part, and where in it.

A part is an ELF or PE section, a file in an archive, or the image on a disk; parts have parts.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.format import pe
from sprout.image.disk import read_disk
from sprout.image.gpt import is_gpt
from sprout.initramfs.cpio import read_cpio

_MAX_FILE_BYTES = 1 << 30
_MAX_DEPTH = 4
# What comes first is what the others are made of.
_ORDER = ("-kernel", "-sdk", "-addons", "-initramfs", "stub", "-image", "-disk", "-oci")
_FIRST_FILES = ("config", "sources.json", "vmlinux")
_Parts = list[tuple[str, bytes]]


@dataclass(frozen=True)
class Compared:
    """One file of two builds: its name, its size in the first, and where the two differ."""

    name: str
    size: int
    where: str | None


def compare(first: Path, second: Path) -> list[Compared]:
    """Compare all files of two directories of built targets, in the order of their making.

    Hidden files and `log` are no output. Raises SproutError when a file cannot be read.
    """
    names = sorted(_names(first) | _names(second), key=_made)
    return [_compared(first / name, second / name, name) for name in names]


def _names(folder: Path) -> set[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {
        str(path)
        for path in found
        if path.parts[0] != "log" and not any(part.startswith(".") for part in path.parts)
    }


def _made(name: str) -> tuple[int, int, str]:
    folder, _, file = name.partition("/")
    place = next((index for index, end in enumerate(_ORDER) if folder.endswith(end)), len(_ORDER))
    rank = _FIRST_FILES.index(file) if file in _FIRST_FILES else len(_FIRST_FILES)
    return place, rank, name


def _compared(one: Path, other: Path, name: str) -> Compared:
    if not one.is_file():
        return Compared(name, other.stat().st_size, "is in the second build alone")
    if not other.is_file():
        return Compared(name, one.stat().st_size, "is in the first build alone")
    data = read_bounded(one, _MAX_FILE_BYTES), read_bounded(other, _MAX_FILE_BYTES)
    same = data[0] == data[1]
    return Compared(name, len(data[0]), None if same else _where(*data, (one, other), 0))


def _where(one: bytes, other: bytes, paths: tuple[Path, Path], depth: int) -> str:
    """Say where two different files differ first."""
    parts = (_parts(one, paths[0]), _parts(other, paths[1])) if depth < _MAX_DEPTH else ([], [])
    labels = [label for label, _ in parts[0]]
    if labels and labels == [label for label, _ in parts[1]]:
        for (label, mine), (_, its) in zip(*parts, strict=True):
            if mine != its:
                return f"{label}, {_where(mine, its, (Path(label), Path(label)), depth + 1)}"
    elif labels:
        odd = sorted(set(labels) ^ {label for label, _ in parts[1]})
        return f"in one of the two only: {', '.join(odd[:3]) or 'another order'}"
    return _byte(one, other)


def _byte(one: bytes, other: bytes) -> str:
    at = _first_difference(one, other)
    if b"\0" not in one and b"\0" not in other:
        line = one.count(b"\n", 0, at) + 1
        shown = [_line(data, at) for data in (one, other)]
        return f"line {line}: {shown[0]!r} and {shown[1]!r}"
    if at >= min(len(one), len(other)):
        return f"{len(one):,} bytes and {len(other):,}"
    return f"byte {at:,}: {one[at : at + 16]!r} and {other[at : at + 16]!r}"


def _line(data: bytes, at: int) -> str:
    begin = max(data.rfind(b"\n", 0, at) + 1, at - 20)
    end = data.find(b"\n", at)
    return data[begin : min(end if end >= 0 else len(data), begin + 60)].decode(errors="replace")


def _first_difference(one: bytes, other: bytes) -> int:
    """Give the offset of the first byte that differs, by halves: Python compares slices fast."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _parts(data: bytes, path: Path) -> _Parts:
    """Give the parts of a file of a kind that is known; none for any other."""
    for begins, split in _KINDS:
        if begins(data):
            try:
                return split(data, path)
            except (SproutError, ELFError, OSError, EOFError, tarfile.TarError, ValueError):
                return []
    return []


def _of_elf(data: bytes, _: Path) -> _Parts:
    found = ELFFile(io.BytesIO(data))
    names: list[tuple[int, str, int]] = []
    for section in found.iter_sections():
        if isinstance(section, SymbolTableSection):
            names += [(row["st_value"], row.name, row["st_size"]) for row in section.iter_symbols()]
    parts: _Parts = []
    for section in found.iter_sections():
        begin, size = section["sh_addr"], section["sh_size"]
        body = section.data() if section["sh_type"] != "SHT_NOBITS" else b""
        inside = sorted(row for row in names if begin and begin <= row[0] < begin + size and row[2])
        at = 0
        for address, symbol, length in inside:
            if address - begin >= at:
                gap = body[at : address - begin]
                parts.append((f"section {section.name}", gap))
                at = min(address - begin + length, size)
                parts.append(
                    (f"section {section.name}, symbol {symbol}", body[address - begin : at])
                )
        parts.append((f"section {section.name}", body[at:]))
    return parts


def _of_pe(data: bytes, path: Path) -> _Parts:
    headers = pe.parse_headers(data, path)
    rows = headers.sections
    return [
        (f"section {row.name}", data[row.raw_offset : row.raw_offset + row.raw_size])
        for row in rows
    ] + [("headers", data[: headers.size_of_headers])]


def _of_cpio(data: bytes, path: Path) -> _Parts:
    parts: _Parts = []
    for entry in read_cpio(data, path):
        parts += [
            (f"{entry.name} in the archive", entry.data),
            (f"mode of {entry.name}", f"{entry.mode:o} {entry.major}:{entry.minor}".encode()),
        ]
    return parts


def _of_gzip(data: bytes, _: Path) -> _Parts:
    with gzip.open(io.BytesIO(data)) as stream:
        return [("what is compressed", stream.read(_MAX_FILE_BYTES)), ("header of gzip", data[:10])]


def _of_tar(data: bytes, _: Path) -> _Parts:
    parts: _Parts = []
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for row in archive:
            stream = archive.extractfile(row) if row.isreg() else None
            parts.append((f"{row.name} in the archive", stream.read() if stream else b""))
            said = f"{row.mode:o} {row.mtime} {row.uid} {row.gid} {row.uname} {row.linkname}"
            parts.append((f"header of {row.name}", said.encode()))
    return parts


def _of_disk(_: bytes, path: Path) -> _Parts:
    return [("the image on the disk", read_disk(path).image)]


_KINDS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes, Path], _Parts]], ...] = (
    (lambda data: data[:4] == b"\x7fELF", _of_elf),
    (lambda data: data[:6] in (b"070701", b"070702"), _of_cpio),
    (lambda data: data[:2] == b"\x1f\x8b", _of_gzip),
    (lambda data: data[257:262] == b"ustar", _of_tar),
    (is_gpt, _of_disk),
    (lambda data: data[:2] == b"MZ", _of_pe),
)
