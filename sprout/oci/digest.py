"""Digests that name content (OCI image-spec 1.1, descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from sprout.oci.refused import altered, malformed

if TYPE_CHECKING:
    from hashlib import _Hash

# The registered algorithms, with the number of their hexadecimal digits.
_DIGITS = {"sha256": 64, "sha512": 128}
_TAG_FORM = re.compile(r"sha(?:256|512)-[0-9a-f]{64}\.sig")
_SHAPE = re.compile(r"([a-z0-9]{1,32}(?:[+._-][a-z0-9]{1,32})*):([0-9A-Za-z=_-]{1,256})")


def parse_digest(text: object, where: str) -> str:
    """Give `text` back when it is a digest of a known algorithm.

    Raises RefusedError, naming `where`, when it is not.
    """
    match = _SHAPE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise malformed(where, f"{str(text)[:80]!r} is no digest")
    algorithm, value = match.groups()
    if algorithm not in _DIGITS:
        raise malformed(where, f"the digest algorithm {algorithm} is unknown")
    if not re.fullmatch(f"[0-9a-f]{{{_DIGITS[algorithm]}}}", value):
        raise malformed(where, f"{match[0][:80]} is no {algorithm} digest")
    return match[0]


def hasher(digest: str) -> _Hash:
    """Give a new hash object of the algorithm of a parsed digest."""
    return hashlib.new(digest.partition(":")[0], usedforsecurity=True)


def digest_of(data: bytes) -> str:
    """Give the SHA-256 digest of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def check_bytes(data: bytes, digest: str, where: str) -> None:
    """Raise RefusedError when `data` does not have this digest."""
    found = hasher(digest)
    found.update(data)
    check_hash(found, digest, where)


def check_hash(found: _Hash, digest: str, where: str) -> None:
    """Raise RefusedError when what was hashed does not have this digest."""
    algorithm, _, value = digest.partition(":")
    if found.hexdigest() != value:
        raise altered(where, f"its digest is {algorithm}:{found.hexdigest()}, not {digest}")


def tag_of(digest: str, suffix: str = "") -> str:
    """Give the tag that stands for a digest: `sha256-HEX` (distribution-spec 1.1, "Referrers Tag").

    `suffix` is what cosign appends, such as ".sig".
    """
    algorithm, _, value = digest.partition(":")
    return f"{algorithm}-{value[:64]}{suffix}"


def is_tag_form(tag: str) -> bool:
    """Tell whether a tag is that of a signature in cosign's older form."""
    return _TAG_FORM.fullmatch(tag) is not None
