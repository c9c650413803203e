"""Is a digest signed by somebody trusted? Looks for both of cosign's forms, wherever they lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sprout.oci import cosign
from sprout.oci.digest import tag_of
from sprout.oci.keys import TrustedKey
from sprout.oci.model import Descriptor, Manifest, parse_manifest
from sprout.oci.refused import RefusedError, Why, altered

_MAX_SIGNATURES = 32
# The most telling refusal is the one that is reported.
_RANK = (Why.OTHER_PREDICATE, Why.OTHER_DIGEST, Why.STRANGER, Why.ALTERED, Why.MALFORMED)


class Source(Protocol):
    """Where artifacts and what refers to them are found: a registry, or a layout."""

    def manifest(self, name: str) -> tuple[bytes, str] | None:
        """Give a manifest by tag or digest with its media type, None where there is none."""

    def small_blob(self, row: Descriptor) -> bytes:
        """Give a small blob, verified against its descriptor."""

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """Give what refers to a manifest."""


@dataclass(frozen=True)
class Accepted:
    """A signature that is good: whose, and in which form ("bundle" or "tag")."""

    key: TrustedKey
    form: str


def check_signed(source: Source, digest: str, keys: Sequence[TrustedKey], where: str) -> Accepted:
    """Give the first signature of `digest` by one of `keys`.

    Raises RefusedError when there is none: the reason is that of the signature that came nearest.
    """
    refusals: list[RefusedError] = []
    for form, check in _candidates(source, digest, keys, where):
        try:
            return Accepted(check(), form)
        except RefusedError as error:
            refusals.append(error)
    if not refusals:
        raise RefusedError(Why.UNSIGNED, where, "is not signed")
    raise min(refusals, key=lambda error: _RANK.index(error.why))


def _candidates(
    source: Source, digest: str, keys: Sequence[TrustedKey], where: str
) -> Iterator[tuple[str, _Check]]:
    rows = [row for row in source.referrers(digest) if row.artifact_type == cosign.BUNDLE]
    for row in rows[:_MAX_SIGNATURES]:
        yield "bundle", _Check(source, row, digest, keys, where)
    found = source.manifest(tag_of(digest, ".sig"))
    if found is None:
        return
    manifest = parse_manifest(found[0], f"{where}: signature")
    if isinstance(manifest, Manifest):
        for layer in manifest.layers[:_MAX_SIGNATURES]:
            if layer.media_type == cosign.SIMPLE_SIGNING:
                yield "tag", _Check(source, layer, digest, keys, where)


@dataclass(frozen=True)
class _Check:
    """One signature that was found, and may be good: a bundle's manifest, or a tag form's layer."""

    source: Source
    row: Descriptor
    digest: str
    keys: Sequence[TrustedKey]
    where: str

    def __call__(self) -> TrustedKey:
        """Give the key that made it; raises RefusedError."""
        where = f"{self.where}: signature {self.row.digest[:19]}"
        if self.row.media_type == cosign.SIMPLE_SIGNING:
            note = self.row.annotations.get(cosign.SIGNATURE_NOTE, "")
            payload = self.source.small_blob(self.row)
            return cosign.check_simple(payload, note, self.digest, self.keys, where)
        found = self.source.manifest(self.row.digest)
        if found is None:
            raise altered(where, "is listed, but not there")
        manifest = parse_manifest(found[0], where)
        if not isinstance(manifest, Manifest) or len(manifest.layers) != 1:
            raise altered(where, "has not exactly one layer")
        if manifest.subject is None or manifest.subject.digest != self.digest:
            raise RefusedError(Why.OTHER_DIGEST, where, "refers to another manifest")
        bundle = self.source.small_blob(manifest.layers[0])
        return cosign.check_bundle(bundle, self.digest, self.keys, where)
