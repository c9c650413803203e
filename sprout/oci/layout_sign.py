"""Signs the artifacts of a layout in place, so that it can travel without a registry."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sprout.base.files import write_file
from sprout.oci import cosign
from sprout.oci.digest import digest_of
from sprout.oci.keys import PublicKey
from sprout.oci.layout import Layout
from sprout.oci.model import REF_NAME, Descriptor, Index
from sprout.oci.stored import Stored

if TYPE_CHECKING:
    from sprout.signing.signer import Signer


def sign_layout(layout: Layout, signer: Signer, key: PublicKey) -> list[Descriptor]:
    """Add a signature in the bundle form to every artifact and each of its manifests.

    The tag form names a registry, so a push makes that one. Gives the artifacts that were signed.
    Raises SproutError when the layout is malformed, the key cannot sign, or it cannot be written.
    """
    artifacts = [row for row in layout.index.manifests if REF_NAME in row.annotations]
    made: dict[str, cosign.Made] = {}
    for root in artifacts:
        parsed = layout.manifest(root)[1]
        for row in (root, *(parsed.manifests if isinstance(parsed, Index) else ())):
            found = cosign.sign_bundle(row, signer, key)
            made[found.row.digest] = found
    for one in made.values():
        for data in (*one.blobs, one.manifest):
            write_file(layout.blob_path(digest_of(data)), data)
    listed = {row.digest for row in layout.index.manifests}
    rows = [one.row for digest, one in made.items() if digest not in listed]
    index = replace(layout.index, manifests=(*layout.index.manifests, *rows))
    write_file(layout.path / "index.json", index.to_bytes())
    return artifacts


def kept_referrers(layout: Layout, digest: str) -> list[cosign.Made]:
    """Give what a layout holds that refers to a manifest, as a registry takes it.

    Raises RefusedError when it is malformed.
    """
    found = []
    for row in Stored(layout).referrers(digest):
        data, parsed = layout.manifest(row)
        if not isinstance(parsed, Index):
            blobs = tuple(layout.check_blob(blob).read_bytes() for blob in parsed.blobs())
            found.append(cosign.Made(data, row, blobs, None))
    return found
