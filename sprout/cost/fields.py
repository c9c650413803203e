"""Reads JSON that may come from outside: bounded, every field typed, errors that name the field."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NoReturn

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded

# Larger than any count of a boot; JSON readers in other languages hold 64 bits.
MAX_NUMBER = (1 << 63) - 1
_MAX_TEXT = 4096


class Fields:
    """One JSON object. Every read marks its key; `finish` refuses what nobody read.

    `where` names the file and `name` the object in it; `hint` says how such a file is made.
    """

    def __init__(self, where: str, name: str, value: object, hint: str) -> None:
        self._where = where
        self._name = name
        self._hint = hint
        if not isinstance(value, dict):
            raise SproutError(f"{where}: {name or 'its top level'}: is not an object", hint)
        self._values: dict[str, object] = value
        self._read: set[str] = set()

    def error(self, key: str, problem: str) -> SproutError:
        """Give an error that names this file and the field `key`."""
        return SproutError(f"{self._where}: {self._path(key)}: {problem}", self._hint)

    def _path(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key

    def keys(self) -> list[str]:
        """Give every key, in file order."""
        return list(self._values)

    def _get(self, key: str) -> object:
        self._read.add(key)
        if key not in self._values:
            raise self.error(key, "is missing")
        return self._values[key]

    def number(self, key: str) -> int:
        """Give a whole number from 0 to 2^63 - 1."""
        return self._whole(key, self._get(key))

    def _whole(self, key: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, "is not a whole number")
        if not 0 <= value <= MAX_NUMBER:
            raise self.error(key, "is out of range")
        return value

    def numbers(self, key: str, count: int) -> list[int]:
        """Give an array of exactly `count` whole numbers from 0 to 2^63 - 1."""
        values = self._get(key)
        if not isinstance(values, list) or len(values) != count:
            raise self.error(key, f"is not an array of {count} numbers")
        return [self._whole(key, value) for value in values]

    def real(self, key: str) -> float:
        """Give a finite number from 0 up."""
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, "is not a number")
        if not 0 <= value <= MAX_NUMBER or not math.isfinite(value):
            raise self.error(key, "is out of range")
        return float(value)

    def text(self, key: str) -> str:
        """Give a string of at most 4,096 characters, not empty."""
        value = self._get(key)
        if not isinstance(value, str) or not value:
            raise self.error(key, "is not a string")
        if len(value) > _MAX_TEXT:
            raise self.error(key, "is too long")
        return value

    def true(self, key: str) -> None:
        """Take the value true, and nothing else."""
        if self._get(key) is not True:
            raise self.error(key, "is not true")

    def fields(self, key: str) -> Fields:
        """Give the object `key`."""
        return Fields(self._where, self._path(key), self._get(key), self._hint)

    def rows(self, key: str) -> list[Fields]:
        """Give the array of objects `key`."""
        values = self._get(key)
        if not isinstance(values, list):
            raise self.error(key, "is not an array")
        name = self._path(key)
        return [
            Fields(self._where, f"{name}[{index}]", value, self._hint)
            for index, value in enumerate(values)
        ]

    def finish(self) -> None:
        """Refuse keys that nobody asked for."""
        for key in self._values:
            if key not in self._read:
                raise self.error(key, "is an unknown field")


def load_json(path: Path, limit: int, hint: str) -> object:
    """Read a JSON file of at most `limit` bytes.

    Raises SproutError with `hint` when it cannot be read, is longer, is no JSON (RFC 8259), or
    has a name twice in one object.
    """
    data = read_bounded(path, limit)
    try:
        value: object = json.loads(
            data.decode(), object_pairs_hook=_unique, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as error:
        problem = "too deep" if isinstance(error, RecursionError) else str(error)
        raise SproutError(f"{path}: is no JSON: {problem}", hint) from error
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f"{name[:80]} is there twice")
        values[name] = value
    return values


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def json_text(value: object, *, columns: int = 100) -> str:
    """Write `value` as JSON that differs little where the value does, with a final newline.

    An object or array of plain values stands on one line where it fits into `columns`.
    """
    return _written(value, 0, columns) + "\n"


def _written(value: object, indent: int, columns: int) -> str:
    if not isinstance(value, dict | list) or not value:
        return json.dumps(value)
    inner = value.values() if isinstance(value, dict) else value
    if indent and not any(isinstance(part, dict | list) for part in inner):
        flat = json.dumps(value)
        if indent + len(flat) <= columns:
            return flat
    space = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [
            f"{space}{json.dumps(name)}: {_written(part, indent + 2, columns)}"
            for name, part in value.items()
        ]
        return "{\n" + ",\n".join(parts) + "\n" + " " * indent + "}"
    rows = [space + _written(part, indent + 2, columns) for part in value]
    return "[\n" + ",\n".join(rows) + "\n" + " " * indent + "]"
