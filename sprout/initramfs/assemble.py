"""Makes an initramfs from its list: compiles the programs and writes the archive."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded, write_file
from sprout.format import ready, stamps, zones
from sprout.format.symbols import Symbols, write_symbols
from sprout.initramfs.compile import MAX_PROGRAM_BYTES, PROGRAMS, compile_program, find_musl
from sprout.initramfs.cpio import Entry, write_cpio
from sprout.initramfs.definition import Definition, Program, load_definition
from sprout.initramfs.libraries import Collector, Tools, machine_library
from sprout.initramfs.linked import MAX_LINKED_BYTES, compile_linked, machine_archives

__all__ = ["PROGRAMS", "assemble", "inputs", "linked", "needs_tools", "write_headers"]

_MAX_FILE_BYTES = 1 << 30
_INIT = "init"
SDK = "sdk.tar"


def assemble(
    definition: Path,
    target: Path,
    *,
    epoch: int,
    arch: str = "x86_64",
    symbols: Path | None = None,
    linked_symbols: Path | None = None,
    tools: Path | None = None,
) -> None:
    """Write the initramfs that the list `definition` describes to `target`, in one step.

    `epoch` is SOURCE_DATE_EPOCH in seconds; `symbols` is where the addresses of /init's functions
    are written to (see sprout.format.symbols), `linked_symbols` where those of the program are that
    is linked with Xen's libraries; `tools` is the tar that the list's binaries are in,
    beside which lies the one of what its programs are linked with.
    The same inputs give the same bytes, wherever they lie. Raises SproutError when the list, a
    source or a tool is at fault.
    """
    listed = load_definition(definition)
    entries = list(listed.entries)
    for file in listed.files:
        entries.append(Entry(file.path, file.mode, read_bounded(file.source, _MAX_FILE_BYTES)))
    entries += _binaries(definition, listed, arch, tools)
    of_init: Symbols = ()
    of_linked: Symbols = ()
    with tempfile.TemporaryDirectory(prefix="sprout-initramfs-") as name:
        work = Path(name)
        write_headers(work)
        for program in listed.programs:
            if program.linked:
                entry, of_linked = _linked(program, listed.base, work, arch, tools)
                entries.append(entry)
                continue
            entry, addresses = _compiled(program, listed.base, work, arch)
            entries.append(entry)
            if program.path == _INIT:
                of_init = addresses
    if symbols is not None:
        write_file(symbols, write_symbols(of_init).encode())
    if linked_symbols is not None:
        write_file(linked_symbols, write_symbols(of_linked).encode())
    write_file(target, write_cpio(entries, epoch=epoch))


def write_headers(directory: Path) -> None:
    """Write the headers that are generated for C programs into `directory`."""
    (directory / "sprout_stamps.h").write_text(stamps.c_header())
    (directory / "sprout_ready.h").write_text(ready.c_header())
    (directory / "sprout_zones.h").write_text(zones.c_header())


def _binaries(where: Path, listed: Definition, arch: str, tools: Path | None) -> list[Entry]:
    """Give the programs that were not compiled here, with all the libraries that they need."""
    if listed.binaries and tools is None:
        raise SproutError(f"{where}: binary: there are no tools to take it from", "Build them.")
    archive = Tools(tools) if listed.binaries and tools is not None else None
    collector = Collector(where, listed.machine, arch, archive)
    for binary in listed.binaries:
        data = archive.read(binary.source) if archive is not None else b""
        collector.add(binary.path, binary.mode, data, binary.also)
    return collector.entries()


def _compiled(program: Program, base: Path, work: Path, arch: str) -> tuple[Entry, Symbols]:
    binary = work / Path(program.path).name
    addresses = compile_program(program.sources, binary, base=base, include=work, arch=arch)
    entry = Entry(program.path, program.mode, read_bounded(binary, MAX_PROGRAM_BYTES))
    return entry, addresses


def _linked(
    program: Program, base: Path, work: Path, arch: str, tools: Path | None
) -> tuple[Entry, Symbols]:
    if tools is None:
        raise SproutError(f"{base}: there are no libraries for {program.path}", "Build them.")
    binary = work / Path(program.path).name
    sdk = tools.with_name(SDK)
    sources = program.sources
    addresses = compile_linked(sources, binary, base=base, include=work, sdk=sdk, arch=arch)
    entry = Entry(program.path, program.mode, read_bounded(binary, MAX_LINKED_BYTES))
    return entry, addresses


def inputs(definition: Path) -> list[Path]:
    """Give every file of the tree whose content decides the archive, sorted.

    These are the list, the C sources with all headers beside them, and the files it names.
    """
    listed = load_definition(definition)
    found = {definition, *(file.source for file in listed.files)}
    found.update(_sources(listed))
    return sorted(found)


def _sources(listed: Definition) -> set[Path]:
    sources = {source for program in listed.programs for source in program.sources}
    headers = {header for source in sources for header in source.parent.glob("*.h")}
    return sources | headers


def needs_tools(definition: Path) -> bool:
    """Tell whether the list has programs of the tools, or what is linked with their libraries."""
    listed = load_definition(definition)
    return bool(listed.binaries) or any(program.linked for program in listed.programs)


def linked(definition: Path | None = None, arch: str = "x86_64") -> list[Path]:
    """Give this machine's files that get into the archive; a build key hashes them.

    These are the C library's that programs are linked with, and the shared libraries that the list
    `definition` takes from the machine. Raises SproutError when one is missing.
    """
    found = list(find_musl(arch).linked())
    if definition is not None:
        listed = load_definition(definition)
        found += [machine_library(name, arch) for name in listed.machine]
        if any(program.linked for program in listed.programs):
            found += machine_archives(arch)
    return found
