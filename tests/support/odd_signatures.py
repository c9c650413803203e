"""Signatures on images as other tools, or nobody, would make them: each in one way unusual."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate, SubjectKeyIdentifier
from memory_signers import MemorySigner

from sprout.format import pe
from sprout.signing import authenticode, cms, der
from sprout.signing.chain import names

ALGORITHMS: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - what is refused
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
IDENTIFIERS = {name: number for number, name in authenticode.HASHES.items()}
CONTENT_TYPE = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_IMPLICIT = der.context(0, constructed=True)


def signature(
    image: bytes,
    key: MemorySigner,
    *,
    algorithm: str = "sha256",
    says: str | None = None,
    attributes: Sequence[str] | None = (CONTENT_TYPE, MESSAGE_DIGEST),
    content_type: str = authenticode.SPC_INDIRECT_DATA,
    certificates: Sequence[Certificate] | None = None,
    wrapped: bool = True,
    by_identifier: bool = False,
    signing: str = cms.RSA,
    unsigned: int = 0,
) -> bytes:
    """Give one signature over `image`.

    `says` is the algorithm that DigestInfo names, `attributes` which ones are signed (None: the
    content itself), `content_type` what the attribute of that name says, `certificates` what it
    carries (default: the key's own), `unsigned` the size of an attribute that nothing vouches for.
    """
    hashing = der.sequence(der.identifier(IDENTIFIERS[algorithm]), der.null())
    said = der.sequence(der.identifier(IDENTIFIERS[says or algorithm]), der.null())
    # What the product makes, up to DigestInfo.
    usual = der.Reader(authenticode._content(bytes(32)), "usual", "usual").enter(der.SEQUENCE)
    info = der.sequence(said, der.octets(authenticode.image_digest(image, "image", algorithm)))
    content = usual.any().raw + info
    message, signed = content, b""
    if attributes is not None:
        values = {
            CONTENT_TYPE: der.identifier(content_type),
            MESSAGE_DIGEST: der.octets(hashlib.new(algorithm, content).digest()),
        }
        rows = [der.sequence(der.identifier(row), der.set_of(values[row])) for row in attributes]
        message = der.set_of(*rows)
        signed = bytes((_IMPLICIT,)) + message[1:]
    called = names(key.certificate)
    signer = der.sequence(called.issuer, der.integer(called.serial))
    if by_identifier:
        digest = SubjectKeyIdentifier.from_public_key(key.key.public_key()).digest
        signer = der.element(der.context(0, constructed=False), digest)
    version = der.integer(3 if by_identifier else 1)
    more = der.sequence(der.identifier("1.2.3.4"), der.set_of(der.octets(bytes(unsigned))))
    signer_info = der.sequence(
        version,
        signer,
        hashing,
        signed,
        der.sequence(der.identifier(signing), der.null()),
        der.octets(key.key.sign(message, padding.PKCS1v15(), ALGORITHMS[algorithm])),
        der.element(der.context(1, constructed=True), more) if unsigned else b"",
    )
    carried = [key.certificate] if certificates is None else certificates
    whole = der.sequence(
        version,
        der.set_of(hashing),
        der.sequence(
            der.identifier(authenticode.SPC_INDIRECT_DATA),
            der.element(_IMPLICIT, der.sequence(content)),
        ),
        der.element(_IMPLICIT, *(row.public_bytes(Encoding.DER) for row in carried)),
        der.set_of(signer_info),
    )
    return cms._content_info(whole) if wrapped else whole


def entry(body: bytes, *, revision: int = 0x200, kind: int = 2, counted: bool = True) -> bytes:
    """Give a WIN_CERTIFICATE, padded; `counted` tells whether dwLength counts the padding."""
    padded = pe.align(len(body), 8)
    head = (8 + (padded if counted else len(body)), revision, kind)
    return authenticode._WIN_CERTIFICATE.pack(*head) + body.ljust(padded, b"\0")


def with_table(image: bytes, *entries: bytes) -> bytes:
    """Give the unsigned image with these entries in its certificate table."""
    places = authenticode._places(image, "image")
    whole = bytearray(image + bytes(-len(image) % 8))
    start = len(whole)
    whole += b"".join(entries)
    return authenticode._finished(whole, places, start)


def with_signatures(image: bytes, *signatures: bytes) -> bytes:
    """Give the unsigned image with these signatures."""
    return with_table(image, *map(entry, signatures))
