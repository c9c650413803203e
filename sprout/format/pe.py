"""PE headers as far as laying out a boot image needs them: read strictly, within bounds.

Field names and rules are those of Microsoft's "PE Format" specification, sections "COFF File
Header", "Optional Header" and "Section Table"; all numbers are little-endian.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass

from sprout.base.errors import SproutError

Buffer = bytes | bytearray | mmap.mmap

MACHINES = {
    0x014C: "i386",
    0x5064: "riscv64",
    0x6264: "loongarch64",
    0x8664: "x86_64",
    0xAA64: "aarch64",
}
SUBSYSTEM_EFI_APPLICATION = 10

RELOCS_STRIPPED = 0x0001  # COFF Characteristics
DYNAMIC_BASE = 0x0040  # DllCharacteristics
NX_COMPAT = 0x0100

INITIALIZED_DATA = 0x00000040  # section Characteristics
MEM_EXECUTE = 0x20000000
MEM_READ = 0x40000000
MEM_WRITE = 0x80000000

DIRECTORY_SECURITY = 4
DIRECTORY_DEBUG = 6
MAX_SECTIONS = 96  # more than any loader that follows the specification takes

COFF = struct.Struct("<HHIIIHH")
SECTION = struct.Struct("<8sIIIIIIHHI")
_OPTIONAL = struct.Struct("<HBBIIIIIQIIHHHHHHIIIIHHQQQQII")
_DIRECTORY = struct.Struct("<II")
_HINT = "Build the file again; this one is damaged or no PE image."


@dataclass(frozen=True)
class Directory:
    """A data directory: an address (a file offset for the certificate table) and a size."""

    address: int
    size: int


@dataclass(frozen=True)
class SectionHeader:
    """One row of the section table; sizes and addresses in bytes."""

    name: str
    virtual_size: int
    virtual_address: int
    raw_size: int
    raw_offset: int
    characteristics: int

    @property
    def virtual_end(self) -> int:
        """The first address after the section in memory."""
        return self.virtual_address + (self.virtual_size or self.raw_size)

    def pack(self) -> bytes:
        """Give the row's 40 bytes."""
        return SECTION.pack(
            self.name.encode("ascii"),
            self.virtual_size,
            self.virtual_address,
            self.raw_size,
            self.raw_offset,
            *(0, 0, 0, 0),  # relocations and line numbers: none in an image
            self.characteristics,
        )


@dataclass(frozen=True)
class Headers:
    """What the headers of a PE32+ file say; offsets are counted from the start of the file."""

    coff_offset: int
    machine: int
    symbols_offset: int
    characteristics: int
    optional_offset: int
    section_table_offset: int
    initialized_data: int
    entry_point: int
    section_alignment: int
    file_alignment: int
    size_of_image: int
    size_of_headers: int
    subsystem: int
    dll_characteristics: int
    directories: tuple[Directory, ...]
    sections: tuple[SectionHeader, ...]

    def directory(self, index: int) -> Directory:
        """Give data directory `index`; an absent one has address and size 0."""
        return self.directories[index] if index < len(self.directories) else Directory(0, 0)


def error(where: object, field: str, problem: str, hint: str = _HINT) -> SproutError:
    """Give an error that names the file and the PE field."""
    return SproutError(f"{where}: {field}: {problem}", hint)


def align(value: int, alignment: int) -> int:
    """Round `value` up to a multiple of `alignment`, a power of two."""
    return (value + alignment - 1) & -alignment


def printable(raw: bytes) -> str:
    """Give a fixed-size name without its padding, with everything unprintable escaped."""
    text = raw.rstrip(b"\0").decode("ascii", "backslashreplace")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def parse_headers(data: Buffer, where: object) -> Headers:
    """Read the headers of the whole PE32+ file `data`; `where` names it in errors.

    Raises SproutError when a header or a section lies outside the file, when sections overlap or
    are not in ascending order, or when an alignment is none.
    """
    coff_offset = _find_coff(data, where)
    machine, count, _, symbols, _, optional_size, characteristics = _unpack(
        COFF, data, coff_offset, where, "COFF header"
    )
    optional_offset = coff_offset + COFF.size
    optional = _unpack(_OPTIONAL, data, optional_offset, where, "optional header")
    if optional[0] != 0x20B:
        raise error(where, "Magic", f"0x{optional[0]:x} is not PE32+ (0x20b)")
    directory_count = optional[28]
    if optional_size != _OPTIONAL.size + directory_count * _DIRECTORY.size:
        raise error(where, "SizeOfOptionalHeader", "disagrees with NumberOfRvaAndSizes")
    if directory_count > 16:
        raise error(where, "NumberOfRvaAndSizes", f"{directory_count} is more than 16")
    if not 0 < count <= MAX_SECTIONS:
        raise error(where, "NumberOfSections", f"{count} is not in 1 to {MAX_SECTIONS}")
    directories = tuple(
        Directory(*_unpack(_DIRECTORY, data, offset, where, "data directories"))
        for offset in range(
            optional_offset + _OPTIONAL.size, optional_offset + optional_size, _DIRECTORY.size
        )
    )
    table = optional_offset + optional_size
    sections = tuple(_section(data, table + index * SECTION.size, where) for index in range(count))
    headers = Headers(
        coff_offset=coff_offset,
        machine=machine,
        symbols_offset=symbols,
        characteristics=characteristics,
        optional_offset=optional_offset,
        section_table_offset=table,
        initialized_data=optional[4],
        entry_point=optional[6],
        section_alignment=optional[9],
        file_alignment=optional[10],
        size_of_image=optional[18],
        size_of_headers=optional[19],
        subsystem=optional[21],
        dll_characteristics=optional[22],
        directories=directories,
        sections=sections,
    )
    _check(headers, len(data), where)
    return headers


