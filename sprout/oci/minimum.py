"""The lowest versions that may still be installed, signed: so that nobody can be led back.

A DSSE envelope (secure-systems-lab/dsse, envelope.md) over {"minimum": {IMAGE: VERSION}}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from sprout.base.files import read_bounded
from sprout.oci.cosign import dsse_message, envelope_of, open_envelope
from sprout.oci.keys import TrustedKey
from sprout.oci.refused import RefusedError, Why, malformed
from sprout.oci.strict_json import parse_json, table_field, write_json

if TYPE_CHECKING:
    from sprout.signing.signer import Signer

PAYLOAD = "application/vnd.sprout.minimum.v1+json"
_MAX_BYTES = 1 << 20
_MAX_IMAGES = 1024
_MAX_VERSION = 64


def sign_minimum(versions: Mapping[str, Version], signer: Signer) -> bytes:
    """Give the signed document of the lowest version of each image.

    Raises SproutError when the key cannot sign.
    """
    body = write_json({"minimum": {name: str(version) for name, version in versions.items()}})
    signature = signer.sign(dsse_message(PAYLOAD, body), "minimum versions")
    return write_json(envelope_of(PAYLOAD, body, signature))


def read_minimum(path: Path, keys: Sequence[TrustedKey]) -> dict[str, Version]:
    """Read a document that one of `keys` has signed: the lowest version of each image.

    Raises RefusedError when none of them has, or it is malformed.
    """
    where = str(path)
    envelope = parse_json(read_bounded(path, _MAX_BYTES), where)
    kind, body, _ = open_envelope(envelope, keys, where)
    if kind != PAYLOAD:
        raise RefusedError(Why.OTHER_PREDICATE, where, f"is a {kind[:100]}, not a {PAYLOAD}")
    rows = table_field(parse_json(body, where), "minimum", where)
    if len(rows) > _MAX_IMAGES:
        raise malformed(where, f"names more than {_MAX_IMAGES:,} images")
    return {name: parse_version(text, where) for name, text in rows.items()}


def parse_version(text: object, where: str) -> Version:
    """Read a version such as 6.12.117, which orders as its numbers do; raises RefusedError."""
    try:
        found = Version(text if isinstance(text, str) and len(text) <= _MAX_VERSION else "")
    except InvalidVersion as error:
        raise malformed(where, f"{str(text)[:80]!r} is no version") from error
    if found.epoch:  # it would stand above everything, and no kernel has one
        raise malformed(where, f"the version {str(found)!r} has an epoch")
    return found
