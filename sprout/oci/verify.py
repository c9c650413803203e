"""Verifies a whole artifact where it is: who signed it, and every byte that chains to that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sprout.oci.model import Descriptor, Index, Manifest, distinct
from sprout.oci.parallel import workers
from sprout.oci.policy import Policy, check_manifests, check_policy
from sprout.oci.pull import check_same, files_of, read_manifest
from sprout.oci.refused import malformed
from sprout.oci.remote import Remote
from sprout.oci.stored import Stored
from sprout.oci.trust import Accepted


@dataclass(frozen=True)
class Verified:
    """An artifact whose signature is good and whose bytes are those that were signed."""

    digest: str
    accepted: Accepted
    manifests: int
    blobs: int
    size: int


def verify_stored(
    stored: Stored,
    root: Descriptor,
    policy: Policy,
    begin: Callable[[int], Callable[[int], None]],
) -> Verified:
    """Verify one artifact of a layout; raises RefusedError.

    `begin` takes the number of bytes and gives what counts them.
    """
    layout = stored.layout
    where = f"{layout.path}: {root.digest}"
    parsed = layout.manifest(root)[1]
    accepted = check_policy(policy, stored, root, parsed, where)
    rows = distinct(parsed.manifests, where) if isinstance(parsed, Index) else ()
    check_manifests(policy, stored, rows or (root,), where)
    leaves = [layout.manifest(row)[1] for row in rows] or [parsed]
    blobs = _blobs(leaves, where)
    size = sum(row.size for row in blobs)
    with workers() as pool:
        advance = pool.counting(begin(size))
        for row in blobs:
            pool.submit(layout.check_blob, row, advance)
    return Verified(root.digest, accepted, 1 + len(rows), len(blobs), size)


@dataclass(frozen=True)
class Listed:
    """An artifact in a registry that met all demands, and everything that it consists of."""

    root: Descriptor
    accepted: Accepted
    manifests: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]

    @property
    def size(self) -> int:
        """Give the bytes of all blobs."""
        return sum(row.size for row in self.blobs)


def list_remote(remote: Remote, policy: Policy) -> Listed:
    """Check what `policy` demands of an artifact, for every architecture, and read its manifests.

    Raises RefusedError, or SproutError when the registry does not answer.
    """
    where = str(remote.reference)
    root, parsed = remote.root()
    accepted = check_policy(policy, remote, root, parsed, where)
    rows = distinct(parsed.manifests, where) if isinstance(parsed, Index) else ()
    check_manifests(policy, remote, rows or (root,), where)
    blobs = _blobs([read_manifest(remote, row, where) for row in rows] or [parsed], where)
    return Listed(root, accepted, rows, tuple(blobs))


def verify_remote(
    remote: Remote, policy: Policy, begin: Callable[[int], Callable[[int], None]]
) -> Verified:
    """Verify an artifact in a registry; every blob is read, none is kept.

    `begin` takes the number of bytes and gives what counts them. Raises as `list_remote` does.
    """
    found = list_remote(remote, policy)
    with workers(remote.abort) as pool:
        advance = pool.counting(begin(found.size))
        for row in found.blobs:
            pool.submit(remote.check_blob, row, advance)
    return Verified(
        found.root.digest,
        found.accepted,
        1 + len(found.manifests),
        len(found.blobs),
        found.size,
    )


def _blobs(leaves: Sequence[Manifest | Index], where: str) -> list[Descriptor]:
    found: dict[str, Descriptor] = {}
    for leaf in leaves:
        if isinstance(leaf, Index):
            raise malformed(where, "is an index in an index")
        files_of(leaf, where)
        for row in leaf.blobs():
            check_same(found.setdefault(row.digest, row), row, where)
    return list(found.values())
