"""Makes an initramfs from its list: compiles the programs and writes the archive."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sprout.base.files import read_bounded, write_file
from sprout.format import ready, stamps
from sprout.format.symbols import Symbols, write_symbols
from sprout.initramfs.compile import MAX_PROGRAM_BYTES, PROGRAMS, compile_program, find_musl
from sprout.initramfs.cpio import Entry, write_cpio
from sprout.initramfs.definition import Definition, Program, load_definition

__all__ = ["PROGRAMS", "assemble", "inputs", "linked", "write_headers"]

_MAX_FILE_BYTES = 1 << 30
_INIT = "init"


def assemble(
    definition: Path,
    target: Path,
    *,
    epoch: int,
    arch: str = "x86_64",
    symbols: Path | None = None,
) -> None:
    """Write the initramfs that the list `definition` describes to `target`, in one step.

    `epoch` is SOURCE_DATE_EPOCH in seconds; `symbols` is where the addresses of /init's functions
    are written to (see sprout.format.symbols). The same inputs give the same bytes, wherever they
    lie. Raises SproutError when the list, a source or a tool is at fault.
    """
    listed = load_definition(definition)
    entries = list(listed.entries)
    for file in listed.files:
        entries.append(Entry(file.path, file.mode, read_bounded(file.source, _MAX_FILE_BYTES)))
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


def linked(arch: str = "x86_64") -> list[Path]:
    """Give the files of this machine's C library that are linked in; a build key hashes them."""
    return list(find_musl(arch).linked())
