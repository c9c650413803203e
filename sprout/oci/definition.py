"""Reads `oci/artifacts.toml`: what an image of a tree is packed as."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.table import Table, load_table
from sprout.oci.names import check_file_name

SOURCES = ("kernel", "config.gz", "metadata", "initramfs", "image", "disk", "addons", "sdk")
_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}")
_SUFFIX = re.compile(r"(?:[-._][a-z0-9]+)*")
_MEDIA_TYPE = re.compile(r"[a-z]+/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")


@dataclass(frozen=True)
class FileRow:
    """One file of an artifact: its name, which part of the build it is, its media type.

    An `optional` one is left out where the build has no such part.
    """

    name: str
    source: str
    media_type: str
    optional: bool = False


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


def present(definitions: Sequence[Definition], sources: Collection[str]) -> list[Definition]:
    """Give what of the definitions there is to pack, where the build has the parts `sources`.

    Raises SproutError for a part that is missing and not optional.
    """
    found = []
    for definition in definitions:
        missing = [row for row in definition.files if row.source not in sources]
        for row in missing:
            if not row.optional:
                raise SproutError(
                    f"{definition.kind}: {row.name}: this image has no {row.source}",
                    "Write optional = true for that file in oci/artifacts.toml, or leave it out.",
                )
        files = tuple(row for row in definition.files if row not in missing)
        if files:
            found.append(replace(definition, files=files))
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
    optional = row.flag("optional", default=False)
    row.finish()
    if source not in SOURCES:
        raise row.error("source", f"there is no {source}", f"Known here: {', '.join(SOURCES)}.")
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise row.error("media_type", "is no media type", "Write it as application/NAME.")
    name = check_file_name(name, f"{row.where}: {row.name}.name")
    return FileRow(name, source, media_type, optional)


def _filled(table: Table, key: str, text: str, words: Mapping[str, str]) -> str:
    try:
        return text.format_map(words)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        known = ", ".join(f"{{{word}}}" for word in words)
        raise table.error(
            key, "has a word in braces that is unknown", f"Known: {known}."
        ) from error
