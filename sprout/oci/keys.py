"""The public keys whose signatures on artifacts are believed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from sprout.base.errors import SproutError
from sprout.signing import keyring
from sprout.signing.reading import read_regular

_MAX_KEY_BYTES = 64 << 10
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True)
class TrustedKey:
    """A public key, and what the user calls it."""

    name: str
    key: PublicKey

    @property
    def fingerprint(self) -> str:
        """Give the SHA-256 of the key's SubjectPublicKeyInfo in hexadecimal digits."""
        return hashlib.sha256(public_der(self.key)).hexdigest()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Tell whether `signature` is this key's over `message`, hashed with SHA-256."""
        try:
            if isinstance(self.key, rsa.RSAPublicKey):
                self.key.verify(signature, message, padding.PKCS1v15(), SHA256())
            else:
                self.key.verify(signature, message, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


def public_der(key: PublicKey) -> bytes:
    """Give a key as SubjectPublicKeyInfo in DER."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def load_trusted(names: Iterable[str]) -> tuple[TrustedKey, ...]:
    """Read the keys that `--key` names: a KEY.pub directory, a certificate, or a public key in PEM.

    Of a directory all keys of the role `artifact` count, older ones too. Raises SproutError when
    one cannot be read or is of another kind.
    """
    found: list[TrustedKey] = []
    for name in names:
        path = keyring.resolve(name)
        if path.is_file():
            found.append(TrustedKey(path.name, _from_pem(path)))
            continue
        certificates = keyring.public(path).of("artifact")
        if not certificates:
            raise SproutError(
                f"{path}: has no key artifact", "Make one: sprout keys new, or name another."
            )
        found += [TrustedKey(path.name, _checked(row.public_key(), path)) for row in certificates]
    return tuple(found)


def _from_pem(path: Path) -> PublicKey:
    data = read_regular(path, _MAX_KEY_BYTES)
    try:
        if b"-----BEGIN CERTIFICATE-----" in data:
            return _checked(x509.load_pem_x509_certificate(data).public_key(), path)
        return _checked(load_pem_public_key(data), path)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SproutError(
            f"{path}: is no public key in PEM", "Name KEY.pub, or a file such as cosign.pub."
        ) from error


def _checked(key: object, path: Path) -> PublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        return key
    raise SproutError(f"{path}: is neither an ECDSA nor an RSA key", "Name another key.")
