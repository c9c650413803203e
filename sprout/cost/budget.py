"""Budgets: what a boot may cost at most, `ci/budgets.toml`.

[zone.uefi]                      # image and boot kind
memory_kib = 70_000

[zone.uefi.bytes]
kernel = 5_000_000

[zone.uefi.phases]
kernel = { instructions = 60_000_000, wait_ns = 0 }
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.base.table import MAX_TOML_BYTES, Table, parsed_toml
from sprout.cost.figures import Figure
from sprout.cost.model import Measurement

BUDGETS = Path("ci/budgets.toml")
_BOOTS = ("uefi", "pvh")
_HEADER = re.compile(r"\s*\[([^\[\]]+)\]")
_ENTRY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"))*)\s*=""")


@dataclass(frozen=True)
class Budget:
    """The most that each figure of one image's boot may be; `lines` says where that stands."""

    where: Path
    limits: dict[Figure, int]
    lines: dict[Figure, int]

    def place(self, figure: Figure) -> str:
        """Give file and line of a figure's budget."""
        return f"{self.where}:{self.lines[figure]}"


def load_budgets(path: Path, *, named: Path | None = None) -> dict[tuple[str, str], Budget]:
    """Read the budgets by image and boot kind; messages call the file `named`.

    Raises SproutError, naming file, line and field, for what is no budget.
    """
    data, path = read_bounded(path, MAX_TOML_BYTES), named or path
    values = parsed_toml(data, path)
    lines = _Lines(data.decode())
    found = {}
    for image, boots in values.items():
        for boot, entry in _tables(path, lines, (image,), boots):
            if boot not in _BOOTS:
                raise _error(path, lines, (image, boot), "is no kind of boot", "Use uefi or pvh.")
            found[image, boot] = _budget(path, lines, (image, boot), entry)
    return found


def template(measurement: Measurement) -> str:
    """Give budgets for a measurement as TOML, 5 % above its figures, rounded up to 3 digits."""
    name = f"{measurement.image}.{measurement.boot}"
    rows = [f"[{name}]", f"memory_kib = {_room(measurement.memory_kib)}", "", f"[{name}.bytes]"]
    rows += [f"{key} = {_room(size)}" for key, size in measurement.bytes_of.items()]
    rows += ["", f"[{name}.phases]"]
    rows += [
        f"{phase.name} = {{ instructions = {_room(phase.instructions)},"
        f" wait_ns = {_room(phase.wait_ns)} }}"
        for phase in measurement.phases
    ]
    return "\n".join(rows) + "\n"


def _room(value: int) -> str:
    """Give a round number about 5 % above `value`, written for people."""
    amount = value + -(-value // 20)
    unit = 10 ** max(len(str(amount)) - 3, 0)
    return f"{-(-amount // unit) * unit:_}"


class _Lines:
    """Where each table and key of a TOML text begins, as well as can be told without parsing it."""

    def __init__(self, text: str) -> None:
        self._found: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        for number, line in enumerate(text.splitlines(), 1):
            if header := _HEADER.match(line):
                table = _words(header[1])
                self._found.setdefault(table, number)
            elif entry := _ENTRY.match(line):
                self._found.setdefault((*table, *_words(entry[1])), number)

    def of(self, path: tuple[str, ...]) -> int:
        """Give the line of `path`, else of the table that it is in."""
        while path and path not in self._found:
            path = path[:-1]
        return self._found.get(path, 1)


def _words(dotted: str) -> tuple[str, ...]:
    return tuple(word.strip().strip("\"'") for word in dotted.split("."))


def _error(
    path: Path, lines: _Lines, field: tuple[str, ...], problem: str, hint: str
) -> SproutError:
    return SproutError(f"{path}:{lines.of(field)}: {'.'.join(field)}: {problem}", hint)


def _tables(
    path: Path, lines: _Lines, field: tuple[str, ...], value: object
) -> list[tuple[str, dict[str, Any]]]:
    """Give the tables of a table; refuse anything else in it."""
    if not isinstance(value, dict):
        raise _error(path, lines, field, "is not a table", "Write it as [IMAGE.BOOT].")
    for name, entry in value.items():
        if not isinstance(entry, dict):
            raise _error(path, lines, (*field, name), "is not a table", "Give a table here.")
    return list(value.items())


def _budget(path: Path, lines: _Lines, field: tuple[str, ...], values: dict[str, Any]) -> Budget:
    limits: dict[Figure, int] = {}
    places: dict[Figure, int] = {}

    def take(figure: Figure, source: dict[str, Any], at: tuple[str, ...], key: str) -> None:
        line = lines.of((*at, key))
        number = Table(Path(f"{path}:{line}"), ".".join(at), source).number(key)
        if number < 0:
            raise _error(path, lines, (*at, key), "is less than 0", "Give the most it may be.")
        limits[figure] = number
        places[figure] = line

    def known(source: dict[str, Any], at: tuple[str, ...], keys: tuple[str, ...]) -> None:
        for key in source:
            if key not in keys:
                hint = f"Known here: {', '.join(keys)}."
                raise _error(path, lines, (*at, key), "is an unknown key", hint)

    known(values, field, ("memory_kib", "bytes", "phases"))
    take(Figure("memory_kib", "memory"), values, field, "memory_kib")
    for key in ("bytes", "phases"):
        if not isinstance(values.get(key), dict):
            raise _error(path, lines, (*field, key), "is missing or no table", "Add that table.")
    for name in values["bytes"]:
        take(Figure("bytes", name), values["bytes"], (*field, "bytes"), name)
    for name, phase in _tables(path, lines, (*field, "phases"), values["phases"]):
        at = (*field, "phases", name)
        known(phase, at, ("instructions", "wait_ns"))
        take(Figure("instructions", name), phase, at, "instructions")
        take(Figure("wait_ns", name), phase, at, "wait_ns")
    return Budget(path, limits, places)
