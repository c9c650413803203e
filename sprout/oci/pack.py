"""Packs files into artifacts: one manifest per architecture, an index over them, one layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sprout.oci.attest import Evidence, unsigned
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
    evidence: Mapping[str, Mapping[str, Evidence]] | None = None,
) -> list[Packed]:
    """Write a layout at `target` with one artifact per definition, in one step.

    `sources` are by architecture (OCI's word), then by the names that definitions use; `evidence`,
    what is known of an artifact, by architecture, then by kind. The same input gives the same
    digests. Raises SproutError when a file cannot be read or the layout not
    be written; then nothing is at `target` that was not there before.
    """
    packed, roots, referrers = [], [], []
    with new_layout(target) as layout:
        layout.add(EMPTY_BYTES)
        for definition in definitions:
            rows, size = {}, 0
            for architecture in sorted(sources):
                row, count = _manifest(layout, definition, architecture, sources[architecture])
                rows[architecture] = row
                size += count
            # Without an artifactType of its own: older skopeo would drop it, and with it the
            # digest that was signed. The manifests have theirs.
            index = Index(tuple(rows.values()), annotations=definition.annotations).to_bytes()
            digest = layout.add(index)
            notes = {REF_NAME: definition.kind, SUFFIX: definition.suffix}
            root = describe(index, INDEX, annotations=notes, artifact_type=definition.artifact_type)
            roots.append(root)
            packed.append(Packed(definition.kind, definition.suffix, digest, size))
            for architecture, row in rows.items():
                known = (evidence or {}).get(architecture, {}).get(definition.kind)
                for made in unsigned(known, root, row) if known is not None else ():
                    for data in (*made.blobs, made.manifest):
                        layout.add(data)
                    referrers.append(made.row)
        layout.finish([*roots, *referrers])
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
