"""Walks firmware volumes down to the programs in them: volumes, files, sections, compression.

Layouts and names are those of the UEFI Platform Initialization specification, volume 3, chapter 3
("Firmware Storage Code Definitions": firmware volumes, firmware files, firmware file sections); all
numbers are little-endian. Whatever a file says, reading it is bounded: in depth, in the number of
files and sections, and in the bytes that come out of compressed sections.
"""

from __future__ import annotations

import lzma
import struct
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

from sprout.base.errors import SproutError

PE32, TE, RAW = "PE32", "TE", "RAW"

# EFI_FV_FILETYPE
SECURITY_CORE, PEI_CORE, PEIM, COMBINED_PEIM_DRIVER = 0x03, 0x04, 0x06, 0x08

MAX_UNPACKED_BYTES = 64 << 20
_LZMA_MEMORY = 128 << 20
_MAX_DEPTH = 16
_MAX_VOLUMES = 256
_MAX_FILES = 4096
_MAX_SECTIONS = 32768
_MAX_NAME = 128

_SIGNATURE = b"_FVH"
_SIGNATURE_OFFSET = 40
_VOLUME = struct.Struct("<16s16sQ4sIHHHBB")
_VOLUME_ALIGNMENT = 16
_ERASE_POLARITY = 0x800
_FFS2 = uuid.UUID("8c8ce578-8a3d-4f1c-9935-896185c32dd3")
_FFS3 = uuid.UUID("5473c07a-3dcb-4dca-bd6f-1e9689e7349a")
_EXTENDED_HEADER = struct.Struct("<16sI")

_FILE = struct.Struct("<16sBBBB3sB")
_FILE_LARGE = struct.Struct("<Q")
_FILE_ALIGNMENT = 8
_LARGE_FILE = 0x01
_TYPE_RAW, _TYPE_FIRST_SECTIONED, _TYPE_LAST_SECTIONED = 0x01, 0x02, 0x0F
_HEADER_VALID, _DATA_VALID, _DELETED_OR_INVALID = 0x02, 0x04, 0x30
_VOLUME_TOP = uuid.UUID("1ba0062e-c779-4582-8566-336ae8f78f09")

_SECTION = struct.Struct("<3sB")
_SECTION_LARGE = struct.Struct("<I")
_SECTION_ALIGNMENT = 4
_COMPRESSION, _GUID_DEFINED, _PE32, _TE = 0x01, 0x02, 0x10, 0x12
_USER_INTERFACE, _VOLUME_IMAGE = 0x15, 0x17
_COMPRESSION_HEADER = struct.Struct("<IB")
_GUID_DEFINED_HEADER = struct.Struct("<16sHH")
_PROCESSING_REQUIRED = 0x01
_LZMA = uuid.UUID("ee4e5898-3914-4259-9d6e-dc7bd79403cf")
_LZMA_HEADER = struct.Struct("<BIQ")


@dataclass(frozen=True)
class Program:
    """An executable section of a file, or the raw Volume Top File, which has the reset vector.

    `name` is the file's user interface section, None where it has none; `file_type` is its
    EFI_FV_FILETYPE. `volume` numbers the volume that it lies in and `offset` says where in it
    `data` begins: None where a section had to be unpacked to get at it.
    """

    guid: uuid.UUID
    name: str | None
    file_type: int
    kind: str
    data: memoryview
    volume: int
    offset: int | None


def damaged(where: object, what: str, problem: str) -> SproutError:
    """Give an error that names the file, the field in it and what is wrong with that."""
    return SproutError(
        f"{where}: {what}: {problem}",
        "Install the firmware package (ovmf) again; this file is damaged or no raw firmware.",
    )


def read_programs(data: bytes, where: object) -> list[Program]:
    """Give the programs in all firmware volumes of `data`, a flash image; `where` names it.

    Left out are bytes between volumes, volumes that hold no firmware file system (variables), and
    sections in an encoding other than LZMA. Raises SproutError when a header, size or name is
    wrong, when a bound is passed, or when there is no volume at all.
    """
    walk = _Walk(where)
    whole = _Span(memoryview(data), 0, len(data))
    position = 0
    while (found := data.find(_SIGNATURE, position + _SIGNATURE_OFFSET)) >= 0:
        start = found - _SIGNATURE_OFFSET
        if start % _VOLUME_ALIGNMENT:  # the word in somebody's code: volumes begin at a flash block
            position = start + 1
        else:
            position = walk.volume(replace(whole, start=start))
    if walk.volumes == 0:
        raise damaged(where, "Signature", "no firmware volume (_FVH) in this file")
    return walk.programs


@dataclass(frozen=True)
class _Span:
    """A range of a buffer, which is the file or an unpacked section.

    `volume` is the volume around it, and `volume_start` where that begins in the same buffer.
    """

    buffer: memoryview
    start: int
    end: int
    depth: int = 0
    volume: int = 0
    volume_start: int | None = None

    @property
    def size(self) -> int:
        return self.end - self.start

    def bytes(self) -> memoryview:
        return self.buffer[self.start : self.end]


