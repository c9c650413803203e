"""Fetches an artifact that somebody trusted has signed; otherwise nothing is left behind.

From the signed digest everything chains: index → manifest → blobs. Blobs are collected in a scratch
directory, under their digests, so that a run that was killed goes on where it was; only when all of
them are verified are files moved into the target.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import cannot_write
from sprout.oci.layout import check_size
from sprout.oci.model import TITLE, Descriptor, Index, Manifest, parse_manifest
from sprout.oci.names import check_file_name
from sprout.oci.parallel import workers
from sprout.oci.placing import OutOfSpaceError, check_places, install, scratch_for
from sprout.oci.policy import Policy, check_manifests, check_policy
from sprout.oci.refused import altered, malformed
from sprout.oci.remote import Remote
from sprout.oci.trust import Accepted


@dataclass(frozen=True)
class Chosen:
    """An artifact whose signature is good, and the files that will be fetched of it, by name."""

    digest: str
    accepted: Accepted
    architecture: str | None
    files: dict[str, Descriptor]

    @property
    def size(self) -> int:
        """Give the bytes of all files."""
        return sum(row.size for row in self.files.values())


def choose(remote: Remote, policy: Policy, architecture: str) -> Chosen:
    """Resolve the reference, check what `policy` demands, and read the manifest for `architecture`.

    Raises RefusedError when a demand is not met or something is malformed.
    """
    where = str(remote.reference)
    root, parsed = remote.root()
    accepted = check_policy(policy, remote, root, parsed, where)
    if isinstance(parsed, Manifest):
        check_manifests(policy, remote, [root], where)
        return Chosen(root.digest, accepted, None, files_of(parsed, where))
    row = for_architecture(parsed, architecture, where)
    check_manifests(policy, remote, [row], where)
    inner = read_manifest(remote, row, where)
    if isinstance(inner, Index):
        raise malformed(where, "is an index in an index")
    return Chosen(root.digest, accepted, row.architecture, files_of(inner, where))


def for_architecture(index: Index, architecture: str, where: str) -> Descriptor:
    """Give the manifest of an index that is for `architecture`; raises SproutError."""
    rows = [row for row in index.manifests if row.architecture in (None, architecture)]
    if len(rows) != 1:
        there = ", ".join(sorted({row.architecture or "any" for row in index.manifests})) or "none"
        raise SproutError(
            f"{where}: has not exactly one manifest for {architecture}",
            f"Choose another with --arch; it has: {there}.",
        )
    return rows[0]


def files_of(manifest: Manifest, where: str) -> dict[str, Descriptor]:
    """Give a manifest's files by name, whose names lead nowhere else; raises RefusedError."""
    files: dict[str, Descriptor] = {}
    for row in manifest.layers:
        name = check_file_name(row.annotations.get(TITLE, row.digest.replace(":", "-")), where)
        if name in files:
            raise malformed(where, f"has the file {name} twice")
        files[name] = row
    sizes: dict[str, Descriptor] = {}
    for row in manifest.blobs():
        check_same(sizes.setdefault(row.digest, row), row, where)
    for name in files:
        parents = name.split("/")[:-1]
        if any("/".join(parents[: count + 1]) in files for count in range(len(parents))):
            raise malformed(where, f"has {name} below a file")
    return files


def check_same(first: Descriptor, row: Descriptor, where: str) -> None:
    """Raise RefusedError when two descriptors of one digest give it two sizes."""
    if first.size != row.size:
        raise malformed(where, f"gives {row.digest} two sizes")


def fetch_manifest(remote: Remote, row: Descriptor, where: str) -> tuple[bytes, Manifest | Index]:
    """Fetch a manifest that a descriptor names: its bytes, and what they say.

    Raises RefusedError when it differs.
    """
    found = remote.manifest(row.digest)
    if found is None:
        raise altered(where, f"{row.digest} is named, but not there")
    check_size(len(found[0]), row, f"{where}: {row.digest}")
    return found[0], parse_manifest(found[0], f"{where}: {row.digest}", row.media_type)


def read_manifest(remote: Remote, row: Descriptor, where: str) -> Manifest | Index:
    """Fetch and read a manifest that a descriptor names; raises RefusedError when it differs."""
    return fetch_manifest(remote, row, where)[1]


def pull(remote: Remote, chosen: Chosen, target: Path, advance: Callable[[int], None]) -> None:
    """Fetch the files of `chosen` into the directory `target`.

    Raises RefusedError when a blob is not as described, SproutError when the registry or the file
    system fails; then `target` is as it was.
    """
    check_places(target, chosen.files)
    rows = {row.digest: row for row in chosen.files.values()}
    try:
        with scratch_for(target) as scratch:
            check_space(target, scratch, list(rows.values()))
            with workers(remote.abort) as pool:
                counted = pool.counting(advance)
                for row in rows.values():
                    pool.submit(remote.fetch, row, part_of(scratch, row), counted)
            parts = {name: part_of(scratch, row) for name, row in chosen.files.items()}
            install(target, scratch, parts)
    except OSError as error:
        raise cannot_write(target, error) from error


def part_of(scratch: Path, row: Descriptor) -> Path:
    """Give where what was fetched of a blob so far lies in a scratch directory."""
    return scratch / row.digest.replace(":", "-")


def check_space(target: Path, scratch: Path, rows: Sequence[Descriptor]) -> None:
    """Raise OutOfSpaceError where the rest of these blobs does not fit."""
    parts = [part_of(scratch, row) for row in rows]
    held = sum(path.stat().st_size for path in parts if path.exists())
    needed, free = sum(row.size for row in rows) - held, shutil.disk_usage(scratch).free
    if needed > free:
        raise OutOfSpaceError(
            f"{target}: {needed:,} bytes are needed, and {free:,} are free",
            "Free some space or name another place; nothing half-written was left.",
        )
