"""Sends an artifact of a layout to a registry, with signatures in both forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sprout.oci import attest, cosign
from sprout.oci.digest import digest_of
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
    """Send blobs, in parallel, then manifests, then what refers to them, then the tag.

    Who pulls by the tag finds everything there. `sign` is the key and its public half. Raises
    RefusedError when a blob of the layout is not as described, SproutError when the registry does
    not take something.
    """

    def one(row: Descriptor) -> int:
        sent = remote.send_blob(row, lambda: Sending(layout, row), mount=mount)
        advance(row.size)
        return row.size if sent else 0

    root_data, root = what.manifests[-1]
    with ThreadPoolExecutor(PARALLEL) as pool:
        large = [pool.submit(one, row) for row in what.blobs]
        # Signing and the small blobs of signatures do not wait for the large ones.
        made = list(_referring(layout, what, remote, sign))
        small = {digest_of(blob): blob for _, found in made for blob in found.blobs}
        rest = [pool.submit(remote.send_blob, describe(blob, ""), blob) for blob in small.values()]
        sizes = [job.result() for job in large]
        for job in rest:
            job.result()
        for data, row in what.manifests:
            remote.send_manifest(data, row.media_type, row.digest)
        listed = list(pool.map(lambda pair: _send_made(remote, pair[1]), made))
        by_hand: dict[str, list[Descriptor]] = {}
        for (subject, found), done in zip(made, listed, strict=True):
            if not done:
                by_hand.setdefault(subject, []).append(found.row)
        list(pool.map(lambda pair: remote.list_referrers(*pair), by_hand.items()))
    if remote.reference.tag is not None:
        remote.send_manifest(root_data, root.media_type, remote.reference.tag)
    return Sent(root.digest, sum(1 for size in sizes if size), sum(sizes))


def _referring(
    layout: Layout, what: Plan, remote: Remote, sign: tuple[Signer, PublicKey] | None
) -> Iterator[tuple[str, cosign.Made]]:
    """Give what refers to an artifact's manifests, each with the digest of that manifest."""
    for _, row in what.manifests:
        for made in kept_referrers(layout, row.digest):
            yield row.digest, made
        if sign is not None:
            for made in signatures(remote.reference.name, row, *sign):
                yield row.digest, made
    if sign is not None:
        for row, made in attest.signed(layout, what.manifests[-1][1], *sign):
            yield row.digest, made


def signatures(
    name: str, subject: Descriptor, signer: Signer, key: PublicKey
) -> tuple[cosign.Made, ...]:
    """Give the signatures of one manifest in both forms; raises SproutError as the key does."""
    return (
        cosign.sign_tag_form(name, subject.digest, signer),
        cosign.sign_bundle(subject, signer, key),
    )


def _send_made(remote: Remote, made: cosign.Made) -> bool:
    """Store the manifest of a signature; False when a list by hand has to name it too."""
    if made.tag is not None:
        remote.send_manifest(made.manifest, made.row.media_type, made.tag)
        return True
    return remote.send_referrer(made.manifest, made.row)
