"""Verifies a whole artifact where it is: who signed it, and every byte that chains to that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sprout.oci.keys import TrustedKey
from sprout.oci.layout import Layout
from sprout.oci.model import Descriptor, Index, Manifest
from sprout.oci.pull import PARALLEL, files_of, read_manifest
from sprout.oci.refused import malformed
from sprout.oci.remote import Remote
from sprout.oci.stored import Stored
from sprout.oci.trust import Accepted, check_signed


@dataclass(frozen=True)
class Verified:
    """An artifact whose signature is good and whose bytes are those that were signed."""

    digest: str
    accepted: Accepted
    manifests: int
    blobs: int
    size: int


def verify_stored(layout: Layout, root: Descriptor, keys: Sequence[TrustedKey]) -> Verified:
    """Verify one artifact of a layout; raises RefusedError."""
    where = f"{layout.path}: {root.digest}"
    accepted = check_signed(Stored(layout), root.digest, keys, where)
    parsed = layout.manifest(root)[1]
    rows = parsed.manifests if isinstance(parsed, Index) else ()
    leaves = [layout.manifest(row)[1] for row in rows] or [parsed]
    blobs = _blobs(leaves, where)
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(layout.check_blob, blobs))
    size = sum(row.size for row in blobs)
    return Verified(root.digest, accepted, 1 + len(rows), len(blobs), size)


def verify_remote(
    remote: Remote, keys: Sequence[TrustedKey], begin: Callable[[int], Callable[[int], None]]
) -> Verified:
    """Verify an artifact in a registry; every blob is read, none is kept.

    `begin` takes the number of bytes and gives what counts them. Raises RefusedError, or
    SproutError when the registry does not answer.
    """
    where = str(remote.reference)
    root = remote.root()
    accepted = check_signed(remote, root.digest, keys, where)
    parsed = read_manifest(remote, root, where)
    rows = parsed.manifests if isinstance(parsed, Index) else ()
    blobs = _blobs([read_manifest(remote, row, where) for row in rows] or [parsed], where)
    size = sum(row.size for row in blobs)
    advance = begin(size)
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(lambda row: remote.check_blob(row, advance), blobs))
    return Verified(root.digest, accepted, 1 + len(rows), len(blobs), size)


def _blobs(leaves: Sequence[Manifest | Index], where: str) -> list[Descriptor]:
    found: dict[str, Descriptor] = {}
    for leaf in leaves:
        if isinstance(leaf, Index):
            raise malformed(where, "is an index in an index")
        files_of(leaf, where)
        for row in leaf.blobs():
            if found.setdefault(row.digest, row).size != row.size:
                raise malformed(where, f"gives {row.digest} two sizes")
    return list(found.values())
