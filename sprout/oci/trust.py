"""Does somebody trusted vouch for a digest? Looks for both of cosign's forms, wherever they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sprout.oci import cosign
from sprout.oci.digest import tag_of
from sprout.oci.keys import TrustedKey
from sprout.oci.model import Descriptor, Manifest, parse_manifest
from sprout.oci.refused import RefusedError, Why, altered

# Anybody may refer to an artifact; so many are looked at, and so many bytes.
_MAX_SIGNATURES = 256
_MAX_LOOKED_AT = 64 << 20
# The most telling refusal is the one that is reported.
_RANK = (
    Why.AGAINST_POLICY,
    Why.OTHER_PREDICATE,
    Why.OTHER_DIGEST,
    Why.STRANGER,
    Why.ALTERED,
    Why.MALFORMED,
)


class Source(Protocol):
    """Where artifacts and what refers to them are found: a registry, or a layout."""

    def manifest(self, name: str) -> tuple[bytes, str] | None:
        """Give a manifest by tag or digest with its media type, None where there is none."""

    def small_blob(self, row: Descriptor, limit: int) -> bytes:
        """Give a blob of at most `limit` bytes, verified against its descriptor."""

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """Give what refers to a manifest."""


@dataclass(frozen=True)
class Accepted:
    """A signature that is good: whose, in which form ("bundle" or "tag"), and what it says."""

    key: TrustedKey
    form: str
    predicate: dict[str, Any] = field(default_factory=dict)


def check_signed(source: Source, digest: str, keys: Sequence[TrustedKey], where: str) -> Accepted:
    """Give the first signature of `digest` by one of `keys`.

    Raises RefusedError when there is none: the reason is that of the signature that came nearest.
    """
    bundles = _bundles(source, digest, keys, where, cosign.SIGNED)
    return _first([bundles, _tags(source, digest, keys, where)], where, Why.UNSIGNED, "signed")


def check_attested(
    source: Source,
    digest: str,
    keys: Sequence[TrustedKey],
    where: str,
    predicate: str,
    *,
    judge: Callable[[dict[str, Any]], None],
) -> Accepted:
    """Give the first statement of that predicate about `digest` that one of `keys` signed.

    `judge` raises RefusedError for one that does not say what is demanded. Raises RefusedError when
    there is none, as `check_signed` does.
    """
    bundles = _bundles(source, digest, keys, where, predicate)
    return _first([bundles], where, Why.NOT_ATTESTED, f"vouched for by any {predicate}", judge)


def _first(
    forms: Sequence[Iterator[_Check]],
    where: str,
    why: Why,
    missing: str,
    judge: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Accepted:
    refusals: list[RefusedError] = []
    for candidates in forms:
        for check in candidates:
            try:
                accepted = check()
                judge(accepted.predicate)
                return accepted
            except RefusedError as error:
                # Not what it was raised in: that may hold megabytes of what a stranger wrote.
                refusals.append(RefusedError.again(error))
    if not refusals:
        raise RefusedError(why, where, f"is not {missing}")
    raise min(refusals, key=lambda error: _RANK.index(error.why))


def _bundles(
    source: Source, digest: str, keys: Sequence[TrustedKey], where: str, predicate: str
) -> Iterator[_Check]:
    rows = [row for row in source.referrers(digest) if row.artifact_type == cosign.BUNDLE]
    # The list is not signed: what it calls otherwise may be it all the same, and is looked at last.
    rows.sort(key=lambda row: row.annotations.get(cosign.PREDICATE_NOTE, predicate) != predicate)
    budget = _Budget(_MAX_LOOKED_AT)
    for row in rows[:_MAX_SIGNATURES]:
        yield _Check(source, row, digest, keys, where, predicate, budget)


def _tags(source: Source, digest: str, keys: Sequence[TrustedKey], where: str) -> Iterator[_Check]:
    found = source.manifest(tag_of(digest, ".sig"))
    if found is None:
        return
    manifest = parse_manifest(found[0], f"{where}: signature")
    if isinstance(manifest, Manifest):
        budget = _Budget(_MAX_LOOKED_AT)
        for layer in manifest.layers[:_MAX_SIGNATURES]:
            if layer.media_type == cosign.SIMPLE_SIGNING:
                yield _Check(source, layer, digest, keys, where, cosign.SIGNED, budget)


class _Budget:
    """How many bytes are still read of what nobody has vouched for yet."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, size: int, where: str) -> None:
        self._left -= size
        if self._left < 0:
            raise altered(where, "is not looked at: too much lies here that nobody trusted signed")


@dataclass(frozen=True)
class _Check:
    """One signature that was found, and may be good: a bundle's manifest, or a tag form's layer."""

    source: Source
    row: Descriptor
    digest: str
    keys: Sequence[TrustedKey]
    where: str
    predicate: str
    budget: _Budget

    def __call__(self) -> Accepted:
        """Give what it vouches for, and whose it is; raises RefusedError."""
        where = f"{self.where}: signature {self.row.digest[:19]}"
        if self.row.media_type == cosign.SIMPLE_SIGNING:
            self.budget.take(self.row.size, where)
            note = self.row.annotations.get(cosign.SIGNATURE_NOTE, "")
            payload = self.source.small_blob(self.row, cosign.MAX_SIGNATURE_BYTES)
            return Accepted(
                cosign.check_simple(payload, note, self.digest, self.keys, where), "tag"
            )
        self.budget.take(self.row.size, where)
        found = self.source.manifest(self.row.digest)
        if found is None:
            raise altered(where, "is listed, but not there")
        manifest = parse_manifest(found[0], where)
        if not isinstance(manifest, Manifest) or len(manifest.layers) != 1:
            raise altered(where, "has not exactly one layer")
        if manifest.subject is None or manifest.subject.digest != self.digest:
            raise RefusedError(Why.OTHER_DIGEST, where, "refers to another manifest")
        self.budget.take(manifest.layers[0].size, where)
        bundle = self.source.small_blob(manifest.layers[0], cosign.MAX_ATTESTATION_BYTES)
        key, said = cosign.check_bundle(bundle, self.digest, self.keys, where, self.predicate)
        return Accepted(key, "bundle", said)
