"""Keys in memory that sign as every other key of the product does: for tests of formats."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from sprout.signing import siglist

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@dataclass(frozen=True)
class MemorySigner:
    """An RSA key and its certificate."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    def sign(self, message: bytes, label: str) -> bytes:
        assert label
        return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write key and certificate as PEM, for other people's tools, and give their paths."""
        key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        certificate.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return key, certificate


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Give a key; the same name gives the same key within one run."""
    assert name
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def signer(
    name: str,
    *,
    bits: int = 2048,
    issuer: MemorySigner | None = None,
    ca: bool = False,
    begins: datetime = NOW - timedelta(days=1),
    ends: datetime = NOW + timedelta(days=3650),
    serial: int | None = None,
) -> MemorySigner:
    """Give a signer with a certificate of its own making, or one that `issuer` issued."""
    own_key = x509.SubjectKeyIdentifier.from_public_key(rsa_key(name, bits).public_key())
    extensions = [(x509.BasicConstraints(ca=ca, path_length=None), True), (own_key, False)]
    return certified(
        name, extensions, bits=bits, issuer=issuer, begins=begins, ends=ends, serial=serial
    )


def certified(
    name: str,
    extensions: Iterable[tuple[x509.ExtensionType, bool]],
    *,
    bits: int = 2048,
    issuer: MemorySigner | None = None,
    begins: datetime = NOW - timedelta(days=1),
    ends: datetime = NOW + timedelta(days=3650),
    serial: int | None = None,
) -> MemorySigner:
    """Give a signer whose certificate has these extensions, each critical or not."""
    key = rsa_key(name, bits)
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(issuer.certificate.subject if issuer else own)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return MemorySigner(key, builder.sign(issuer.key if issuer else key, hashes.SHA256()))


def revoked_tbs(owner: UUID, certificate: x509.Certificate) -> siglist.SignatureList:
    """Give the list that revokes a certificate by the SHA-256 of its TBSCertificate, for ever."""
    digest = hashlib.sha256(certificate.tbs_certificate_bytes).digest()
    row = siglist.SignatureData(owner, digest + bytes(16))  # a time of revocation of zero
    return siglist.SignatureList(siglist.X509_SHA256, (row,))


def elliptic_certificate() -> x509.Certificate:
    """Give a certificate whose key is not RSA."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "elliptic")])
    return (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(own)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
