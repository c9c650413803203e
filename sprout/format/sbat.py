"""SBAT: which generation of which component an image holds, so that old ones can be revoked.

The format is CSV of six fields without quoting, in UTF-8 (SBAT.md of the shim project, "The CSV
format"): component, generation, vendor, package, version, URL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded

MAX_SBAT_BYTES = 64 << 10
_FIELDS = 6


@dataclass(frozen=True)
class SbatRow:
    """One component of an image and the generation of its security fixes."""

    component: str
    generation: int
    vendor: str
    package: str
    version: str
    url: str


def parse_sbat(text: str, where: object) -> tuple[SbatRow, ...]:
    """Read SBAT rows; `where` names their origin in errors.

    Raises SproutError when a row has not six fields or its generation is no positive number.
    """
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        fields = line.rstrip("\r").split(",")
        if len(fields) != _FIELDS:
            raise _error(where, number, f"{len(fields)} fields instead of {_FIELDS}")
        if not re.fullmatch("[0-9]{1,9}", fields[1]) or int(fields[1]) == 0:
            raise _error(where, number, "the generation is no positive number")
        rows.append(SbatRow(fields[0], int(fields[1]), *fields[2:]))
    return tuple(rows)


def fill_sbat(template: Path, versions: Mapping[str, str | None]) -> str:
    """Give the text of `.sbat` from a CSV file whose versions may be `{name}` from `versions`.

    A row whose version is None there is left out: the image does not have that component.

    Raises SproutError when the file cannot be read, does not parse, lacks the row `sbat` that
    consumers expect first, or names a version that is not in `versions`.
    """
    try:
        text = read_bounded(template, MAX_SBAT_BYTES).decode()
    except UnicodeDecodeError as error:
        raise SproutError(f"{template}: not UTF-8", "Save the file as UTF-8.") from error
    rows = parse_sbat(text, template)
    if not rows or rows[0].component != "sbat":
        raise _error(template, 1, "the first component is not sbat")

    def version(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in versions:
            known = ", ".join(sorted(versions))
            raise SproutError(f"{template}: {{{name}}} is no version", f"Known here: {known}.")
        value = versions[name] or ""
        if not value or not value.isprintable() or "," in value:
            raise SproutError(
                f"{template}: {{{name}}}: {value!r} cannot stand in a CSV field",
                "Give that component a version of printable characters without commas.",
            )
        return value

    lines = [line.strip() for line in text.splitlines() if line.strip()]
    absent = [f"{{{name}}}" for name, value in versions.items() if value is None]
    lines = [line for line in lines if not any(word in line for word in absent)]
    return "".join(re.sub(r"\{(\w+)\}", version, line) + "\n" for line in lines)


def _error(where: object, number: int, problem: str) -> SproutError:
    return SproutError(
        f"{where}: .sbat row {number}: {problem}",
        "A row is: component,generation,vendor,package,version,URL.",
    )
