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

__all__ = ["PROGRAMS", "assemble", "inputs", "linked", "needs_tools", "write_headers"]

_MAX_FILE_BYTES = 1 << 30
_INIT = "init"


def assemble(
    definition: Path,
    target: Path,
    *,
    epoch: int,
    arch: str = "x86_64",
    symbols: Path | None = None,
    tools: Path | None = None,
) -> None:
    """Write the initramfs that the list `definition` describes to `target`, in one step.

    `epoch` is SOURCE_DATE_EPOCH in seconds; `symbols` is where the addresses of /init's functions
    are written to (see sprout.format.symbols); `tools` is the tar that the list's binaries are in.
    The same inputs give the same bytes, wherever they lie. Raises SproutError when the list, a
    source or a tool is at fault.
    """
    listed = load_definition(definition)
    entries = list(listed.entries)
    for file in listed.files:
        entries.append(Entry(file.path, file.mode, read_bounded(file.source, _MAX_FILE_BYTES)))
    entries += _binaries(definition, listed, arch, tools)
    of_init: Symbols = ()
    with tempfile.TemporaryDirectory(prefix="sprout-initramfs-") as name:
        work = Path(name)
        write_headers(work)
        for program in listed.programs:
            entry, addresses = _compiled(program, listed.base, work, arch)
            entries.append(entry)
            if program.path == _INIT:
                of_init = addresses
    if symbols is not None:
        write_file(symbols, write_symbols(of_init).encode())
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
    """Tell whether the list has programs that are in the tar of the tools."""
    return bool(load_definition(definition).binaries)


def linked(definition: Path | None = None, arch: str = "x86_64") -> list[Path]:
    """Give this machine's files that get into the archive; a build key hashes them.

    These are the C library's that programs are linked with, and the shared libraries that the list
    `definition` takes from the machine. Raises SproutError when one is missing.
    """
    listed = load_definition(definition).machine if definition is not None else ()
    return [*find_musl(arch).linked(), *(machine_library(name, arch) for name in listed)]
