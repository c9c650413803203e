"""Reads the TOML that users edit: typed fields, no unknown keys, errors that name the field."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded

MAX_TOML_BYTES = 1 << 20


class Table:
    """One TOML table of one file. Every read marks its key; `finish` refuses what nobody read.

    Also a key that is asked for and is not there is one that may be: the refusal lists it.
    """

    def __init__(self, where: Path, name: str, values: dict[str, Any]) -> None:
        self.where = where
        self.name = name
        self._values = values
        self._read: set[str] = set()
        self._known: set[str] = set()

    def error(self, key: str, problem: str, hint: str) -> SproutError:
        """Give an error that names this file and the field `key`."""
        field = ".".join(part for part in (self.name, key) if part)
        return SproutError(f"{self.where}: {field}: {problem}", hint)

    def has(self, key: str) -> bool:
        """Tell whether `key` is there; it is one that may be."""
        self._known.add(key)
        return key in self._values

    def _get(self, key: str, kind: type, words: str) -> Any:  # noqa: ANN401 - callers narrow it
        self._read.add(key)
        self._known.add(key)
        if key not in self._values:
            raise self.error(key, "is missing", f"Add {key} = … ({words}).")
        value = self._values[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(key, f"is not {words}", f"Give {words} here.")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """Give a string; `default` makes it optional."""
        if default is not None and not self.has(key):
            return default
        value: str = self._get(key, str, "a string")
        return value

    def number(self, key: str, default: int | None = None) -> int:
        """Give an integer; `default` makes it optional."""
        if default is not None and not self.has(key):
            return default
        value: int = self._get(key, int, "an integer")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Give a boolean, which may be absent."""
        value: bool = self._get(key, bool, "true or false") if self.has(key) else default
        return value

    def date(self, key: str) -> datetime.date:
        """Give a calendar date."""
        value: datetime.date = self._get(key, datetime.date, "a date such as 2027-01-31")
        if isinstance(value, datetime.datetime):
            raise self.error(key, "is not a date alone", "Leave the time of day out.")
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Give an array of strings; `default` makes it optional."""
        if default is not None and not self.has(key):
            return default
        values = self._get(key, list, "an array of strings")
        for value in values:
            if not isinstance(value, str):
                raise self.error(key, "is not an array of strings", "Put quotes around each entry.")
        return tuple(values)

    def table(self, key: str) -> Table:
        """Give the table `key`."""
        values = self._get(key, dict, "a table")
        return Table(self.where, f"{self.name}.{key}" if self.name else key, values)

    def tables(self, key: str) -> list[Table]:
        """Give the array of tables `key`, empty where there is none."""
        if not self.has(key):
            return []
        values = self._get(key, list, "an array of tables")
        found = []
        name = f"{self.name}.{key}" if self.name else key
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                raise self.error(key, "is not an array of tables", f"Write [[{key}]] instead.")
            found.append(Table(self.where, f"{name}[{index}]", value))
        return found

    def items(self) -> Iterator[tuple[str, Table]]:
        """Give every key of this table with its own table, in file order."""
        for key in self._values:
            yield key, self.table(key)

    def finish(self) -> None:
        """Refuse keys that nobody asked for: they are misspelt, or belong to a newer version."""
        unknown = [key for key in self._values if key not in self._read]
        if unknown:
            known = ", ".join(sorted(self._known)) or "none"
            raise self.error(unknown[0], "is an unknown key", f"Known here: {known}.")


def load_table(path: Path) -> Table:
    """Read a TOML file of at most 1 MiB.

    Raises SproutError when it cannot be read or does not parse.
    """
    return Table(path, "", parsed_toml(read_bounded(path, MAX_TOML_BYTES), path))


def parsed_toml(data: bytes, where: Path) -> dict[str, Any]:
    """Parse TOML; messages call the file `where`.

    Raises SproutError when that is not TOML.
    """
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        hint = "Mend the line it names." if "(at line " in str(error) else "Mend it."
        if isinstance(error, UnicodeDecodeError):
            hint = "Save it as UTF-8."
        raise SproutError(f"{where}: is not TOML: {error}", hint) from error
