"""Signature lists: what db and dbx hold (UEFI specification 2.10, section 32.4.1).

A signature list is a type, and signatures of equal size of that type, each with its owner. All
numbers are little-endian; GUIDs have their first three fields in that order too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate

from sprout.base.errors import SproutError

X509 = UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")  # a certificate in DER
SHA256 = UUID("c1c41626-504c-4092-aca9-41f936934328")  # an image's Authenticode digest
SHA1 = UUID("826ca512-cf10-4ac9-b187-be01496631bd")  # the same, by other algorithms
SHA384 = UUID("ff3e5307-9fd0-48c9-85f1-8ad56c701e01")
SHA512 = UUID("093e0fae-a6c4-4f50-9f1b-d41e2b89c19a")
X509_SHA256 = UUID("3bd2a492-96c0-4079-b420-fcf98ef103ed")  # TBSCertificate's digest and EFI_TIME

MAX_LIST_BYTES = 1 << 20  # far more than firmware has room for
_HEADER = struct.Struct("<16sIII")
_OWNER_BYTES = 16
_DIGEST_BYTES = {SHA1: 20, SHA256: 32, SHA384: 48, SHA512: 64}
IMAGE_TYPES = frozenset(_DIGEST_BYTES)
_DATA_BYTES = {**_DIGEST_BYTES, X509_SHA256: 48}
_TYPES = (X509, *_DATA_BYTES)
_HINT = "Make the file again; this one is damaged or no list of signatures."


@dataclass(frozen=True)
class SignatureData:
    """One signature: who put it there, and its bytes."""

    owner: UUID
    data: bytes


@dataclass(frozen=True)
class SignatureList:
    """Signatures of one type."""

    type: UUID
    signatures: tuple[SignatureData, ...]


def x509(owner: UUID, certificate: Certificate) -> SignatureList:
    """Give the list that trusts (in db) or revokes (in dbx) a certificate."""
    data = certificate.public_bytes(Encoding.DER)
    return SignatureList(X509, (SignatureData(owner, data),))


def images(owner: UUID, digests: Iterable[bytes]) -> SignatureList:
    """Give the list that trusts or revokes images by Authenticode digests of one algorithm.

    Their length tells it: SHA-1, SHA-256, SHA-384 or SHA-512. `pack` refuses all others.
    """
    rows = tuple(SignatureData(owner, digest) for digest in digests)
    size = len(rows[0].data) if rows else 0
    known = (kind for kind, length in _DIGEST_BYTES.items() if length == size)
    return SignatureList(next(known, SHA256), rows)


def pack(lists: Iterable[SignatureList]) -> bytes:
    """Give the bytes of signature lists one after another.

    Raises ValueError when a list is empty, or holds signatures of unequal or impossible sizes.
    """
    packed = bytearray()
    for row in lists:
        sizes = {len(signature.data) for signature in row.signatures}
        if len(sizes) != 1 or not sizes <= {_DATA_BYTES.get(row.type, min(sizes))}:
            raise ValueError(f"signatures of type {row.type} cannot have the sizes {sizes}")
        size = _OWNER_BYTES + sizes.pop()
        total = _HEADER.size + size * len(row.signatures)
        packed += _HEADER.pack(row.type.bytes_le, total, 0, size)
        for signature in row.signatures:
            packed += signature.owner.bytes_le + signature.data
    return bytes(packed)


def parse(data: bytes, where: object) -> tuple[SignatureList, ...]:
    """Read signature lists; `where` names their origin in errors.

    Raises SproutError naming the field when a size is wrong or a type is not one of those named
    above: what cannot be understood cannot be judged either.
    """
    if len(data) > MAX_LIST_BYTES:
        raise _error(where, 0, "", f"longer than the {MAX_LIST_BYTES:,} bytes allowed here")
    lists: list[SignatureList] = []
    offset = 0
    while offset < len(data):
        number = len(lists) + 1
        if len(data) - offset < _HEADER.size:
            raise _error(where, number, "header", "is cut short")
        kind, total, header, size = _HEADER.unpack_from(data, offset)
        if not _HEADER.size <= total <= len(data) - offset:
            raise _error(where, number, "SignatureListSize", f"{total:,} cannot be")
        guid = UUID(bytes_le=kind)
        if guid not in _TYPES:
            raise _error(where, number, "SignatureType", f"{guid} is not known here")
        if header:
            raise _error(where, number, "SignatureHeaderSize", f"{header:,} cannot be")
        body = data[offset + _HEADER.size : offset + total]
        lists.append(SignatureList(guid, _signatures(guid, body, size, where, number)))
        offset += total
    return tuple(lists)


def _signatures(
    guid: UUID, body: bytes, size: int, where: object, number: int
) -> tuple[SignatureData, ...]:
    wanted = _DATA_BYTES.get(guid)
    fits = size > _OWNER_BYTES if wanted is None else size == _OWNER_BYTES + wanted
    if not fits or not body or len(body) % size:
        raise _error(where, number, "SignatureSize", f"{size:,} cannot be")
    return tuple(
        SignatureData(
            UUID(bytes_le=body[start : start + _OWNER_BYTES]),
            body[start + _OWNER_BYTES : start + size],
        )
        for start in range(0, len(body), size)
    )


def _error(where: object, number: int, field: str, problem: str) -> SproutError:
    place = f": signature list {number}" if number else ""
    return SproutError(f"{where}{place}{f': {field}' if field else ''}: {problem}", _HINT)
