"""Sends an artifact of a layout to a registry, with signatures in both forms."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sprout.oci import attest, cosign
from sprout.oci.keys import PublicKey
from sprout.oci.layout import Layout
from sprout.oci.layout_sign import kept_referrers
from sprout.oci.model import Descriptor, Index, describe
from sprout.oci.remote import Remote
from sprout.oci.sending import Sending

if TYPE_CHECKING:
    from sprout.signing.signer import Signer

PARALLEL = 4


@dataclass(frozen=True)
class Sent:
    """What a push did: the digest that the tag now names, and the blobs that were uploaded."""

    digest: str
    blobs: int
    size: int


@dataclass(frozen=True)
class Plan:
    """What an artifact consists of: manifests, children first, and blobs, each once."""

    manifests: tuple[tuple[bytes, Descriptor], ...]
    blobs: tuple[Descriptor, ...]

    @property
    def size(self) -> int:
        """Give the bytes of all blobs."""
        return sum(row.size for row in self.blobs)


def plan(layout: Layout, root: Descriptor) -> Plan:
    """Read an artifact's manifests; raises SproutError when one is malformed or missing."""
    data, parsed = layout.manifest(root)
    children = parsed.manifests if isinstance(parsed, Index) else ()
    manifests, blobs = [], {}
    for row in children:
        child, inner = layout.manifest(row)
        manifests.append((child, row))
        if not isinstance(inner, Index):
            blobs.update({blob.digest: blob for blob in inner.blobs()})
    if not isinstance(parsed, Index):
        blobs.update({blob.digest: blob for blob in parsed.blobs()})
    return Plan((*manifests, (data, root)), tuple(blobs.values()))


def push(
    layout: Layout,
    what: Plan,
    remote: Remote,
    *,
    sign: tuple[Signer, PublicKey] | None,
    mount: str | None,
    advance: Callable[[int], None],
) -> Sent:
    """Send blobs, in parallel, then manifests, then signatures, then the tag.

    Who pulls by the tag finds everything there. `sign` is the key and its public half. Raises
    RefusedError when a blob of the layout is not as described, SproutError when the registry does
    not take something.
    """

    def one(row: Descriptor) -> int:
        sent = remote.send_blob(row, lambda: Sending(layout, row), mount=mount)
        advance(row.size)
        return row.size if sent else 0

    with ThreadPoolExecutor(PARALLEL) as pool:
        sizes = list(pool.map(one, what.blobs))
    for data, row in what.manifests:
        remote.send_manifest(data, row.media_type, row.digest)
    root_data, root = what.manifests[-1]
    for _, row in what.manifests:
        for made in kept_referrers(layout, row.digest):
            send_made(remote, made, row.digest)
        if sign is not None:
            for made in signatures(remote.reference.name, row, *sign):
                send_made(remote, made, row.digest)
    if sign is not None:
        for row, made in attest.signed(layout, root, *sign):
            send_made(remote, made, row.digest)
    if remote.reference.tag is not None:
        remote.send_manifest(root_data, root.media_type, remote.reference.tag)
    return Sent(root.digest, sum(1 for size in sizes if size), sum(sizes))


def signatures(
    name: str, subject: Descriptor, signer: Signer, key: PublicKey
) -> tuple[cosign.Made, ...]:
    """Give the signatures of one manifest in both forms; raises SproutError as the key does."""
    return (
        cosign.sign_tag_form(name, subject.digest, signer),
        cosign.sign_bundle(subject, signer, key),
    )


def send_made(remote: Remote, made: cosign.Made, subject: str) -> None:
    """Store a signature where clients look for it; raises SproutError."""
    for blob in made.blobs:
        remote.send_blob(describe(blob, ""), blob)
    if made.tag is not None:
        remote.send_manifest(made.manifest, made.row.media_type, made.tag)
    else:
        remote.send_referrer(made.manifest, made.row, subject)
