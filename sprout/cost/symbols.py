"""Names for addresses of a counted boot: which program an address belongs to, and which function.

The kernel's come from System.map, its decompressor's from its ELF file, those of stub and init
from the tables written beside them (sprout.format.symbols), the firmware's modules from the
firmware volume (sprout.cost.firmware).
"""

from __future__ import annotations

import bisect
import struct
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.format.symbols import read_symbols

KERNEL_TEXT = 0xFFFFFFFF80000000
KERNEL_HALF = 0xFFFF800000000000
LOW_END = 1 << 40  # below: firmware and loaders, one to one; above: user space (counter.h)

_MAX_BYTES = 64 << 20
_CODE = "tTwW"
_THUNKS = ("__x86_indirect_thunk_", "__SCT__")


@dataclass(frozen=True)
class Table:
    """Functions by address, of one program; an address belongs to the last one not above it."""

    addresses: tuple[int, ...]
    names: tuple[str, ...]
    by_name: dict[str, int]

    def name(self, address: int) -> str | None:
        """Give the function at `address`, None before the first one."""
        index = bisect.bisect_right(self.addresses, address) - 1
        return self.names[index] if index >= 0 else None

    def begins(self, address: int) -> bool:
        """Tell whether a function begins at `address`."""
        index = bisect.bisect_left(self.addresses, address)
        return index < len(self.addresses) and self.addresses[index] == address

    def address(self, name: str) -> int | None:
        """Give where the function `name` begins, None where there is none."""
        return self.by_name.get(name)

    def needed(self, name: str, where: object) -> int:
        """Give where the function `name` begins; raises SproutError where there is none."""
        address = self.address(name)
        if address is None:
            raise SproutError(f"{where}: has no symbol {name}", "Build it again from this tree.")
        return address


def table(symbols: list[tuple[int, str]]) -> Table:
    """Make a table; of several names for one address the first without an underscore stands."""
    unique: dict[int, str] = {}
    by_name: dict[str, int] = {}
    for address, name in sorted(symbols, key=lambda row: (row[0], row[1].startswith("_"), row[1])):
        unique.setdefault(address, name)
        by_name.setdefault(name, address)
    return Table(tuple(unique), tuple(unique.values()), by_name)


def read_table(path: Path) -> Table:
    """Read a table in the form of sprout.format.symbols; raises SproutError when it is none."""
    text = read_bounded(path, _MAX_BYTES).decode("ascii", "replace")
    return table(list(read_symbols(text, path)))


def read_system_map(path: Path) -> Table:
    """Read the functions out of a kernel's System.map; raises SproutError when it is none."""
    found = []
    text = read_bounded(path, _MAX_BYTES).decode("ascii", "replace")
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(" ")
        if len(words) != 3:
            raise SproutError(f"{path}: line {number}: is no symbol", "Build the kernel again.")
        if words[1] in _CODE:
            found.append((_hexadecimal(words[0], path, number), words[2]))
    return table(found)


def _hexadecimal(word: str, path: Path, number: int) -> int:
    try:
        return int(word, 16)
    except ValueError:
        raise SproutError(
            f"{path}: line {number}: {word!r} is no address", "Build the kernel again."
        ) from None


def read_elf(path: Path) -> Table:
    """Read the functions out of an ELF file's symbol table.

    Raises SproutError when it is no ELF file or has no symbols.
    """
    found: list[tuple[int, str]] = []
    try:
        with path.open("rb") as stream:
            for section in ELFFile(stream).iter_sections():
                if isinstance(section, SymbolTableSection):
                    for symbol in section.iter_symbols():
                        # Assembler code carries no type; the symbols of files and sections no name.
                        if symbol["st_info"]["type"] in ("STT_FUNC", "STT_NOTYPE") and symbol.name:
                            found.append((symbol["st_value"], symbol.name))
    except (ELFError, OSError, ValueError, KeyError, struct.error) as error:
        raise SproutError(
            f"{path}: no ELF file with symbols: {error}", "Build it again."
        ) from error
    return table(found)


def thunks(kernel: Table) -> list[tuple[int, int]]:
    """Give the ranges of the kernel's functions that only pass a call on.

    They are retpolines and the trampolines of static calls (arch/x86/lib/retpoline.S,
    include/linux/static_call.h).
    """
    ranges: list[tuple[int, int]] = []
    ends = (*kernel.addresses[1:], kernel.addresses[-1] + 1)
    for address, name, end in zip(kernel.addresses, kernel.names, ends, strict=True):
        if not name.startswith(_THUNKS):
            continue
        if ranges and ranges[-1][1] == address:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((address, end))
    return ranges
