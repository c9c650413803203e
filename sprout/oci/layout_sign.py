"""Signs the artifacts of a layout in place, so that it can travel without a registry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sprout.base.errors import SproutError
from sprout.base.files import write_file
from sprout.oci import attest, cosign
from sprout.oci.digest import digest_of, tag_of
from sprout.oci.keys import PublicKey
from sprout.oci.layout import Layout
from sprout.oci.model import REF_NAME, Descriptor, Index
from sprout.oci.stored import Stored

if TYPE_CHECKING:
    from sprout.signing.signer import Signer


def sign_layout(layout: Layout, signer: Signer, key: PublicKey) -> list[Descriptor]:
    """Add a signature in the bundle form to every artifact and each of its manifests, and to what
    is known of them: SBOM and provenance.

    The tag form names a registry, so a push makes that one. Gives the artifacts that were signed.
    Raises SproutError when the layout is malformed, the key cannot sign, or it cannot be written.
    """
    artifacts = layout.artifacts()
    made: dict[str, cosign.Made] = {}
    for root in artifacts:
        parsed = layout.manifest(root)[1]
        subjects = (root, *(parsed.manifests if isinstance(parsed, Index) else ()))
        found = [cosign.sign_bundle(row, signer, key) for row in subjects]
        found += [one for _, one in attest.signed(layout, root, signer, key)]
        made.update({one.row.digest: one for one in found})
    for one in made.values():
        for data in (*one.blobs, one.manifest):
            _store(layout.path, f"blobs/{digest_of(data).replace(':', '/', 1)}", data)
    listed = {row.digest for row in layout.index.manifests}
    rows = [one.row for digest, one in made.items() if digest not in listed]
    index = replace(layout.index, manifests=(*layout.index.manifests, *rows))
    _store(layout.path, "index.json", index.to_bytes())
    return artifacts


def _store(layout: Path, name: str, data: bytes) -> None:
    """Write a file of a layout; raises SproutError where a link would lead elsewhere."""
    place = layout
    for part in name.split("/"):
        place /= part
        if place.is_symlink():
            raise SproutError(f"{place}: is a link, which a layout has not", "Pack it again.")
    write_file(place, data)


def kept_referrers(layout: Layout, digest: str) -> list[cosign.Made]:
    """Give what a layout holds that refers to a manifest, in either way, as a registry takes it.

    Raises RefusedError when it is malformed.
    """
    found = []
    tag = tag_of(digest, ".sig")
    tagged = [row for row in layout.index.manifests if row.annotations.get(REF_NAME) == tag]
    for row in (*Stored(layout).referrers(digest), *tagged):
        data, parsed = layout.manifest(row)
        if not isinstance(parsed, Index):
            blobs = tuple(
                layout.small_blob(blob, cosign.MAX_ATTESTATION_BYTES) for blob in parsed.blobs()
            )
            found.append(cosign.Made(data, row, blobs, tag if row in tagged else None))
    return found
