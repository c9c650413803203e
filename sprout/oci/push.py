"""Sends an artifact of a layout to a registry, with signatures in both forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sprout.oci import attest, cosign
from sprout.oci.keys import PublicKey
from sprout.oci.layout import Layout
from sprout.oci.layout_sign import kept_referrers, read_referrer
from sprout.oci.model import Descriptor, Index, describe, distinct
from sprout.oci.parallel import workers
from sprout.oci.remote import Remote
from sprout.oci.sending import Sending
from sprout.oci.stored import Stored

if TYPE_CHECKING:
    from sprout.signing.signer import Signer


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
    where = f"{layout.path}: {root.digest}"
    children = distinct(parsed.manifests, where) if isinstance(parsed, Index) else ()
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
    stored = Stored(layout)
    with workers(remote.abort) as pool:
        jobs = [pool.submit(one, row) for row in what.blobs]
        # Signing and the small blobs of signatures do not wait for the large ones.
        made = list(_signed(stored, what, remote, sign))
        for _, found in made:
            pool.submit(_send_blobs, remote, found)
        pool.finish()
        for data, row in what.manifests:
            remote.send_manifest(data, row.media_type, row.digest)
        listing = _Listing(remote)
        for subject, found in made:
            pool.submit(listing.send, subject, found)
        for _, row in what.manifests:
            for kept in kept_referrers(stored, row.digest):
                pool.submit(_send_kept, listing, layout, row.digest, kept)
        pool.finish()
        for subject, rows in listing.by_hand.items():
            pool.submit(remote.list_referrers, subject, sorted(rows, key=lambda row: row.digest))
    if remote.reference.tag is not None:
        remote.send_manifest(root_data, root.media_type, remote.reference.tag)
    sizes = [job.result() for job in jobs]
    return Sent(root.digest, sum(1 for size in sizes if size), sum(sizes))


def _signed(
    stored: Stored, what: Plan, remote: Remote, sign: tuple[Signer, PublicKey] | None
) -> Iterator[tuple[str, cosign.Made]]:
    """Give what a key says of an artifact's manifests, each with the digest of that manifest."""
    if sign is None:
        return
    for _, row in what.manifests:
        for made in signatures(remote.reference.name, row, *sign):
            yield row.digest, made
    for row, made in attest.signed(stored, what.manifests[-1][1], *sign):
        yield row.digest, made


def _send_blobs(remote: Remote, made: cosign.Made) -> None:
    for blob in made.blobs:
        remote.send_blob(describe(blob, ""), blob)


def _send_kept(listing: _Listing, layout: Layout, subject: str, row: Descriptor) -> None:
    """Send what a layout holds of somebody's words; read only now, since there may be many."""
    made = read_referrer(layout, row)
    if made is not None:
        _send_blobs(listing.remote, made)
        listing.send(subject, made)


class _Listing:
    """Stores the manifests of what refers to others, and notes which a list has to name by hand."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self.by_hand: dict[str, list[Descriptor]] = {}

    def send(self, subject: str, made: cosign.Made) -> None:
        """Store one; its blobs are there."""
        if made.tag is not None:
            self.remote.send_manifest(made.manifest, made.row.media_type, made.tag)
        elif not self.remote.send_referrer(made.manifest, made.row):
            self.by_hand.setdefault(subject, []).append(made.row)


def signatures(
    name: str, subject: Descriptor, signer: Signer, key: PublicKey
) -> tuple[cosign.Made, ...]:
    """Give the signatures of one manifest in both forms; raises SproutError as the key does."""
    return (
        cosign.sign_tag_form(name, subject.digest, signer),
        cosign.sign_bundle(subject, signer, key),
    )
