"""Holds an image's SBAT generations against the level, as the boot stub does on the machine."""

from __future__ import annotations

from collections.abc import Mapping

from sprout.base.errors import SproutError
from sprout.format import levels, pe
from sprout.format.sbat import MAX_SBAT_BYTES, parse_sbat

_HINT = "Build the image again; its section disagrees with what it was made from."


def check_generations(
    data: pe.Buffer, where: object, lowest: Mapping[str, int] | None
) -> tuple[str, ...]:
    """Give, in words, each component of the image whose generation is below `lowest`.

    `lowest` None means that no level is set, which refuses nothing. Raises SproutError when a
    section is damaged, or when `.sbat`, which other tools read, and `.sbatlvl`, which the stub
    reads, say different things.
    """
    table = _section(data, where, levels.SECTION, levels.MAX_BYTES)
    if table is None:
        missing = f"a level is set, and the image has no {levels.SECTION} to hold against it"
        return () if lowest is None else (missing,)
    rows = levels.unpack(table, where)
    text = _section(data, where, ".sbat", MAX_SBAT_BYTES) or b""
    try:
        said = parse_sbat(text.rstrip(b"\0").decode("utf-8"), where)
    except UnicodeDecodeError:
        raise pe.error(where, ".sbat", "is not UTF-8") from None
    if levels.generations(said, where) != rows:
        raise SproutError(f"{where}: {levels.SECTION}: disagrees with .sbat", _HINT)
    if lowest is None:
        return ()
    return tuple(
        f"{component} is generation {generation}, below the level {lowest[component]}"
        for component, generation in rows.items()
        if generation < lowest.get(component, 0)
    )


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
