"""Packs files into artifacts: one manifest per architecture, an index over them, one layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sprout.oci.definition import Definition
from sprout.oci.layout import NewLayout, new_layout
from sprout.oci.model import (
    EMPTY_BYTES,
    EMPTY_CONFIG,
    INDEX,
    MANIFEST,
    REF_NAME,
    SUFFIX,
    TITLE,
    Descriptor,
    Index,
    Manifest,
    describe,
)

# What Linux's makefiles call an architecture, and what OCI (Go's GOARCH) does.
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Packed:
    """One artifact of a layout: its kind, the digest of its index, and the bytes of its files."""

    kind: str
    suffix: str
    digest: str
    size: int


def pack(
    target: Path,
    definitions: Sequence[Definition],
    sources: Mapping[str, Mapping[str, Path | bytes]],
) -> list[Packed]:
    """Write a layout at `target` with one artifact per definition, in one step.

    `sources` are by architecture (OCI's word), then by the names that definitions use. The same
    input gives the same digests. Raises SproutError when a file cannot be read or the layout not
    be written; then nothing is at `target` that was not there before.
    """
    packed, roots = [], []
    with new_layout(target) as layout:
        layout.add(EMPTY_BYTES)
        for definition in definitions:
            rows, size = [], 0
            for architecture in sorted(sources):
                row, count = _manifest(layout, definition, architecture, sources[architecture])
                rows.append(row)
                size += count
            # Without an artifactType of its own: older skopeo would drop it, and with it the
            # digest that was signed. The manifests have theirs.
            index = Index(tuple(rows), annotations=definition.annotations).to_bytes()
            digest = layout.add(index)
            notes = {REF_NAME: definition.kind, SUFFIX: definition.suffix}
            roots.append(
                describe(index, INDEX, annotations=notes, artifact_type=definition.artifact_type)
            )
            packed.append(Packed(definition.kind, definition.suffix, digest, size))
        layout.finish(roots)
    return packed


def _manifest(
    layout: NewLayout,
    definition: Definition,
    architecture: str,
    sources: Mapping[str, Path | bytes],
) -> tuple[Descriptor, int]:
    layers = []
    for row in definition.files:
        source = sources[row.source]
        notes = {TITLE: row.name}
        if isinstance(source, bytes):
            layout.add(source)
            layers.append(describe(source, row.media_type, annotations=notes))
        else:
            digest, size = layout.add_file(source)
            layers.append(Descriptor(row.media_type, digest, size, notes))
    data = Manifest(
        config=EMPTY_CONFIG,
        layers=tuple(layers),
        artifact_type=definition.artifact_type,
        annotations=definition.annotations,
    ).to_bytes()
    layout.add(data)
    size = sum(layer.size for layer in layers)
    found = describe(data, MANIFEST, architecture=architecture)
    return found, size
