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
    artifacts, stored = layout.artifacts(), Stored(layout)
    made: dict[str, cosign.Made] = {}
    for root in artifacts:
        parsed = layout.manifest(root)[1]
        subjects = (root, *(parsed.manifests if isinstance(parsed, Index) else ()))
        found = [cosign.sign_bundle(row, signer, key) for row in subjects]
        found += [one for _, one in attest.signed(stored, root, signer, key)]
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


def kept_referrers(stored: Stored, digest: str) -> list[Descriptor]:
    """Give what a layout holds that refers to a manifest, in either way; one with a name by a tag.

    Raises RefusedError when it is malformed.
    """
    tag = tag_of(digest, ".sig")
    rows = stored.layout.index.manifests
    tagged = [row for row in rows if row.annotations.get(REF_NAME) == tag]
    return list({row.digest: row for row in (*stored.referrers(digest), *tagged)}.values())


def read_referrer(layout: Layout, row: Descriptor) -> cosign.Made | None:
    """Give one of `kept_referrers` as a registry takes it; None for an index, which is none.

    Raises RefusedError when it is malformed.
    """
    data, parsed = layout.manifest(row)
    if isinstance(parsed, Index):
        return None
    blobs = tuple(layout.small_blob(blob, cosign.MAX_ATTESTATION_BYTES) for blob in parsed.blobs())
    return cosign.Made(data, row, blobs, row.annotations.get(REF_NAME))
