"""Symbol tables of the programs that we compile, kept beside them because the programs have none.

One symbol a line, `ADDRESS NAME`, sorted by address; ADDRESS in hexadecimal, counted from the start
of the program in memory (an RVA for a PE file). A symbol reaches to the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sprout.base.errors import SproutError

_LINE = re.compile(r"([0-9a-f]{1,16}) ([!-~]{1,512})")
_LLD_ELF = re.compile(r"^ +([0-9a-f]+) +[0-9a-f]+ +[0-9a-f]+ +1 {17}(\S+)$", re.MULTILINE)
_LLD_PE = re.compile(r"^ 0001:[0-9a-f]{8} +(\S+) +([0-9a-f]{16}) ", re.MULTILINE)
_LLD_PE_BASE = re.compile(r"^ Preferred load address is ([0-9a-f]{16})$", re.MULTILINE)

Symbols = tuple[tuple[int, str], ...]


def write_symbols(symbols: Iterable[tuple[int, str]]) -> str:
    """Give the table's text."""
    return "".join(f"{address:x} {name}\n" for address, name in sorted(set(symbols)))


def read_symbols(text: str, where: object) -> Symbols:
    """Read a table's text, as (address, name), sorted.

    Raises SproutError naming `where` and the line when one is no symbol.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise SproutError(f"{where}: line {number}: is no symbol", "Build it again.")
        found.append((int(match[1], 16), match[2]))
    return tuple(sorted(found))


def from_elf_map(text: str) -> Symbols:
    """Read the functions and data out of the map that ld.lld writes (-Map)."""
    return tuple(sorted((int(address, 16), name) for address, name in _LLD_ELF.findall(text)))


def from_pe_map(text: str) -> Symbols:
    """Read the functions, as RVAs, out of the map that lld-link writes (/map).

    Raises SproutError when the map names no load address.
    """
    base = _LLD_PE_BASE.search(text)
    if base is None:
        raise SproutError("lld-link: its map names no load address", "Install lld 14 or later.")
    start = int(base[1], 16)
    return tuple(sorted((int(at, 16) - start, name) for name, at in _LLD_PE.findall(text)))
