"""Takes an artifact out of a registry with all that refers to it, into a layout that travels."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from sprout.oci.cosign import MAX_ATTESTATION_BYTES
from sprout.oci.digest import digest_of, tag_of
from sprout.oci.layout import NewLayout, new_layout
from sprout.oci.model import REF_NAME, Descriptor, Index, parse_manifest
from sprout.oci.pull import PARALLEL, fetch_manifest
from sprout.oci.remote import Remote
from sprout.oci.verify import Listed


def carry(
    remote: Remote, listed: Listed, target: Path, advance: Callable[[int], None]
) -> list[str]:
    """Write the artifact `listed`, for every architecture, to a new layout at `target`.

    What refers to its manifests comes along, and so does cosign's older form of signature; gives
    the digests of referrers that were left out because they are larger than an attestation may be.
    Raises RefusedError when something is not as described, SproutError when the registry or the
    file system fails; then nothing new is at `target`.
    """
    name = remote.reference.tag or listed.root.digest.replace(":", "-")
    with new_layout(target) as layout, ThreadPoolExecutor(PARALLEL) as pool:
        jobs = [
            pool.submit(remote.fetch, row, layout.place(row.digest), advance)
            for row in listed.blobs
        ]
        try:
            roots = [replace(listed.root, annotations={REF_NAME: name})]
            left: list[str] = []
            for row in (listed.root, *listed.manifests):
                layout.add(fetch_manifest(remote, row, str(remote.reference))[0], row.digest)
                roots += _tag_form(remote, row, layout)
                for referrer in remote.referrers(row.digest):
                    if _copy(remote, referrer, layout):
                        roots.append(referrer)
                    else:
                        left.append(referrer.digest)
            for job in jobs:
                job.result()
        except BaseException:
            for job in jobs:
                job.cancel()
            raise
        layout.finish(list({row.digest: row for row in roots}.values()))
    return left


def _tag_form(remote: Remote, subject: Descriptor, layout: NewLayout) -> list[Descriptor]:
    """Copy the signature that lies under a tag; give its descriptor, named by that tag."""
    tag = tag_of(subject.digest, ".sig")
    found = remote.manifest(tag)
    if found is None:
        return []
    data, _ = found
    parsed = parse_manifest(data, f"{remote.reference}: {tag}")
    row = Descriptor(parsed.media_type, digest_of(data), len(data), {REF_NAME: tag})
    return [row] if _copy(remote, row, layout) else []


def _copy(remote: Remote, row: Descriptor, layout: NewLayout) -> bool:
    """Copy a manifest and its blobs; False when one of them is too large to be said of another."""
    data, manifest = fetch_manifest(remote, row, str(remote.reference))
    if isinstance(manifest, Index) or any(
        blob.size > MAX_ATTESTATION_BYTES for blob in manifest.blobs()
    ):
        return False
    for blob in manifest.blobs():
        layout.add(remote.small_blob(blob, MAX_ATTESTATION_BYTES), blob.digest)
    layout.add(data, row.digest)
    return True
