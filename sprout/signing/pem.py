"""Private keys in files: PEM, encrypted, and readable by their owner alone."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sprout.base.errors import SproutError
from sprout.signing.certificates import EC_TYPE, PrivateKey, public_key, same_key
from sprout.signing.passphrase import Passphrase
from sprout.signing.private_files import leave_no_core, read_private

MAX_KEY_BYTES = 64 << 10
_SEALED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


def generate(key_type: str) -> PrivateKey:
    """Make a new private key; `key_type` is as in signing/profiles.toml."""
    if key_type == EC_TYPE:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, int(key_type.removeprefix("rsa-")))


def load_key(path: Path, passphrase: Passphrase, *, plain: bool = False) -> PrivateKey:
    """Read a private key that `passphrase` opens; `plain` allows one without encryption.

    Raises SproutError when others may read the file, when it is not encrypted PKCS #8, or when the
    passphrase is not its own.
    """
    leave_no_core()
    data = read_private(path, MAX_KEY_BYTES)
    if b"-----BEGIN" not in data:
        raise SproutError(f"{path}: is no private key in PEM", "Convert it: openssl pkey -in FILE.")
    sealed = _SEALED in data or b"\nProc-Type: 4,ENCRYPTED" in data
    if not sealed and not plain:
        raise SproutError(
            f"{path}: the private key is not encrypted",
            "Encrypt it: `sprout keys import NAME ROLE --key FILE --certificate FILE`.",
        )
    try:
        key = load_pem_private_key(data, passphrase.get() if sealed else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # The library's own words may quote what it read; none of them are repeated.
        if sealed:
            raise SproutError(
                f"{path}: the passphrase does not open it, or it is damaged", "Try again."
            ) from error
        raise SproutError(f"{path}: is no private key in PEM", "Name another file.") from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise SproutError(f"{path}: is neither an RSA nor an ECDSA key", "Make another key.")
    return key


def open_signer(path: Path, certificate: x509.Certificate, passphrase: Passphrase) -> PemSigner:
    """Open the key file that belongs to `certificate`.

    Raises SproutError as `load_key` does, and when the key is another certificate's.
    """
    key = load_key(path, passphrase)
    if not same_key(key.public_key(), public_key(certificate, path)):
        raise SproutError(
            f"{path}: is not the key of its certificate",
            "Put the key and the certificate that were made together back in place.",
        )
    return PemSigner(certificate, key)


class PemSigner:
    """Signs with a key that was read from a file."""

    def __init__(self, certificate: x509.Certificate, key: PrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of the key."""
        return self._certificate

    def sign(self, message: bytes, label: str) -> bytes:
        """Give the signature over `message`; the same message always gives the same bytes."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(message, padding.PKCS1v15(), SHA256())
        # RFC 6979: what is signed twice is the same twice, and needs no good random numbers.
        return self._key.sign(message, ec.ECDSA(SHA256(), deterministic_signing=True))
