"""Reads a boot image back, ours or another tool's: its sections, its metadata, signed or not.

Every byte is taken as hostile: sizes are bounded before anything is read by them.
"""

from __future__ import annotations

import hashlib
import mmap
import stat
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sprout.base.errors import SproutError
from sprout.base.files import cannot_read
from sprout.format import levels, pe
from sprout.format.sbat import MAX_SBAT_BYTES, SbatRow, parse_sbat
from sprout.image.bzimage import HEAD_SIZE, SetupHeader, read_setup_header
from sprout.image.uki import MAX_IMAGE_BYTES, MAX_TEXT_BYTES

UKI = "unified kernel image"
HOST = "host image (hypervisor and its host)"
ADDON = "UKI addon"
KERNEL = "Linux kernel"
APPLICATION = "EFI application"
OTHER = "PE file, no EFI application"

# Multi-profile UKIs repeat sections; pefile reads no more than 2,048.
_MAX_SECTIONS = 512
_MAX_CERTIFICATES = 64
_WIN_CERTIFICATE = struct.Struct("<IHH")
_HINT = "The file is damaged or cut short; build or fetch it again."

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ImageSection:
    """One section: where its bytes stand, how many, how much memory, how it may be used.

    `size` and `sha256` are of the bytes in the file that reach memory; `access` is r, w, x or -.
    """

    name: str
    offset: int
    size: int
    memory_size: int
    access: str
    sha256: str


@dataclass(frozen=True)
class BootImage:
    """What a boot image says of itself; texts are None where the section is absent.

    `size` is the file's, in bytes; `timestamp` is TimeDateStamp; `kernel_version` is what the
    kernel's own header says, else `.uname`; `certificates` counts Authenticode signatures;
    `generations` is the table in `.sbatlvl` that our stub compares, None where there is none;
    `hypervisor_cmdline` is the text of `.hvcmd`.
    """

    kind: str
    machine: str
    size: int
    sha256: str
    timestamp: int
    sections: tuple[ImageSection, ...]
    cmdline: str | None
    os_release: str | None
    uname: str | None
    kernel_version: str | None
    sbat: tuple[SbatRow, ...]
    certificates: int
    generations: Mapping[str, int] | None = None
    hypervisor_cmdline: str | None = None

    @property
    def generations_agree(self) -> bool:
        """Whether `.sbatlvl` is absent, or says of every component what `.sbat` says."""
        said = {(row.component, row.generation) for row in self.sbat}
        return self.generations is None or (
            set(self.generations.items()) == said and len(said) == len(self.sbat)
        )

    @property
    def signed(self) -> bool:
        """Whether there is a signature; it is not verified here."""
        return self.certificates > 0


def read_image(path: Path) -> BootImage:
    """Read a UKI, an EFI application or a Linux kernel of at most 1 GiB.

    Raises SproutError naming file and field when it is none, or is damaged.
    """
    return read_mapped(path, MAX_IMAGE_BYTES, lambda data: parse_image(data, path))


def read_mapped(path: Path, limit: int, read: Callable[[mmap.mmap], _Result]) -> _Result:
    """Give `read` a regular file of 1 to `limit` bytes as a read-only map."""
    try:
        # Opening a named pipe would wait for its writer, for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise SproutError(f"{path}: is no regular file", "Name a file.")
        with path.open("rb") as stream:
            size = path.stat().st_size
            if not 0 < size <= limit:
                problem = "is empty" if size == 0 else f"is longer than {limit:,} bytes"
                raise SproutError(f"{path}: {problem}", "Name the file that was meant.")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                return read(mapped)
    except OSError as error:
        raise cannot_read(path, error) from error


def parse_image(data: pe.Buffer, where: object) -> BootImage:
    """Read the image whose whole bytes are `data`; see `read_image`."""
    if data[:2] != b"MZ":
        return _parse_bare_kernel(data, where)
    headers = _pefile(data, where)
    certificates = _count_certificates(headers, data, where)
    sections = _sections(headers, data, where)
    texts = {
        name: _text(data, section, where)
        for name in (".cmdline", ".hvcmd", ".osrel", ".uname", ".sbat")
        if (section := _first(sections, name)) is not None
    }
    linux = _first(sections, ".linux")
    start = linux.offset if linux else 0
    setup = read_setup_header(data[start : start + HEAD_SIZE], where)
    uname = texts.get(".uname")
    # The kernel itself knows better than a text beside it.
    version = (setup.release if setup else "") or (uname or "").strip()
    return BootImage(
        kind=_kind(headers, sections, setup),
        machine=pe.MACHINES.get(headers.FILE_HEADER.Machine, hex(headers.FILE_HEADER.Machine)),
        size=len(data),
        sha256=_digest(data, 0, len(data)),
        timestamp=headers.FILE_HEADER.TimeDateStamp,
        sections=sections,
        cmdline=texts.get(".cmdline"),
        os_release=texts.get(".osrel"),
        uname=uname,
        kernel_version=version or None,
        sbat=parse_sbat(texts.get(".sbat", ""), where),
        certificates=certificates,
        generations=_generations(data, sections, where),
        hypervisor_cmdline=texts.get(".hvcmd"),
    )


def _parse_bare_kernel(data: pe.Buffer, where: object) -> BootImage:
    """Read a bzImage without an EFI stub: it has no PE headers at all."""
    setup = read_setup_header(data[:HEAD_SIZE], where)
    if setup is None:
        raise pe.error(where, "e_magic", "is not MZ", "Name a PE file or a Linux kernel.")
    return BootImage(
        kind=f"{KERNEL} without EFI stub",
        machine="x86",
        size=len(data),
        sha256=_digest(data, 0, len(data)),
        timestamp=0,
        sections=(),
        cmdline=None,
        os_release=None,
        uname=None,
        kernel_version=setup.release or None,
        sbat=(),
        certificates=0,
    )


