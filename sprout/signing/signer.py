"""What signs: the one interface that every kind of private key has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


class Signer(Protocol):
    """A private key, wherever it is: in a file, on a token, or on a machine without a network."""

    @property
    def certificate(self) -> Certificate:
        """The certificate of the key."""

    def sign(self, message: bytes, label: str) -> bytes:
        """Give the signature over `message`, hashed with SHA-256.

        RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2) for an RSA key, an ECDSA-Sig-Value in DER
        (RFC 3279, section 2.2.3) for one on P-256. `label` says what is signed, in a few words,
        such as "zone.efi" or "db". Raises SproutError when the key cannot sign.
        """
