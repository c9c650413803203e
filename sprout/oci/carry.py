"""Takes an artifact out of a registry with all that refers to it, into a layout that travels."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import cannot_write
from sprout.oci.attest import PREDICATES
from sprout.oci.cosign import BUNDLE, MAX_ATTESTATION_BYTES
from sprout.oci.digest import digest_of, tag_of
from sprout.oci.layout import NewLayout
from sprout.oci.model import REF_NAME, Descriptor, Manifest, parse_manifest
from sprout.oci.parallel import workers
from sprout.oci.placing import SCRATCH_INSIDE, install_directory, scratch_for
from sprout.oci.pull import check_space, fetch_manifest, part_of
from sprout.oci.refused import RefusedError
from sprout.oci.remote import Remote
from sprout.oci.verify import Listed

# Anybody may refer to an artifact: of all that do, so much comes along.
_MAX_REFERRING_BYTES = 256 << 20
_MAX_REFERRING_BLOBS = 16


def carry(
    remote: Remote, listed: Listed, target: Path, advance: Callable[[int], None]
) -> list[str]:
    """Write the artifact `listed`, for every architecture, to a new layout at `target`.

    What refers to its manifests comes along, and so does cosign's older form of signature; gives
    the digests of what was left out because it is larger than an attestation may be, too much, or
    not there. A run that broke off goes on where it was. Raises RefusedError when something is not
    as described, SproutError when the registry or the file system fails, or something is at
    `target`; then nothing new is there.
    """
    name = remote.reference.tag or listed.root.digest.replace(":", "-")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise SproutError(f"{target}: is no directory", "Name another place with -o.")
    if target.exists() and any(row.name != SCRATCH_INSIDE for row in target.iterdir()):
        raise SproutError(f"{target}: is there and is not empty", "Name a new directory with -o.")
    try:
        with scratch_for(target) as scratch:
            check_space(target, scratch, listed.blobs)
            made = scratch / ".layout"
            shutil.rmtree(made, ignore_errors=True)
            layout = NewLayout(made)
            roots = [replace(listed.root, annotations={REF_NAME: name})]
            copies = _Copies(remote, layout)
            with workers(remote.abort) as pool:
                counted = pool.counting(advance)
                for row in listed.blobs:
                    pool.submit(remote.fetch, row, part_of(scratch, row), counted)
                for row in (listed.root, *listed.manifests):
                    layout.add(fetch_manifest(remote, row, str(remote.reference))[0], row.digest)
                    tagged = _tag_form(remote, row)
                    referrers = sorted(remote.referrers(row.digest), key=_strange)
                    roots += [one for one in (*tagged, *referrers) if copies.copy(one)]
            for row in listed.blobs:
                part_of(scratch, row).replace(layout.place(row.digest))
            layout.finish(list({row.digest: row for row in roots}.values()))
            install_directory(target.absolute(), scratch, made, "oci-layout")
    except OSError as error:
        raise cannot_write(target, error) from error
    return copies.left


def _strange(row: Descriptor) -> bool:
    """Tell whether a referrer is of no kind that is looked at here; those come last."""
    return row.artifact_type not in (BUNDLE, *PREDICATES)


def _tag_form(remote: Remote, subject: Descriptor) -> list[Descriptor]:
    """Give the signature that lies under a tag, named by that tag."""
    tag = tag_of(subject.digest, ".sig")
    found = remote.manifest(tag)
    if found is None:
        return []
    parsed = parse_manifest(found[0], f"{remote.reference}: {tag}")
    return [Descriptor(parsed.media_type, digest_of(found[0]), len(found[0]), {REF_NAME: tag})]


class _Copies:
    """Copies what is said of manifests into a layout, within bounds."""

    def __init__(self, remote: Remote, layout: NewLayout) -> None:
        self._remote = remote
        self._layout = layout
        self._size = 0
        self.left: list[str] = []

    def copy(self, row: Descriptor) -> bool:
        """Copy a manifest and its blobs; False when that is too much to be said of another."""
        try:
            return self._copied(row)
        except RefusedError:
            # Whoever referred to it, the artifact itself is as it was signed.
            self.left.append(row.digest)
            return False

    def _copied(self, row: Descriptor) -> bool:
        size = self._size + row.size
        if size <= _MAX_REFERRING_BYTES:
            data, manifest = fetch_manifest(self._remote, row, str(self._remote.reference))
            blobs = manifest.blobs() if isinstance(manifest, Manifest) else None
            size += sum(blob.size for blob in blobs or ())
            if blobs is not None and self._fits(blobs, size):
                self._size = size
                for blob in blobs:
                    found = self._remote.small_blob(blob, MAX_ATTESTATION_BYTES)
                    self._layout.add(found, blob.digest)
                self._layout.add(data, row.digest)
                return True
        self.left.append(row.digest)
        return False

    def _fits(self, blobs: Sequence[Descriptor], size: int) -> bool:
        one = all(blob.size <= MAX_ATTESTATION_BYTES for blob in blobs)
        return one and len(blobs) <= _MAX_REFERRING_BLOBS and size <= _MAX_REFERRING_BYTES
