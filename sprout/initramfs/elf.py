"""What a program of an initramfs needs to start: read from its ELF file.

Layout: System V ABI, gABI chapters 4 (file header), 5 (program header, dynamic linking).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sprout.base.errors import SproutError

_IDENT = b"\x7fELF\x02\x01"  # 64 bits, little-endian
_HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<qQ")
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_STRSZ = 0, 1, 5, 10
_DT_SONAME, _DT_RPATH, _DT_RUNPATH = 14, 15, 29
_MAX_PROGRAM_HEADERS = 64
_MAX_DYNAMIC = 4096
_MAX_NEEDED = 256
_MAX_TEXT = 4096


@dataclass(frozen=True)
class Elf:
    """One file's needs: its loader, its own library name, and those of the libraries it needs.

    `loader` is a path, None for a library and for a static program. `search` is where it wants
    libraries looked for itself (DT_RUNPATH or DT_RPATH), None where it leaves that to the loader.
    """

    loader: str | None
    soname: str | None
    needed: tuple[str, ...]
    search: str | None


def is_elf(data: bytes) -> bool:
    """Tell whether `data` begins like an ELF file that `read_elf` reads."""
    return data.startswith(_IDENT)


def read_elf(data: bytes, where: object) -> Elf:
    """Read what the 64-bit little-endian ELF file `data` needs; `where` names it in errors.

    Raises SproutError when it is no such file, or is damaged.
    """
    if not is_elf(data) or len(data) < _HEADER.size:
        raise _error(where, "is no 64-bit ELF file")
    segments = _segments(data, where)
    loader = None
    values: dict[int, list[int]] = {}
    for kind, offset, _address, size in segments:
        if kind == _PT_INTERP:
            loader = _text(data, offset, offset + size, where)
        elif kind == _PT_DYNAMIC:
            values = _dynamic(data[offset : offset + size], where)
    if not values:
        return Elf(loader, None, (), None)
    strings = _strings(data, segments, values, where)

    def texts(tag: int) -> tuple[str, ...]:
        return tuple(_text(strings, at, len(strings), where) for at in values.get(tag, ()))

    sonames, searches = texts(_DT_SONAME), texts(_DT_RUNPATH) + texts(_DT_RPATH)
    return Elf(
        loader,
        sonames[0] if sonames else None,
        texts(_DT_NEEDED),
        searches[0] if searches else None,
    )


_Segment = tuple[int, int, int, int]


def _segments(data: bytes, where: object) -> list[_Segment]:
    """Give type, offset, address and size in the file of each segment; all lie in the file."""
    _type, _machine, _version, _entry, table, _sections, _flags, _size, row, count, *_ = (
        _HEADER.unpack_from(data)
    )
    if (count and row != _PROGRAM.size) or count > _MAX_PROGRAM_HEADERS:
        raise _error(where, "its program headers are damaged")
    if table + count * row > len(data):
        raise _error(where, "its program headers reach beyond its end")
    found = []
    for at in range(table, table + count * row, row or 1):
        kind, _rights, offset, address, _physical, size, *_ = _PROGRAM.unpack_from(data, at)
        if kind in (_PT_LOAD, _PT_DYNAMIC, _PT_INTERP):
            if offset + size > len(data):
                raise _error(where, "a segment reaches beyond its end")
            found.append((kind, offset, address, size))
    return found


def _dynamic(segment: bytes, where: object) -> dict[int, list[int]]:
    """Give the values of each tag of the dynamic section."""
    values: dict[int, list[int]] = {}
    for number in range(min(len(segment) // _DYNAMIC.size, _MAX_DYNAMIC)):
        tag, value = _DYNAMIC.unpack_from(segment, number * _DYNAMIC.size)
        if tag == _DT_NULL:
            break
        values.setdefault(tag, []).append(value)
    if len(values.get(_DT_NEEDED, ())) > _MAX_NEEDED:
        raise _error(where, f"needs more than {_MAX_NEEDED} libraries")
    return values


def _strings(
    data: bytes, segments: list[_Segment], values: dict[int, list[int]], where: object
) -> bytes:
    if len(values.get(_DT_STRTAB, ())) != 1 or len(values.get(_DT_STRSZ, ())) != 1:
        raise _error(where, "its dynamic section has no table of strings")
    start, size = values[_DT_STRTAB][0], values[_DT_STRSZ][0]
    for kind, offset, address, length in segments:
        if kind == _PT_LOAD and address <= start and start + size <= address + length:
            return data[offset + start - address : offset + start - address + size]
    raise _error(where, "its table of strings is not in the file")


def _text(data: bytes, start: int, end: int, where: object) -> str:
    raw, nul, _rest = data[start : min(end, start + _MAX_TEXT)].partition(b"\0")
    if not nul or not raw or not raw.decode("latin-1").isprintable():
        raise _error(where, "a name in its dynamic section is damaged")
    return raw.decode("latin-1")


def _error(where: object, problem: str) -> SproutError:
    return SproutError(f"{where}: {problem}", "Build or fetch it again.")
