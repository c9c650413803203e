"""Images with unusual signatures, what a machine trusts and revokes, and who refuses which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from cryptography import x509
from memory_signers import MemorySigner, certified, rsa_key, signer
from odd_signatures import (
    CONTENT_TYPE,
    MESSAGE_DIGEST,
    entry,
    signature,
    with_signatures,
    with_table,
)

from sprout.signing import cms, siglist
from sprout.signing.authenticode import image_digest
from sprout.signing.siglist import SignatureList
from sprout.signing.trust import Trust, merged, revocations
from sprout.signing.verify import By

OWNER = UUID("5a1d2f7c-5d5e-4a6b-9c0e-6f2f8c6f1e03")
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\5\0")


def usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass(frozen=True)
class Machine:
    """Images by name with who refuses each (None: nobody), and what is enrolled."""

    images: Mapping[str, tuple[bytes, By | None]]
    db: tuple[MemorySigner, ...]
    dbx: tuple[SignatureList, ...]

    @property
    def trust(self) -> Trust:
        own = Trust(images=tuple(key.certificate for key in self.db))
        return merged(own, revocations(siglist.pack(self.dbx), "dbx"))


def machine(plain: bytes, others: tuple[bytes, bytes, bytes]) -> Machine:
    """Sign `plain` in many ways; `others` are three images that are to be revoked by digest."""
    basic = (x509.BasicConstraints(ca=True, path_length=None), True)
    short = (x509.BasicConstraints(ca=True, path_length=0), True)
    db, stranger, small = signer("db"), signer("stranger"), signer("small", bits=1024)
    critical = certified("critical", [(UNKNOWN, True)])
    no_signing = certified("no keyCertSign", [basic, (usage(signs=False), True)])
    root = certified("short path", [short])
    middle = signer("middle", issuer=root, ca=True)
    bare = certified("no extensions", [])
    signing = certified("keyCertSign alone", [(usage(signs=True), True)])
    under_bare = signer("under no extensions", issuer=bare)
    under_signing = signer("under keyCertSign", issuer=signing)
    first, twin = signer("twin", serial=77), signer("twin", bits=3072, serial=77)
    once, again = signer("renewed", ca=True), signer("renewed", ca=True)
    purpose = x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.1")])
    server = certified("server", [(purpose, True)])
    by_384, by_256, by_1 = others
    assert rsa_key("twin") != rsa_key("twin", 3072)

    def of(key: MemorySigner, image: bytes = plain, **odd: object) -> bytes:
        return signature(image, key, **odd)  # type: ignore[arg-type]

    def one(key: MemorySigner, image: bytes = plain, **odd: object) -> bytes:
        return with_signatures(image, of(key, image, **odd))

    good = of(db)
    twins = (first.certificate, twin.certificate)
    carried = (signer("low", issuer=middle), middle)
    images: dict[str, tuple[bytes, By | None]] = {
        "good": (one(db), None),
        "SHA-384": (one(db, algorithm="sha384"), None),
        "SHA-512": (one(db, algorithm="sha512"), None),
        "no attributes": (one(db, attributes=None), None),
        "stranger and good": (with_signatures(plain, of(stranger), good), None),
        "critical purpose": (one(server), None),
        "twin last": (one(first, certificates=twins), None),
        "unpadded dwLength": (with_table(plain, entry(good, counted=False)), None),
        "stranger": (one(stranger), "firmware"),
        "twin first": (one(first, certificates=twins[::-1]), "firmware"),
        "critical unknown extension": (one(critical), "firmware"),
        "issuer without keyCertSign": (one(signer("leaf", issuer=no_signing)), "firmware"),
        "path too long": (
            one(carried[0], certificates=[row.certificate for row in carried]),
            "firmware",
        ),
        "revoked issuer": (one(under_signing), "firmware"),
        "good and revoked": (with_signatures(plain, good, of(under_signing)), "firmware"),
        "revoked by SHA-256": (one(db, by_256), "firmware"),
        "revoked by SHA-384": (one(db, by_384, algorithm="sha384"), "firmware"),
        # Firmware refuses these too, but what does not parse is nobody's word but this tool's.
        "no ContentInfo": (one(db, wrapped=False), "sprout"),
        "signer by key identifier": (one(db, by_identifier=True), "sprout"),
        "70 KB": (one(db, unsigned=70_000), "sprout"),
        # Firmware boots these.
        "revoked by SHA-384, signed with SHA-256": (one(db, by_384), "sprout"),
        "revoked by SHA-256, signed with SHA-384": (one(db, by_256, algorithm="sha384"), "sprout"),
        "revoked issuer that is none": (one(under_bare), "sprout"),
        "renewed, and the one before is revoked": (one(again), "sprout"),
        "SHA-1": (one(db, algorithm="sha1"), "sprout"),
        "no contentType": (one(db, attributes=(MESSAGE_DIGEST,)), "sprout"),
        "another contentType": (one(db, content_type=cms.DATA), "sprout"),
        "messageDigest twice": (
            one(db, attributes=(CONTENT_TYPE, MESSAGE_DIGEST, MESSAGE_DIGEST)),
            "sprout",
        ),
        "DigestInfo of another algorithm": (one(db, says="sha384"), "sprout"),
        "RSA-1024": (one(small), "sprout"),
        "another signatureAlgorithm": (one(db, signing="1.2.840.113549.1.1.12"), "sprout"),
        "good and junk": (with_signatures(plain, good, b"\x30\x03\x02\x01\x00"), "sprout"),
        "old revision": (with_table(plain, entry(good, revision=0x100)), "sprout"),
        "another type, then good": (
            with_table(plain, entry(bytes(24), kind=1), entry(good)),
            "sprout",
        ),
        "bytes after the signature": (with_signatures(plain, good + b"abc"), "sprout"),
        # Of this the firmware knows by the one digest that the signature has.
        "revoked by SHA-1": (one(db, by_1, algorithm="sha1"), "firmware"),
    }
    db_keys = (db, critical, no_signing, root, first, server, small, under_bare, under_signing)
    dbx = (
        siglist.x509(OWNER, bare.certificate),
        siglist.x509(OWNER, signing.certificate),
        siglist.x509(OWNER, once.certificate),
        siglist.images(OWNER, [image_digest(by_384, "image", "sha384")]),
        siglist.images(OWNER, [image_digest(by_256, "image")]),
        siglist.images(OWNER, [image_digest(by_1, "image", "sha1")]),
    )
    return Machine(images, (*db_keys, again), dbx)
