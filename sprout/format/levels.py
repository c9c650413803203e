"""SBAT levels: the lowest generation of each component that still boots, as one binary table.

The same table is used twice. A fleet owner writes it as the authenticated variable `SbatLevel`
(vendor GUID of sprout.format.stamps): what a machine still accepts. An image carries it in the
section `.sbatlvl`, beside the text of `.sbat` that it is made from: what the image holds, in a form
that the stub reads without parsing text. The stub refuses an image of which one component's
generation is below the variable's; components that only one of the two names do not matter (as in
SBAT.md of the shim project, "Comparing generations").

All numbers are little-endian: a header, then rows sorted by component.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping

from sprout.base.errors import SproutError
from sprout.format.sbat import SbatRow

VARIABLE = "SbatLevel"
# UEFI 2.10, section 8.2.1: non-volatile, boot service and runtime access, and writable by the owner
# of a key alone (time-based authenticated write access).
ATTRIBUTES = 0x27
SECTION = ".sbatlvl"
MAGIC = 0x4C564253  # "SBVL"
VERSION = 1
MAX_ROWS = 64
MAX_GENERATION = (1 << 31) - 1

_HEADER = struct.Struct("<IHH")
_NAME_SIZE = 24
_ROW = struct.Struct(f"<{_NAME_SIZE}sII")
MAX_BYTES = _HEADER.size + MAX_ROWS * _ROW.size
_COMPONENT = re.compile(rf"[!-+\--~]{{1,{_NAME_SIZE - 1}}}")  # printable ASCII, no space, no comma
_HINT = "Write the table again with the tool of this version."


def generations(rows: Iterable[SbatRow], where: object) -> dict[str, int]:
    """Give each component's generation from the rows of `.sbat`.

    Raises SproutError naming `where` when a component is there twice.
    """
    found: dict[str, int] = {}
    for row in rows:
        if row.component in found:
            raise SproutError(
                f"{where}: .sbat: component {row.component} is there twice", "Leave one row of it."
            )
        found[row.component] = row.generation
    return found


def pack(rows: Mapping[str, int]) -> bytes:
    """Give the table's bytes: `rows` holds component and generation, in any order.

    Raises SproutError when there are more than 64, a component is not 1 to 23 characters of
    printable ASCII without space and comma, or a generation is not 1 to 2^31 - 1.
    """
    if len(rows) > MAX_ROWS:
        raise SproutError(
            f"SBAT level: {len(rows)} components, above {MAX_ROWS}", "Leave out what is not used."
        )
    table = _HEADER.pack(MAGIC, VERSION, len(rows))
    for component, generation in sorted(rows.items()):
        if _COMPONENT.fullmatch(component) is None:
            raise SproutError(
                f"SBAT level: component {component!r}: does not fit in the table",
                f"Use 1 to {_NAME_SIZE - 1} printable ASCII characters, no space and no comma.",
            )
        if not 1 <= generation <= MAX_GENERATION:
            raise SproutError(
                f"SBAT level: component {component}: generation {generation} is out of range",
                f"Use 1 to {MAX_GENERATION}.",
            )
        table += _ROW.pack(component.encode(), generation, 0)
    return table


def unpack(data: bytes, where: object) -> dict[str, int]:
    """Read the table's bytes: each component's generation, sorted by component.

    Raises SproutError naming `where` and the field when the bytes are no table that the stub takes.
    """
    if len(data) < _HEADER.size:
        raise _error(where, "header", "is cut short")
    magic, version, count = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise _error(where, "magic", f"0x{magic:08x} instead of 0x{MAGIC:08x}")
    if version != VERSION:
        raise _error(where, "version", f"{version} instead of {VERSION}")
    if count > MAX_ROWS or len(data) != _HEADER.size + count * _ROW.size:
        raise _error(where, "count", f"{count} rows cannot be in {len(data):,} bytes")
    found: dict[str, int] = {}
    last = ""
    for number, (raw, generation, reserved) in enumerate(
        _ROW.iter_unpack(data[_HEADER.size :]), start=1
    ):
        component = raw.rstrip(b"\0").decode("latin-1")
        if _COMPONENT.fullmatch(component) is None:
            raise _error(where, f"row {number}: component", "is no name")
        if component <= last:
            raise _error(where, f"row {number}: component", "is out of order")
        if not 1 <= generation <= MAX_GENERATION:
            raise _error(where, f"row {number}: generation", f"{generation} is out of range")
        if reserved:
            raise _error(where, f"row {number}: reserved", "is not 0")
        found[component] = generation
        last = component
    return found


def c_header() -> str:
    """Give the C header `sprout_levels.h` that the stub includes."""
    return f"""/* Generated from sprout/format/levels.py; do not edit. */
#ifndef SPROUT_LEVELS_H
#define SPROUT_LEVELS_H
#include <stdint.h>

#define SPROUT_LEVELS_VARIABLE "{VARIABLE}"
#define SPROUT_LEVELS_ATTRIBUTES 0x{ATTRIBUTES:x}u
#define SPROUT_LEVELS_SECTION "{SECTION}"
#define SPROUT_LEVELS_MAGIC 0x{MAGIC:08x}u
#define SPROUT_LEVELS_VERSION {VERSION}u
#define SPROUT_LEVELS_MAX_ROWS {MAX_ROWS}u
#define SPROUT_LEVELS_MAX_GENERATION {MAX_GENERATION}u
#define SPROUT_LEVELS_MAX_BYTES {MAX_BYTES}u

struct sprout_levels {{
    uint32_t magic;   /* SPROUT_LEVELS_MAGIC */
    uint16_t version; /* SPROUT_LEVELS_VERSION */
    uint16_t count;   /* rows, sorted by component */
}};

struct sprout_level {{
    char component[{_NAME_SIZE}]; /* printable ASCII, filled up with at least one NUL */
    uint32_t generation; /* 1 to SPROUT_LEVELS_MAX_GENERATION */
    uint32_t reserved;   /* 0 */
}};
_Static_assert(sizeof(struct sprout_levels) == {_HEADER.size}, "the header has no padding");
_Static_assert(sizeof(struct sprout_level) == {_ROW.size}, "a row has no padding");

#endif
"""


def _error(where: object, field: str, problem: str) -> SproutError:
    return SproutError(f"{where}: SBAT level: {field}: {problem}", _HINT)
