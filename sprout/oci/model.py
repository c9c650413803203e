"""Descriptors, manifests and indexes (OCI image-spec 1.1), read strictly and within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sprout.oci.digest import digest_of, parse_digest
from sprout.oci.refused import malformed
from sprout.oci.strict_json import list_field, parse_json, table_field, text_field, write_json

MAX_MANIFEST_BYTES = 4 << 20
MAX_BLOB_BYTES = 1 << 40
_MAX_ENTRIES = 1024
_MAX_MANIFESTS_BYTES = 32 << 20
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
TITLE = "org.opencontainers.image.title"
REF_NAME = "org.opencontainers.image.ref.name"
VERSION = "org.opencontainers.image.version"
# The image of a tree that an artifact is of: what a signed minimum version is about.
IMAGE = "vnd.sprout.image"
# What a push appends to the tag for this artifact of a layout; stands in `index.json` alone.
SUFFIX = "vnd.sprout.tag.suffix"
EMPTY_BYTES = b"{}"


@dataclass(frozen=True)
class Descriptor:
    """What names one blob or manifest: its kind, digest and size (descriptor.md).

    `architecture` is that of its platform, in Go's words ("amd64").
    """

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = field(default_factory=dict)
    architecture: str | None = None
    artifact_type: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Give the descriptor as its JSON object."""
        found: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.annotations:
            found["annotations"] = dict(sorted(self.annotations.items()))
        if self.architecture is not None:
            found["platform"] = {"architecture": self.architecture, "os": "linux"}
        if self.artifact_type is not None:
            found["artifactType"] = self.artifact_type
        return found


@dataclass(frozen=True)
class Manifest:
    """One artifact for one architecture, or one referrer of another (manifest.md)."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    media_type: str = MANIFEST

    def to_bytes(self) -> bytes:
        """Give the manifest as it is stored and hashed."""
        found: dict[str, Any] = {
            **_head(MANIFEST, self.artifact_type),
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        return _with_rest(found, self.subject, self.annotations)

    def blobs(self) -> tuple[Descriptor, ...]:
        """Give everything that the manifest needs: its config, then its layers."""
        return (self.config, *self.layers)


@dataclass(frozen=True)
class Index:
    """A list of manifests: one per architecture, or the referrers of one (image-index.md)."""

    manifests: tuple[Descriptor, ...]
    artifact_type: str | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    media_type: str = INDEX

    def to_bytes(self) -> bytes:
        """Give the index as it is stored and hashed."""
        found: dict[str, Any] = {
            **_head(INDEX, self.artifact_type),
            "manifests": [row.to_json() for row in self.manifests],
        }
        return _with_rest(found, self.subject, self.annotations)


def _head(media_type: str, artifact_type: str | None) -> dict[str, Any]:
    found = {"schemaVersion": 2, "mediaType": media_type}
    return found if artifact_type is None else found | {"artifactType": artifact_type}


def _with_rest(
    found: dict[str, Any], subject: Descriptor | None, annotations: dict[str, str]
) -> bytes:
    # In the order of Go's structures: skopeo writes an index anew and keeps it where nothing
    # differs, so that what we signed is still what it copies.
    if subject is not None:
        found["subject"] = subject.to_json()
    if annotations:
        found["annotations"] = dict(sorted(annotations.items()))
    return write_json(found, ordered=True)


def distinct(rows: Sequence[Descriptor], where: str) -> tuple[Descriptor, ...]:
    """Give an index's manifests, each once; raises RefusedError for more than anybody needs.

    That is 32 MiB of them, or one digest that is described in two ways.
    """
    found: dict[str, Descriptor] = {}
    for row in rows:
        first = found.setdefault(row.digest, row)
        if (first.size, first.media_type) != (row.size, row.media_type):
            raise malformed(where, f"describes {row.digest} in two ways")
    if sum(row.size for row in found.values()) > _MAX_MANIFESTS_BYTES:
        raise malformed(where, f"has more than {_MAX_MANIFESTS_BYTES:,} bytes of manifests")
    return tuple(found.values())


def describe(data: bytes, media_type: str, **more: Any) -> Descriptor:  # noqa: ANN401 - fields
    """Give the descriptor of some bytes; `more` are further fields of it."""
    return Descriptor(media_type, digest_of(data), len(data), **more)


EMPTY_CONFIG = describe(EMPTY_BYTES, EMPTY)


def parse_manifest(data: bytes, where: str, media_type: str | None = None) -> Manifest | Index:
    """Read a manifest or an index of at most 4 MiB.

    `media_type` is what a descriptor or a registry calls it, and has to be what it calls itself:
    else one digest could be read as two things. Raises RefusedError.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise malformed(where, f"the manifest is longer than {MAX_MANIFEST_BYTES:,} bytes")
    values = parse_json(data, where)
    if values.get("schemaVersion") != 2:
        raise malformed(where, "its schemaVersion is not 2")
    if "manifests" in values and ("layers" in values or "config" in values):
        raise malformed(where, "is a manifest and an index at once")
    own = text_field(values, "mediaType", where, INDEX if "manifests" in values else MANIFEST)
    if own not in (MANIFEST, INDEX):
        raise malformed(where, f"its media type {own[:100]!r} is unknown")
    if (own == INDEX) != ("manifests" in values):
        raise malformed(where, f"is no {own}, though it says so")
    if media_type is not None and media_type != own:
        raise malformed(where, f"is called {media_type[:100]!r}, but says that it is {own}")
    kind = text_field(values, "artifactType", where, "") or None
    subject = None
    if "subject" in values:
        subject = parse_descriptor(table_field(values, "subject", where), f"{where}: subject")
    notes = _annotations(values, where)
    if own == INDEX:
        rows = list_field(values, "manifests", where, _MAX_ENTRIES)
        return Index(_descriptors(rows, f"{where}: manifests"), kind, subject, notes)
    layers = list_field(values, "layers", where, _MAX_ENTRIES)
    return Manifest(
        config=parse_descriptor(table_field(values, "config", where), f"{where}: config"),
        layers=_descriptors(layers, f"{where}: layers"),
        artifact_type=kind,
        subject=subject,
        annotations=notes,
    )


def _descriptors(rows: list[Any], where: str) -> tuple[Descriptor, ...]:
    return tuple(parse_descriptor(row, f"{where}[{number}]") for number, row in enumerate(rows))


def parse_descriptor(values: Any, where: str) -> Descriptor:  # noqa: ANN401 - JSON from outside
    """Read a descriptor; raises RefusedError, also for an unknown digest algorithm."""
    if not isinstance(values, dict):
        raise malformed(where, "is no descriptor")
    size = values.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_BLOB_BYTES:
        raise malformed(where, f"its size is no number from 0 to {MAX_BLOB_BYTES:,}")
    architecture = None
    if "platform" in values:
        platform = table_field(values, "platform", where)
        architecture = text_field(platform, "architecture", f"{where}: platform")
    return Descriptor(
        media_type=text_field(values, "mediaType", where),
        digest=parse_digest(values.get("digest"), where),
        size=size,
        annotations=_annotations(values, where),
        architecture=architecture,
        artifact_type=text_field(values, "artifactType", where, "") or None,
    )


def _annotations(values: dict[str, Any], where: str) -> dict[str, str]:
    found = values.get("annotations")
    if found is None:
        return {}
    if not isinstance(found, dict) or len(found) > _MAX_ENTRIES:
        raise malformed(where, f"its annotations are no object of at most {_MAX_ENTRIES} strings")
    if not all(isinstance(value, str) for value in found.values()):
        raise malformed(where, "one of its annotations is no string")
    return found
