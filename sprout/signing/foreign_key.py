"""Lets `cryptography` make the certificate of a key whose private half it never sees.

Its certificate builder takes any object that is one of its private key types and can sign.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sprout.signing.certificates import PrivateKey, PublicKey

Sign = Callable[[bytes], bytes]


def foreign_key(public: PublicKey, sign: Sign) -> PrivateKey:
    """Give a private key object that signs by calling `sign` with the message.

    `sign` hashes with SHA-256, as `Signer.sign` does; the key can do nothing else.
    """
    if isinstance(public, rsa.RSAPublicKey):
        return _Rsa(public, sign)
    return _Elliptic(public, sign)


def _not_here() -> NoReturn:
    raise NotImplementedError("the private key is not in this process")


class _Rsa(rsa.RSAPrivateKey):
    def __init__(self, public: rsa.RSAPublicKey, sign: Sign) -> None:
        self._public = public
        self._sign = sign

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public

    def sign(self, data: Any, padding: object, algorithm: object) -> bytes:  # noqa: ANN401
        return self._sign(bytes(data))

    def decrypt(self, ciphertext: object, padding: object) -> bytes:
        _not_here()

    def private_numbers(self) -> rsa.RSAPrivateNumbers:
        _not_here()

    def private_bytes(self, *arguments: object, **options: object) -> bytes:
        _not_here()

    def __copy__(self) -> rsa.RSAPrivateKey:
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> rsa.RSAPrivateKey:
        return self


class _Elliptic(ec.EllipticCurvePrivateKey):
    def __init__(self, public: ec.EllipticCurvePublicKey, sign: Sign) -> None:
        self._public = public
        self._sign = sign

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    def sign(self, data: Any, signature_algorithm: object) -> bytes:  # noqa: ANN401
        return self._sign(bytes(data))

    def exchange(self, algorithm: object, peer_public_key: object) -> bytes:
        _not_here()

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        _not_here()

    def private_bytes(self, *arguments: object, **options: object) -> bytes:
        _not_here()

    def __copy__(self) -> ec.EllipticCurvePrivateKey:
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> ec.EllipticCurvePrivateKey:
        return self