def checksum(data: Buffer, field_offset: int) -> int:
    """Give the image checksum (CheckSum in the optional header) of a file of even length.

    It is the ones' complement sum of all 16-bit words, the field itself taken as 0, plus the
    file's length. Folding carries back in is arithmetic modulo 65,535, which Python's integers
    do in one step instead of in a loop over millions of words.
    """
    words = int.from_bytes(data[:field_offset], "little")
    words += int.from_bytes(data[field_offset + 4 :], "little")
    return (words % 0xFFFF or 0xFFFF) + len(data)


def _unpack(
    codec: struct.Struct, data: Buffer, offset: int, where: object, field: str
) -> tuple[int, ...]:
    try:
        return codec.unpack_from(data, offset)
    except struct.error:
        raise error(where, field, "lies beyond the end of the file") from None


def _find_coff(data: Buffer, where: object) -> int:
    if data[:2] != b"MZ":
        raise error(where, "e_magic", "is not MZ")
    (lfanew,) = _unpack(struct.Struct("<I"), data, 0x3C, where, "e_lfanew")
    # The specification puts the signature anywhere; a loader wants it in the first page.
    if lfanew % 4 or not 0x40 <= lfanew < 0x1000:
        raise error(where, "e_lfanew", f"0x{lfanew:x} is no offset of a PE header")
    if data[lfanew : lfanew + 4] != b"PE\0\0":
        raise error(where, "Signature", "is not PE")
    return lfanew + 4


def _section(data: Buffer, offset: int, where: object) -> SectionHeader:
    try:
        name, virtual_size, address, raw_size, raw_offset, _, _, _, _, flags = SECTION.unpack_from(
            data, offset
        )
    except struct.error:
        raise error(where, "section table", "lies beyond the end of the file") from None
    return SectionHeader(printable(name), virtual_size, address, raw_size, raw_offset, flags)


def _check(headers: Headers, size: int, where: object) -> None:
    for field, value in (
        ("SectionAlignment", headers.section_alignment),
        ("FileAlignment", headers.file_alignment),
    ):
        if value == 0 or value & (value - 1) or value > 1 << 21:
            raise error(where, field, f"{value} is no power of two up to 2 MiB")
    table_end = headers.section_table_offset + len(headers.sections) * SECTION.size
    if not table_end <= headers.size_of_headers <= size:
        raise error(where, "SizeOfHeaders", f"{headers.size_of_headers:,} cannot be")
    if headers.entry_point >= headers.size_of_image:
        raise error(where, "AddressOfEntryPoint", "lies outside the image")
    _check_memory(headers, where)
    _check_file(headers, table_end, size, where)


def _check_memory(headers: Headers, where: object) -> None:
    free = headers.size_of_headers
    for section in headers.sections:
        if section.virtual_address < free:
            raise error(where, section.name, "VirtualAddress overlaps what stands before it")
        free = section.virtual_end
        if free > headers.size_of_image:
            raise error(where, section.name, "VirtualSize reaches beyond SizeOfImage")


def _check_file(headers: Headers, free: int, size: int, where: object) -> None:
    stored = [section for section in headers.sections if section.raw_size]
    for section in sorted(stored, key=lambda section: section.raw_offset):
        if section.raw_offset < free:
            raise error(where, section.name, "PointerToRawData overlaps what stands before it")
        free = section.raw_offset + section.raw_size
        if free > size:
            raise error(where, section.name, "SizeOfRawData reaches beyond the end of the file")
