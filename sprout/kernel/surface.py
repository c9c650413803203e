"""How much of a kernel can be executed: the code that an attacker may reach, in bytes.

Counted are the sections with SHF_EXECINSTR (System V ABI, "Sections") of vmlinux and of modules,
padding and what is freed after the boot included.
"""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.base.run import check
from sprout.base.table import load_table
from sprout.kernel.modules import read_modules

BUDGETS = Path("ci/surface.toml")
_MAX_VMLINUX_BYTES = 1 << 30
# How each kind of payload begins (scripts/extract-vmlinux), and the program that unpacks it.
_XZ, _ZSTD, _LZ4, _GZIP = b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18", b"\x1f\x8b"
_PROGRAMS = {_ZSTD: "zstd", _LZ4: "lz4"}


@dataclass(frozen=True)
class Surface:
    """Executable bytes of a kernel: by section of vmlinux, of all its modules, and how many."""

    sections: dict[str, int]
    modules: int = 0
    count: int = 0

    @property
    def total(self) -> int:
        """Give all of them."""
        return sum(self.sections.values()) + self.modules


def executable_sections(data: bytes, where: object) -> dict[str, int]:
    """Give the size of each executable section of an ELF file by its name.

    Raises SproutError, naming `where`, when it is none.
    """
    found: dict[str, int] = {}
    try:
        for section in ELFFile(io.BytesIO(data)).iter_sections():
            if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR:
                found[section.name] = found.get(section.name, 0) + section["sh_size"]
    except (ELFError, struct.error, ValueError) as error:
        raise SproutError(
            f"{where}: is no ELF file: {error}", "Build or fetch it again."
        ) from error
    return found


def count_built(kernel: Path) -> Surface:
    """Count a kernel as it was built into the directory `kernel`, its modules with it.

    Raises SproutError where a file of it cannot be read.
    """
    vmlinux = kernel / "vmlinux"
    modules = read_modules(kernel / "modules.tar")
    counted = [sum(executable_sections(data, name).values()) for name, data in modules.items()]
    sections = executable_sections(read_bounded(vmlinux, _MAX_VMLINUX_BYTES), vmlinux)
    return Surface(sections, sum(counted), len(counted))


def extract_vmlinux(image: bytes, where: object) -> bytes:
    """Give the ELF file that is compressed in a bzImage (Documentation/arch/x86/boot.rst).

    Raises SproutError, naming `where`, when there is none.
    """
    sectors = (image[0x1F1] or 4) + 1 if len(image) > 0x250 else 0
    offset, length = struct.unpack_from("<II", image, 0x248) if sectors else (0, 0)
    payload = image[sectors * 512 + offset :][:length]
    try:
        if payload.startswith(_XZ):
            data = lzma.LZMADecompressor().decompress(payload, _MAX_VMLINUX_BYTES)
        elif payload.startswith(_GZIP):
            data = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(payload, _MAX_VMLINUX_BYTES)
        else:
            # The four bytes at the end are the size, which the kernel's build appends.
            program = _PROGRAMS[payload[:4]]
            words = [program, "-dcq"]
            data = check(words, f"Install {program}.", data=payload[:-4], timeout=120)
    except (KeyError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise SproutError(
            f"{where}: its payload is compressed in no known way", "Name a bzImage."
        ) from error
    if not data.startswith(b"\x7fELF"):
        raise SproutError(f"{where}: holds no vmlinux", "Name a bzImage.")
    return data


@dataclass(frozen=True)
class SurfaceBudget:
    """The most bytes that a flavor may have: executable ones, of its image and of its vmlinux."""

    executable: int
    image: int
    vmlinux: int


def load_surface_budget(root: Path, flavor: str) -> SurfaceBudget:
    """Read a flavor's budget; raises SproutError when it has none or it is malformed."""
    table = load_table(root / BUDGETS)
    if not table.has(flavor):
        raise table.error(flavor, "has no budget", "Give it one, from what --surface prints.")
    entry = table.table(flavor)
    found = SurfaceBudget(*(entry.number(name) for name in ("executable", "image", "vmlinux")))
    entry.finish()
    return found