@dataclass
class _Contents:
    """What the sections of one file held: its name, and its programs by kind."""

    name: str | None = None
    programs: list[tuple[str, _Span]] = field(default_factory=list)


class _Walk:
    """One walk through a file: what was found, and how much of its bounds is used up."""

    def __init__(self, where: object) -> None:
        self._where = where
        self._files = 0
        self._sections = 0
        self._unpacked = 0
        self.volumes = 0
        self.programs: list[Program] = []

    def _read(self, codec: struct.Struct, span: _Span, what: str) -> tuple[Any, ...]:
        if codec.size > span.size:
            raise damaged(self._where, what, "is cut short")
        return codec.unpack_from(span.buffer, span.start)

    def volume(self, span: _Span) -> int:
        """Read the volume at the start of `span` and give where it ends."""
        what = f"firmware volume at 0x{span.start:x}"
        if span.depth > _MAX_DEPTH:
            raise damaged(self._where, what, f"is nested deeper than {_MAX_DEPTH}")
        if self.volumes == _MAX_VOLUMES:
            raise damaged(self._where, what, f"more than {_MAX_VOLUMES} volumes")
        _, system, length, signature, attributes, header_size, _, extended, _, _ = self._read(
            _VOLUME, span, what
        )
        if signature != _SIGNATURE:
            raise damaged(self._where, f"{what}: Signature", "is not _FVH")
        if not _VOLUME.size < length <= span.size:
            raise damaged(self._where, f"{what}: FvLength", f"{length:,} cannot be")
        if not _VOLUME.size <= header_size <= length or header_size % 2:
            raise damaged(self._where, f"{what}: HeaderLength", f"{header_size:,} cannot be")
        words = memoryview(span.bytes()[:header_size].tobytes()).cast("H")
        if sum(words) & 0xFFFF:
            raise damaged(self._where, f"{what}: Checksum", "does not fit the header")
        volume = replace(span, end=span.start + length, volume=self.volumes)
        self.volumes += 1
        if uuid.UUID(bytes_le=system) in (_FFS2, _FFS3):
            first = self._after_header(volume, header_size, extended, what)
            files = replace(volume, start=volume.start + first, volume_start=volume.start)
            self._read_files(files, 0xFF if attributes & _ERASE_POLARITY else 0)
        return volume.end

    def _after_header(self, volume: _Span, header_size: int, extended: int, what: str) -> int:
        if not extended:
            return header_size
        header = replace(volume, start=volume.start + extended)
        _, size = self._read(_EXTENDED_HEADER, header, f"{what}: ExtHeaderOffset")
        if extended < header_size or not _EXTENDED_HEADER.size <= size <= header.size:
            raise damaged(self._where, f"{what}: ExtHeaderSize", f"{size:,} cannot be")
        return extended + int(size)

    def _read_files(self, span: _Span, erased: int) -> None:
        origin = span.volume_start or 0
        position = span.start
        while True:
            position = origin + _align(position - origin, _FILE_ALIGNMENT)
            header = span.buffer[position : min(position + _FILE.size, span.end)]
            # What was never written is free space, up to the end.
            if len(header) < _FILE.size or header == bytes([erased]) * _FILE.size:
                return
            position = self._read_file(replace(span, start=position), erased)

    def _read_file(self, span: _Span, erased: int) -> int:
        """Read the file at the start of `span`, the rest of its volume, and give where it ends."""
        raw_guid, _, file_sum, kind, attributes, raw_size, state = self._read(_FILE, span, "file")
        guid = uuid.UUID(bytes_le=raw_guid)
        what = f"file {guid} at 0x{span.start:x}"
        self._files += 1
        if self._files > _MAX_FILES:
            raise damaged(self._where, what, f"more than {_MAX_FILES} files")
        size, header_size = int.from_bytes(raw_size, "little"), _FILE.size
        if attributes & _LARGE_FILE:
            large = replace(span, start=span.start + header_size)
            (size,) = self._read(_FILE_LARGE, large, f"{what}: ExtendedSize")
            header_size += _FILE_LARGE.size
        if not header_size <= size <= span.size:
            raise damaged(self._where, f"{what}: Size", f"{size:,} cannot be")
        # The file's own checksum and its state change while it is written: they do not count.
        if (sum(span.bytes()[:header_size]) - file_sum - state) & 0xFF:
            raise damaged(self._where, f"{what}: IntegrityCheck", "does not fit the header")
        state ^= erased
        if not state & _HEADER_VALID:
            raise damaged(self._where, f"{what}: State", "the header was never finished")
        file = replace(span, end=span.start + size)
        if state & _DATA_VALID and not state & _DELETED_OR_INVALID:
            self._read_contents(replace(file, start=file.start + header_size), guid, kind, what)
        return file.end

    def _read_contents(self, span: _Span, guid: uuid.UUID, kind: int, what: str) -> None:
        contents = _Contents()
        if kind == _TYPE_RAW and guid == _VOLUME_TOP:
            contents = _Contents("ResetVector", [(RAW, span)])
        elif _TYPE_FIRST_SECTIONED <= kind <= _TYPE_LAST_SECTIONED:
            self._read_sections(span, contents, what)
        for program, at in contents.programs:
            offset = None if at.volume_start is None else at.start - at.volume_start
            self.programs.append(
                Program(guid, contents.name, kind, program, at.bytes(), at.volume, offset)
            )

    def _read_sections(self, span: _Span, contents: _Contents, what: str) -> None:
        if span.depth > _MAX_DEPTH:
            raise damaged(self._where, what, f"sections are nested deeper than {_MAX_DEPTH}")
        position = span.start
        while span.end - position >= _SECTION.size:
            position = self._read_section(replace(span, start=position), contents, what)
            position = span.start + _align(position - span.start, _SECTION_ALIGNMENT)

    def _read_section(self, span: _Span, contents: _Contents, what: str) -> int:
        """Read the section at the start of `span`, the rest of them, and give where it ends."""
        self._sections += 1
        if self._sections > _MAX_SECTIONS:
            raise damaged(self._where, what, f"more than {_MAX_SECTIONS} sections")
        raw_size, kind = self._read(_SECTION, span, what)
        what = f"{what}: section at 0x{span.start:x}"
        size, header_size = int.from_bytes(raw_size, "little"), _SECTION.size
        if size == 0xFFFFFF:
            large = replace(span, start=span.start + header_size)
            (size,) = self._read(_SECTION_LARGE, large, f"{what}: ExtendedSize")
            header_size += _SECTION_LARGE.size
        if not header_size <= size <= span.size:
            raise damaged(self._where, f"{what}: Size", f"{size:,} cannot be")
        section = replace(span, end=span.start + size)
        body = replace(section, start=section.start + header_size)
        if kind in (_PE32, _TE):
            contents.programs.append((PE32 if kind == _PE32 else TE, body))
        elif kind == _USER_INTERFACE:
            contents.name = self._name(body, what)
        elif kind == _VOLUME_IMAGE:
            self.volume(replace(body, depth=span.depth + 1, volume_start=None))
        elif kind in (_COMPRESSION, _GUID_DEFINED):
            read = self._compressed if kind == _COMPRESSION else self._guid_defined
            inner = read(section, body, what)
            if inner is not None:
                self._read_sections(replace(inner, depth=span.depth + 1), contents, what)
        return section.end

    def _name(self, body: _Span, what: str) -> str:
        """Read a user interface section: UTF-16 up to a NUL."""
        characters = min(body.size // 2, _MAX_NAME + 1)
        raw = body.bytes()[: 2 * characters].tobytes()
        name, end, _ = raw.decode("utf-16-le", "surrogatepass").partition("\0")
        if not end or not name or not name.isprintable():
            raise damaged(
                self._where, what, f"its name is no printable text of up to {_MAX_NAME} characters"
            )
        return name

    def _compressed(self, _section: _Span, body: _Span, what: str) -> _Span | None:
        """Give what a compression section holds, None where it really is compressed.

        That is the specification's own algorithm, which builds of today's edk2 do not use.
        """
        _, method = self._read(_COMPRESSION_HEADER, body, f"{what}: CompressionType")
        return None if method else replace(body, start=body.start + _COMPRESSION_HEADER.size)

    def _guid_defined(self, section: _Span, body: _Span, what: str) -> _Span | None:
        """Give what a GUID-defined section holds, None where its encoding is not known."""
        raw_guid, offset, attributes = self._read(_GUID_DEFINED_HEADER, body, what)
        header_size = body.start + _GUID_DEFINED_HEADER.size - section.start
        if not header_size <= offset <= section.size:
            raise damaged(self._where, f"{what}: DataOffset", f"{offset:,} cannot be")
        data = replace(section, start=section.start + offset)
        if uuid.UUID(bytes_le=raw_guid) == _LZMA:
            unpacked = memoryview(self._unpack(data, what))
            return replace(data, buffer=unpacked, start=0, end=len(unpacked), volume_start=None)
        return None if attributes & _PROCESSING_REQUIRED else data

    def _unpack(self, data: _Span, what: str) -> bytes:
        """Unpack the .lzma format; edk2 writes its true size, and takes no other."""
        _, _, size = self._read(_LZMA_HEADER, data, f"{what}: LZMA header")
        self._unpacked += size
        if self._unpacked > MAX_UNPACKED_BYTES:
            raise damaged(
                self._where, f"{what}: LZMA header", f"unpacks to more than {MAX_UNPACKED_BYTES:,}"
            )
        decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY)
        try:
            unpacked = decoder.decompress(data.bytes(), max_length=size)
        except lzma.LZMAError as error:
            raise damaged(self._where, f"{what}: LZMA data", str(error)) from error
        if len(unpacked) != size:
            raise damaged(self._where, f"{what}: LZMA data", "is cut short")
        return unpacked


def _align(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment
