"""Private keys encrypted with a passphrase: PKCS #8 with PBES2 (RFC 5958 and RFC 8018).

`cryptography`'s own encryption stretches a passphrase by 2,048 rounds only, and takes no other
number; hence these few lines. Any tool that reads PBES2 reads the result, `openssl` included.
"""

from __future__ import annotations

import base64
import hashlib
import os

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sprout.signing import der
from sprout.signing.certificates import PrivateKey

ROUNDS = 600_000  # PBKDF2-HMAC-SHA-256, what OWASP's Password Storage Cheat Sheet asks for
_SALT_BYTES = 16
_PBES2 = "1.2.840.113549.1.5.13"
_PBKDF2 = "1.2.840.113549.1.5.12"
_HMAC_SHA256 = "1.2.840.113549.2.9"
_AES256_CBC = "2.16.840.1.101.3.4.1.42"
_LINE = 64


def encrypt(key: PrivateKey, passphrase: bytes) -> bytes:
    """Give `key` as PEM, "ENCRYPTED PRIVATE KEY", which only `passphrase` opens."""
    salt, start = os.urandom(_SALT_BYTES), os.urandom(AES256.block_size // 8)
    secret = hashlib.pbkdf2_hmac("sha256", passphrase, salt, ROUNDS, AES256.key_size // 8)
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    padder = PKCS7(AES256.block_size).padder()
    encryptor = Cipher(AES256(secret), CBC(start)).encryptor()
    sealed = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    stretching = der.sequence(
        der.octets(salt),
        der.integer(ROUNDS),
        der.sequence(der.identifier(_HMAC_SHA256), der.null()),
    )
    scheme = der.sequence(
        der.sequence(der.identifier(_PBKDF2), stretching),
        der.sequence(der.identifier(_AES256_CBC), der.octets(start)),
    )
    info = der.sequence(der.sequence(der.identifier(_PBES2), scheme), der.octets(sealed))
    text = base64.b64encode(info).decode()
    lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    label = "ENCRYPTED PRIVATE KEY"
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()
