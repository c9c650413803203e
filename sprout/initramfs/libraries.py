"""Finds the shared libraries that programs of an initramfs need, by reading their ELF files.

A library comes from the archive of the tools where that has it, else from this machine. Those of
the machine are named in the list too, with the names that programs use: so their bytes are in the
build's key before anything is built, and nobody's code gets into a host unseen.
"""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.initramfs.cpio import Entry
from sprout.initramfs.elf import Elf, read_elf

_MAX_TAR_BYTES = 256 << 20
_MAX_FILE_BYTES = 64 << 20
_MAX_FILES = 4096
_MODE = stat.S_IFREG | 0o755


def directories(arch: str) -> tuple[str, ...]:
    """Give where this machine's loader looks for libraries (ld.so(8); Debian's multiarch)."""
    multiarch = f"{arch}-linux-gnu"
    return (f"usr/lib/{multiarch}", f"lib/{multiarch}", "usr/lib64", "lib64", "usr/lib", "lib")


def machine_library(name: str, arch: str, root: Path = Path("/")) -> Path:
    """Give where this machine has the library `name`; raises SproutError where it has none."""
    for directory in directories(arch):
        path = root / directory / name
        if path.is_file():
            return path
    raise SproutError(
        f"{name}: this machine has no such library",
        "Install the package that has it, or correct the name in the list.",
    )


class Tools:
    """The files of a tar that a step of the build made, by their paths."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, bytes] = {}
        data = read_bounded(path, _MAX_TAR_BYTES)
        links: dict[str, str] = {}
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
                for number, member in enumerate(archive):
                    if number >= _MAX_FILES or member.size > _MAX_FILE_BYTES:
                        raise SproutError(f"{path}: is too large for tools", "Build it again.")
                    name = str(PurePosixPath(member.name))
                    stream = archive.extractfile(member) if member.isreg() else None
                    if stream is not None:
                        self._files[name] = stream.read()
                    elif member.issym():
                        links[name] = str(PurePosixPath(name).parent / member.linkname)
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise SproutError(f"{path}: is no tar: {error}", "Build it again.") from error
        # A library's link of its short name beside it; what leads elsewhere is not followed.
        for name, target in links.items():
            if target in self._files:
                self._files.setdefault(name, self._files[target])

    def has(self, name: str) -> bool:
        """Tell whether there is a file of that path."""
        return name in self._files

    def read(self, name: str) -> bytes:
        """Give a file's bytes; raises SproutError where there is none."""
        if name not in self._files:
            raise SproutError(f"{self.path}: has no {name}", "Correct the list of the initramfs.")
        return self._files[name]


@dataclass
class Collector:
    """Gathers programs with all that they need; `machine` names this machine's libraries."""

    where: Path
    machine: Sequence[str]
    arch: str
    tools: Tools | None = None
    root: Path = Path("/")
    _files: dict[str, Entry] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)

    def add(self, name: str, mode: int, data: bytes, also: Sequence[str]) -> None:
        """Add a program at the path `name`, its loader, libraries, and the libraries `also`.

        Raises SproutError when it is no ELF file, or needs a library that is in neither place.
        """
        self._files[name] = Entry(name, mode, data)
        elf = self._read(name, data)
        if elf.loader is None:
            raise SproutError(
                f"{self.where}: {name}: is no program that a loader starts",
                "List a static program as a [[file]] with mode 0755.",
            )
        loader = elf.loader.lstrip("/")
        self._machine(PurePosixPath(loader).name, loader, name)
        for library in (*elf.needed, *also):
            self._library(library, name, PurePosixPath(loader).name)

    def entries(self) -> list[Entry]:
        """Give all files; raises SproutError when the list names a library that nobody needs."""
        unused = [name for name in self.machine if name not in self._used]
        if unused:
            raise SproutError(
                f"{self.where}: libraries.machine: no program needs {unused[0]}", "Remove it."
            )
        return list(self._files.values())

    def _library(self, library: str, needed_by: str, loader: str) -> None:
        if library == loader:
            return
        name = f"{directories(self.arch)[0]}/{library}"
        if name in self._files:
            return
        if self.tools is not None and self.tools.has(name):
            data = self.tools.read(name)
            self._files[name] = Entry(name, _MODE, data)
        else:
            data = self._machine(library, name, needed_by)
        for further in self._read(name, data).needed:
            self._library(further, name, loader)

    def _machine(self, library: str, name: str, needed_by: str) -> bytes:
        if library not in self.machine:
            raise SproutError(
                f"{self.where}: libraries.machine: {needed_by} needs {library}, which the tools do "
                "not have",
                f'Add "{library}" to that list, if a host may have it.',
            )
        self._used.add(library)
        if name not in self._files:
            data = read_bounded(machine_library(library, self.arch, self.root), _MAX_FILE_BYTES)
            self._files[name] = Entry(name, _MODE, data)
        return self._files[name].data

    def _read(self, name: str, data: bytes) -> Elf:
        elf = read_elf(data, f"{self.where}: {name}")
        if elf.search is not None:
            raise SproutError(
                f"{self.where}: {name}: looks for libraries in {elf.search}, which is not in the "
                "initramfs",
                "Build it without a run path (DT_RUNPATH).",
            )
        return elf