def _pefile(data: pe.Buffer, where: object) -> Any:  # noqa: ANN401 - pefile has no types
    import pefile  # noqa: PLC0415 - only this verb pays for it

    try:
        headers = pefile.PE(data=data, fast_load=True)
        # pefile gives up on a section table that it dislikes, with no more than a warning.
        found = len(headers.sections)
        wanted = headers.FILE_HEADER.NumberOfSections
        magic = headers.OPTIONAL_HEADER.Magic
    except pefile.PEFormatError as error:
        raise pe.error(where, "PE headers", str(error).strip("'\""), _HINT) from error
    except Exception as error:
        # On garbage it also raises what its own slips raise: AttributeError, struct.error ...
        raise pe.error(where, "PE headers", "cannot be read", _HINT) from error
    if magic not in (0x10B, 0x20B):
        raise pe.error(where, "Magic", f"0x{magic:x} is neither PE32 nor PE32+", _HINT)
    if found != wanted or not 0 < found <= _MAX_SECTIONS:
        raise pe.error(where, "NumberOfSections", f"{wanted}, but {found} can be read", _HINT)
    return headers


def _sections(headers: Any, data: pe.Buffer, where: object) -> tuple[ImageSection, ...]:  # noqa: ANN401
    sections = []
    total = 0
    # pefile sorts by address; a reader expects the order of the file's own table.
    for row in sorted(headers.sections, key=lambda row: row.get_file_offset()):
        name = pe.printable(row.Name)
        if row.SizeOfRawData and row.PointerToRawData + row.SizeOfRawData > len(data):
            raise pe.error(where, name, "SizeOfRawData reaches beyond the end of the file", _HINT)
        total += row.SizeOfRawData
        if total > len(data):
            raise pe.error(where, name, "SizeOfRawData overlaps other sections", _HINT)
        # Older linkers leave VirtualSize 0; the loader then takes SizeOfRawData.
        memory_size = row.Misc_VirtualSize or row.SizeOfRawData
        size = min(row.SizeOfRawData, memory_size)
        flags = row.Characteristics
        access = "".join(
            letter if flags & flag else "-"
            for letter, flag in (("r", pe.MEM_READ), ("w", pe.MEM_WRITE), ("x", pe.MEM_EXECUTE))
        )
        offset = row.PointerToRawData if size else 0
        digest = _digest(data, offset, size)
        sections.append(ImageSection(name, offset, size, memory_size, access, digest))
    return tuple(sections)


def _digest(data: pe.Buffer, offset: int, size: int) -> str:
    with memoryview(data) as whole, whole[offset : offset + size] as part:
        return hashlib.sha256(part).hexdigest()


def _first(sections: tuple[ImageSection, ...], name: str) -> ImageSection | None:
    return next((section for section in sections if section.name == name), None)


def _text(data: pe.Buffer, section: ImageSection, where: object) -> str:
    limit = MAX_SBAT_BYTES if section.name == ".sbat" else MAX_TEXT_BYTES
    if section.size > limit:
        raise pe.error(where, section.name, f"is longer than {limit:,} bytes", _HINT)
    raw = data[section.offset : section.offset + section.size]
    return raw.rstrip(b"\0").decode("utf-8", "backslashreplace")


def _generations(
    data: pe.Buffer, sections: tuple[ImageSection, ...], where: object
) -> dict[str, int] | None:
    section = _first(sections, levels.SECTION)
    if section is None:
        return None
    # The stub sees what is in memory: the section's bytes in the file, the rest zeros.
    if section.size != section.memory_size or section.size > levels.MAX_BYTES:
        raise pe.error(where, section.name, f"{section.size:,} bytes are no table", _HINT)
    raw = bytes(data[section.offset : section.offset + section.size])
    return levels.unpack(raw, f"{where}: {section.name}")


def _kind(headers: Any, sections: tuple[ImageSection, ...], setup: SetupHeader | None) -> str:  # noqa: ANN401
    names = {section.name for section in sections}
    if ".linux" in names:
        return HOST if ".hv" in names else UKI
    if setup is not None:
        return KERNEL
    if headers.OPTIONAL_HEADER.Subsystem != pe.SUBSYSTEM_EFI_APPLICATION:
        return OTHER
    # UAPI.5, "PE Addons": at least one of these, and no .linux.
    return ADDON if names & {".cmdline", ".dtb", ".ucode", ".initrd"} else APPLICATION


def _count_certificates(headers: Any, data: pe.Buffer, where: object) -> int:  # noqa: ANN401
    """Count Authenticode signatures ("PE Format", "The Attribute Certificate Table")."""
    directories = headers.OPTIONAL_HEADER.DATA_DIRECTORY
    if len(directories) <= pe.DIRECTORY_SECURITY:
        return 0
    entry = directories[pe.DIRECTORY_SECURITY]
    offset, size = entry.VirtualAddress, entry.Size
    if size == 0:
        return 0
    end = offset + size
    if end > len(data):
        raise pe.error(where, "certificate table", "reaches beyond the end of the file", _HINT)
    count = 0
    while offset < end:
        if end - offset < _WIN_CERTIFICATE.size or count == _MAX_CERTIFICATES:
            raise pe.error(where, "certificate table", "is no list of certificates", _HINT)
        length, revision, kind = _WIN_CERTIFICATE.unpack(data[offset : offset + 8])
        if not 8 < length <= end - offset or (revision, kind) != (0x0200, 2):
            raise pe.error(where, "certificate table", "holds no PKCS#7 signature", _HINT)
        offset += pe.align(length, 8)
        count += 1
    return count
