"""What is said of an artifact beside who signed it: its SBOM and its provenance.

Packed, both lie beside each manifest without a signature, as referrers. A key turns them into
in-toto statements about that manifest and the index over it, in bundles that refer to both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sprout.oci import cosign, provenance
from sprout.oci.keys import PublicKey
from sprout.oci.model import (
    EMPTY_BYTES,
    EMPTY_CONFIG,
    MANIFEST,
    Descriptor,
    Index,
    Manifest,
    describe,
)
from sprout.oci.refused import malformed
from sprout.oci.stored import Stored
from sprout.oci.strict_json import parse_json

if TYPE_CHECKING:
    from sprout.signing.signer import Signer

SBOM_TYPE = "application/vnd.cyclonedx+json"
SBOM_PREDICATE = "https://cyclonedx.org/bom"
# What a policy calls them, and their predicates.
KINDS = {"provenance": provenance.PREDICATE, "sbom": SBOM_PREDICATE}
PREDICATES = {SBOM_TYPE: SBOM_PREDICATE, cosign.IN_TOTO: provenance.PREDICATE}


@dataclass(frozen=True)
class Evidence:
    """What is known of an artifact for one architecture: its SBOM, and its provenance."""

    sbom: bytes
    provenance: dict[str, Any]


def unsigned(evidence: Evidence, root: Descriptor, row: Descriptor) -> tuple[cosign.Made, ...]:
    """Give the referrers of the manifest `row`, below the index `root`, that say what is known."""
    statement = cosign.statement_of(provenance.PREDICATE, evidence.provenance, root, row)
    return (
        _referrer(row, SBOM_TYPE, evidence.sbom),
        _referrer(row, cosign.IN_TOTO, statement),
    )


def _referrer(subject: Descriptor, kind: str, data: bytes) -> cosign.Made:
    made = Manifest(
        config=EMPTY_CONFIG,
        layers=(describe(data, kind),),
        artifact_type=kind,
        subject=Descriptor(subject.media_type, subject.digest, subject.size),
    ).to_bytes()
    row = describe(made, MANIFEST, artifact_type=kind)
    return cosign.Made(made, row, (EMPTY_BYTES, data), None)


def signed(
    stored: Stored, root: Descriptor, signer: Signer, key: PublicKey
) -> Iterator[tuple[Descriptor, cosign.Made]]:
    """Give each manifest of an artifact with the bundles that vouch for what is known of it.

    Raises RefusedError when what the layout holds is malformed, SproutError when the key cannot
    sign.
    """
    layout = stored.layout
    parsed = layout.manifest(root)[1]
    for row in parsed.manifests if isinstance(parsed, Index) else (root,):
        for kind, data in _known(stored, row):
            predicate, where = PREDICATES[kind], f"{layout.path}: {kind} of {row.digest}"
            statement = data
            if kind == SBOM_TYPE:
                bill = parse_json(data, where)
                statement = cosign.statement_of(predicate, bill, root, row)
            else:
                cosign.check_statement(statement, row.digest, predicate, where)
            message = cosign.dsse_message(cosign.IN_TOTO, statement)
            signature = signer.sign(message, f"{predicate} of {row.digest}")
            for subject in dict.fromkeys((row.digest, root.digest)):
                about = row if subject == row.digest else root
                yield about, cosign.bundle_of(about, predicate, statement, signature, key)


def _known(stored: Stored, row: Descriptor) -> Iterator[tuple[str, bytes]]:
    """Give what a layout holds unsigned about a manifest: its media type and its bytes."""
    layout = stored.layout
    for found in stored.referrers(row.digest):
        if found.artifact_type in PREDICATES:
            manifest = layout.manifest(found)[1]
            if not isinstance(manifest, Manifest) or len(manifest.layers) != 1:
                raise malformed(f"{layout.path}: {found.digest}", "has not exactly one layer")
            layer = manifest.layers[0]
            yield found.artifact_type, stored.small_blob(layer, cosign.MAX_ATTESTATION_BYTES)
