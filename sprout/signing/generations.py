"""Holds an image's SBAT generations against the level, as the boot stub does on the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sprout.base.errors import SproutError
from sprout.format import levels, pe
from sprout.format.sbat import MAX_SBAT_BYTES, SbatRow, parse_sbat

STUB = "sprout-stub"  # the component that every image with the boot stub has
_HINT = "Build the image again; its section disagrees with what it was made from."


@dataclass(frozen=True)
class Below:
    """What is wrong with an image's generations, in words, and whether its boot stub refuses it."""

    text: str
    by_stub: bool


def check_generations(
    data: pe.Buffer, where: object, lowest: Mapping[str, int] | None
) -> tuple[Below, ...]:
    """Give each component of the image whose generation is below `lowest`.

    `lowest` None means that no level is set, which refuses nothing. Raises SproutError when a
    section is damaged, or when `.sbat`, which other tools read, and `.sbatlvl`, which the stub
    reads, say different things.
    """
    table = _section(data, where, levels.SECTION, levels.MAX_BYTES)
    if table is None:
        if lowest is None:
            return ()
        text = f"a level is set, and the image has no {levels.SECTION} to hold against it"
        return (Below(text, any(row.component == STUB for row in _rows(data, where))),)
    rows = levels.unpack(table, where)
    said = _rows(data, where)
    if levels.generations(said, where) != rows:
        raise SproutError(f"{where}: {levels.SECTION}: disagrees with .sbat", _HINT)
    if lowest is None:
        return ()
    return tuple(
        Below(f"{component} is generation {generation}, below the level {lowest[component]}", True)
        for component, generation in rows.items()
        if generation < lowest.get(component, 0)
    )


def _rows(data: pe.Buffer, where: object) -> tuple[SbatRow, ...]:
    text = _section(data, where, ".sbat", MAX_SBAT_BYTES) or b""
    try:
        return tuple(parse_sbat(text.rstrip(b"\0").decode("utf-8"), where))
    except UnicodeDecodeError:
        raise pe.error(where, ".sbat", "is not UTF-8") from None


def _section(data: pe.Buffer, where: object, name: str, limit: int) -> bytes | None:
    found = [row for row in pe.parse_headers(data, where).sections if row.name == name]
    if not found:
        return None
    if len(found) > 1:
        raise pe.error(where, name, "is there twice")
    row = found[0]
    size = min(row.raw_size, row.virtual_size or row.raw_size)
    if size > limit:
        raise pe.error(where, name, f"is longer than {limit:,} bytes")
    return bytes(data[row.raw_offset : row.raw_offset + size])
