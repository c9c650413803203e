"""Lays a stub, a kernel, an initramfs and metadata into one PE: a Unified Kernel Image.

Rules: UAPI.5 "Unified Kernel Image" for the sections' names and contents, Microsoft's "PE Format"
for the layout. The output is a function of the inputs alone: same inputs, same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded, write_file
from sprout.format import levels, pe
from sprout.format.sbat import parse_sbat
from sprout.image.bzimage import HEAD_SIZE, SetupHeader, read_setup_header
from sprout.image.direct import with_setup_header

MAX_IMAGE_BYTES = 1 << 30
MAX_TEXT_BYTES = 64 << 10
PAGE = 4096

_DATA_READ_ONLY = pe.INITIALIZED_DATA | pe.MEM_READ
_UNFIT_STUB = "Use the stub that this tree builds."


@dataclass(frozen=True)
class Section:
    """A section to append: its name, its bytes, and the least size it takes in memory."""

    name: str
    data: bytes
    memory_size: int = 0


def lay_out(stub: bytes, sections: Sequence[Section], *, epoch: int) -> bytes:
    """Append `sections`, in the order given, to the PE `stub` and give the whole file.

    They become read-only data at page boundaries. `epoch` (seconds since 1970) becomes
    TimeDateStamp. Raises SproutError when the stub is no PE that can carry them: its sections are
    not page-aligned, one is writable and executable, it is signed, it carries trailing bytes, or
    its headers have no room.
    """
    headers = pe.parse_headers(stub, "stub")
    _check_stub(headers, len(stub))
    if not 0 <= epoch < 1 << 32:
        raise SproutError(
            f"TimeDateStamp: {epoch} does not fit in 32 bits", "Set SOURCE_DATE_EPOCH before 2106."
        )
    _check_names(headers, sections)
    stub = with_setup_header(stub, headers)
    headers = pe.parse_headers(stub, "stub")
    image = bytearray(_with_header_room(stub, headers, len(sections)))
    grown = len(image) - len(stub)
    rows = bytearray()
    address = headers.sections[-1].virtual_end
    initialized = headers.initialized_data
    for section in sections:
        address = pe.align(address, max(headers.section_alignment, PAGE))
        image.extend(bytes(-len(image) % headers.file_alignment))
        row = pe.SectionHeader(
            name=section.name,
            virtual_size=max(len(section.data), section.memory_size),
            virtual_address=address,
            raw_size=pe.align(len(section.data), headers.file_alignment),
            raw_offset=len(image),
            characteristics=_DATA_READ_ONLY,
        )
        image += section.data
        initialized += row.raw_size
        address = row.virtual_end
        if address + PAGE > MAX_IMAGE_BYTES or len(image) > MAX_IMAGE_BYTES:
            raise SproutError(
                f"{section.name}: the image would be larger than {MAX_IMAGE_BYTES:,} bytes",
                "Make the initramfs smaller.",
            )
        rows += row.pack()
    image.extend(bytes(-len(image) % headers.file_alignment))

    table_end = headers.section_table_offset + len(headers.sections) * pe.SECTION.size
    image[table_end : table_end + len(rows)] = rows
    _put(image, "<H", headers.coff_offset + 2, len(headers.sections) + len(sections))
    _put(image, "<I", headers.coff_offset + 4, epoch)
    optional = headers.optional_offset
    _put(image, "<I", optional + 8, initialized)
    _put(image, "<I", optional + 56, pe.align(address, headers.section_alignment))
    _put(image, "<I", optional + 60, headers.size_of_headers + grown)
    flags = headers.dll_characteristics | pe.NX_COMPAT | pe.DYNAMIC_BASE
    _put(image, "<H", optional + 70, flags)
    _put(image, "<I", optional + 64, pe.checksum(image, optional + 64))
    return bytes(image)


def build_image(
    target: Path,
    *,
    stub: Path,
    kernel: Path,
    initramfs: Path,
    cmdline: str,
    os_release: Mapping[str, str],
    uname: str,
    sbat: str,
    epoch: int,
) -> None:
    """Write a Unified Kernel Image to `target` in one step.

    `os_release` holds os-release(5) fields, `uname` what `uname -r` will say, `sbat` the CSV rows
    (see sprout.format.sbat), which the table for the stub in `.sbatlvl` is made from (see
    sprout.format.levels), `epoch` seconds since 1970. Raises SproutError when an input cannot be
    read or is not what it should be, or when the command line is longer than the kernel takes.
    """
    stub_data = read_bounded(stub, MAX_IMAGE_BYTES)
    kernel_data = read_bounded(kernel, MAX_IMAGE_BYTES)
    initramfs_data = read_bounded(initramfs, MAX_IMAGE_BYTES)
    inner = pe.parse_headers(kernel_data, kernel)
    stub_machine = pe.parse_headers(stub_data, stub).machine
    if inner.machine != stub_machine:
        names = [
            pe.MACHINES.get(machine, hex(machine)) for machine in (inner.machine, stub_machine)
        ]
        raise pe.error(
            kernel, "Machine", f"{names[0]}, but the stub is for {names[1]}", "Build both for one."
        )
    metadata = metadata_sections(os_release, cmdline=cmdline, uname=uname, sbat=sbat)
    setup = read_setup_header(kernel_data[:HEAD_SIZE], kernel)
    if setup is not None:
        _check_setup(kernel, setup, cmdline=cmdline, uname=uname)
    sections = [
        *metadata,
        Section(".initrd", initramfs_data),
        # With the memory that the kernel wants once it runs, it can run where the firmware put
        # it. UAPI.5 makes this the section's VirtualSize.
        Section(".linux", kernel_data, inner.size_of_image),
    ]
    write_image(target, stub_data, sections, epoch=epoch)


def metadata_sections(
    os_release: Mapping[str, str], *, cmdline: str, uname: str, sbat: str
) -> list[Section]:
    """Give the sections that say what an image is; see `build_image` for what they are made of.

    Raises SproutError when one of the texts cannot be in an image.
    """
    check_text("command line", cmdline, MAX_TEXT_BYTES)
    if not uname or not uname.isprintable() or " " in uname:
        raise SproutError(f"uname: {uname!r} is no kernel release", "Give what uname -r says.")
    rows = parse_sbat(sbat, "sbat")
    # Where an image says nothing of itself, the stub has to take the absence as below any level.
    table = levels.pack(levels.generations(rows, "sbat")) if rows else b""
    return [
        Section(".osrel", _os_release_text(os_release)),
        Section(".cmdline", cmdline.encode()),
        Section(".uname", uname.encode()),
        Section(".sbat", sbat.encode()),
        Section(levels.SECTION, table),
    ]


def write_image(target: Path, stub: bytes, sections: Sequence[Section], *, epoch: int) -> None:
    """Write the stub with those of the `sections` that have bytes to `target`, in one step."""
    # The stub takes an absent section as empty, and PE has no good way to say "0 bytes".
    present = [section for section in sections if section.data]
    write_file(target, lay_out(stub, present, epoch=epoch))


def check_text(what: str, text: str, limit: int) -> None:
    """Refuse a command line that is longer than `limit` bytes, or not one line of text."""
    if not text.isprintable():
        raise SproutError(f"{what}: holds control characters", "Put it on one line.")
    size = len(text.encode())
    if size > limit:
        raise SproutError(f"{what}: {size:,} bytes", f"Use at most {limit:,}.")


def _put(image: bytearray, code: str, offset: int, value: int) -> None:
    struct.pack_into(code, image, offset, value)


def _check_stub(headers: pe.Headers, size: int) -> None:
    sections = headers.sections
    last = max(section.raw_offset + section.raw_size for section in sections)
    both = pe.MEM_WRITE | pe.MEM_EXECUTE
    unaligned = [row for row in sections if row.virtual_address % headers.section_alignment]
    for field, unfit, problem in (
        ("Subsystem", headers.subsystem != pe.SUBSYSTEM_EFI_APPLICATION, "no EFI application"),
        ("Characteristics", headers.characteristics & pe.RELOCS_STRIPPED, "cannot be moved"),
        ("SectionAlignment", headers.section_alignment < PAGE, "less than a page"),
        ("FileAlignment", headers.file_alignment < 512, "less than 512"),
        ("certificate table", headers.directory(pe.DIRECTORY_SECURITY).size, "already signed"),
        ("PointerToSymbolTable", headers.symbols_offset, "debugging symbols"),
        ("VirtualAddress", unaligned, "a section is not aligned"),
        (
            "section Characteristics",
            any(row.characteristics & both == both for row in sections),
            "a section is both writable and executable",
        ),
        ("sections", pe.align(last, headers.file_alignment) < size, "bytes follow the last one"),
    ):
        if unfit:
            raise pe.error("stub", field, problem, _UNFIT_STUB)


def _check_names(headers: pe.Headers, sections: Sequence[Section]) -> None:
    taken = {section.name for section in headers.sections}
    for section in sections:
        name = section.name
        if not 0 < len(name) <= 8 or not (name.isascii() and name.isprintable()):
            raise SproutError(f"{name!r}: is no section name", "Use 1 to 8 ASCII characters.")
        if name in taken:
            raise SproutError(f"{name}: is there twice", _UNFIT_STUB)
        if not section.data:
            raise SproutError(f"{name}: has no bytes", "Leave an empty section out.")
        taken.add(name)


def _with_header_room(stub: bytes, headers: pe.Headers, count: int) -> bytes:
    """Give the stub with room for `count` more rows in its section table.

    A linker rounds the headers up to FileAlignment and no further, so room has to be made: the
    sections' bytes move down in the file. Nothing but the table itself (and the debug directory,
    which a stub must not have) counts offsets in the file.
    """
    first = min(section.raw_offset for section in headers.sections if section.raw_size)
    table_end = headers.section_table_offset + len(headers.sections) * pe.SECTION.size
    missing = table_end + count * pe.SECTION.size - min(first, headers.size_of_headers)
    if any(stub[table_end : min(first, headers.size_of_headers)]):
        raise pe.error("stub", "section table", "is followed by unknown bytes", _UNFIT_STUB)
    if missing <= 0:
        return stub
    grow = pe.align(missing, headers.file_alignment)
    if headers.directory(pe.DIRECTORY_DEBUG).size:
        raise pe.error("stub", "section table", "no room, and a debug directory", _UNFIT_STUB)
    if headers.size_of_headers + grow > headers.sections[0].virtual_address:
        raise pe.error("stub", "section table", f"no room for {count} more rows", _UNFIT_STUB)
    moved = bytearray(stub[:first] + bytes(grow) + stub[first:])
    for index, section in enumerate(headers.sections):
        if section.raw_size:
            row = headers.section_table_offset + index * pe.SECTION.size
            _put(moved, "<I", row + 20, section.raw_offset + grow)
    return bytes(moved)


def _check_setup(kernel: Path, setup: SetupHeader, *, cmdline: str, uname: str) -> None:
    size = len(cmdline.encode())
    if size > setup.cmdline_size:
        raise SproutError(
            f"command line: {size:,} bytes, but {kernel} takes {setup.cmdline_size:,}",
            "Shorten it; the kernel would cut it without a word.",
        )
    if setup.release and setup.release != uname:
        raise SproutError(
            f"uname: {uname}, but {kernel} says {setup.release}", "Build the kernel again."
        )


def _os_release_text(fields: Mapping[str, str]) -> bytes:
    """Write os-release(5): one quoted assignment per line, in the order given."""
    lines = []
    for name, value in fields.items():
        if not (name.isidentifier() and name.isascii() and name.isupper()):
            raise SproutError(f"os-release: {name!r} is no field name", "Use A to Z, 0 to 9 and _.")
        if not value.isprintable():
            raise SproutError(f"os-release: {name}: holds control characters", "Remove them.")
        quoted = "".join(f"\\{char}" if char in '"$\\`' else char for char in value)
        lines.append(f'{name}="{quoted}"\n')
    return "".join(lines).encode()
