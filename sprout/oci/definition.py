"""Reads `oci/artifacts.toml`: what an image of a tree is packed as."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.table import Table, load_table
from sprout.oci.names import check_file_name

SOURCES = ("kernel", "config.gz", "metadata", "initramfs", "image", "disk")
_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}")
_SUFFIX = re.compile(r"(?:[-._][a-z0-9]+)*")
_MEDIA_TYPE = re.compile(r"[a-z]+/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")


@dataclass(frozen=True)
class FileRow:
    """One file of an artifact: its name, which part of the build it is, its media type."""

    name: str
    source: str
    media_type: str


@dataclass(frozen=True)
class Definition:
    """One kind of artifact, as `oci/artifacts.toml` defines it."""

    kind: str
    suffix: str
    artifact_type: str
    annotations: dict[str, str]
    files: tuple[FileRow, ...]


def load_definitions(path: Path, words: Mapping[str, str]) -> list[Definition]:
    """Read the definitions; `words` are filled in for {name} and the like.

    Raises SproutError naming the field that is malformed.
    """
    found = []
    for kind, table in load_table(path).items():
        if not _KIND.fullmatch(kind):
            raise table.error("", "is no name", "Use lower-case letters, digits and dashes.")
        found.append(_definition(kind, table, words))
    if len({row.suffix for row in found}) != len(found):
        raise SproutError(f"{path}: two artifacts have the same suffix", "Give each its own.")
    return found


def _definition(kind: str, table: Table, words: Mapping[str, str]) -> Definition:
    notes: dict[str, str] = {}
    for text in table.texts("annotations", ()):
        name, equals, value = _filled(table, "annotations", text, words).partition("=")
        if not equals or name in notes:
            raise table.error(
                "annotations", "is no list of names", 'Write "name=value", each once.'
            )
        notes[name] = value
    files = tuple(_file(row, words) for row in table.tables("files"))
    if not files or len({row.name for row in files}) != len(files):
        raise table.error("files", "is empty or has a name twice", "List each file once.")
    suffix, artifact_type = table.text("suffix"), table.text("artifact_type")
    if not _SUFFIX.fullmatch(suffix):
        raise table.error("suffix", "is no end of a tag", 'Write it as "-disk".')
    if not _MEDIA_TYPE.fullmatch(artifact_type):
        raise table.error("artifact_type", "is no media type", "Write it as application/NAME.")
    table.finish()
    return Definition(kind, suffix, artifact_type, notes, files)


def _file(row: Table, words: Mapping[str, str]) -> FileRow:
    name, source = _filled(row, "name", row.text("name"), words), row.text("source")
    media_type = row.text("media_type")
    row.finish()
    if source not in SOURCES:
        raise row.error("source", f"there is no {source}", f"Known here: {', '.join(SOURCES)}.")
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise row.error("media_type", "is no media type", "Write it as application/NAME.")
    return FileRow(check_file_name(name, f"{row.where}: {row.name}.name"), source, media_type)


def _filled(table: Table, key: str, text: str, words: Mapping[str, str]) -> str:
    try:
        return text.format_map(words)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        known = ", ".join(f"{{{word}}}" for word in words)
        raise table.error(
            key, "has a word in braces that is unknown", f"Known: {known}."
        ) from error
