"""Private keys in PKCS #11 tokens: made there, used there, and never outside.

(OASIS PKCS #11, "Cryptographic Token Interface Base Specification", version 2.40.) Every operation
opens the token's library and closes it again, so that nothing stays logged in between two of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sprout.base.errors import SproutError
from sprout.signing import der
from sprout.signing.certificates import (
    EC_TYPE,
    PublicKey,
    public_key,
    same_key,
    signature_fits,
)
from sprout.signing.passphrase import Passphrase
from sprout.signing.pkcs11_uri import TokenUri

if TYPE_CHECKING:
    from collections.abc import Sequence

_ID_BYTES = 16
_P256 = der.identifier("1.2.840.10045.3.1.7")
_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")  # RFC 8017, section 9.2
_PIN_TROUBLE = {
    "CKR_PIN_INCORRECT": "the PIN is wrong",
    "CKR_PIN_LOCKED": "the PIN is locked after too many wrong ones",
    "CKR_PIN_LEN_RANGE": "the PIN is too short or too long",
}


def generate(uri: TokenUri, pin: Passphrase, key_type: str, label: str) -> TokenUri:
    """Make a key pair in a token, and give its URI.

    The private key is sensitive and not extractable: the token gives it to nobody, its owner
    included. `key_type` is as in signing/profiles.toml. Raises SproutError when the token refuses,
    or makes a key that could leave it.
    """
    identifier = os.urandom(_ID_BYTES)
    with _session(uri, pin, write=True) as (session, names):
        common = [(names.CKA_TOKEN, True), (names.CKA_LABEL, label), (names.CKA_ID, identifier)]
        if key_type == EC_TYPE:
            mechanism = names.CKM_EC_KEY_PAIR_GEN
            size: list[tuple[int, object]] = [(names.CKA_EC_PARAMS, _P256)]
        else:
            mechanism = names.CKM_RSA_PKCS_KEY_PAIR_GEN
            bits = int(key_type.removeprefix("rsa-"))
            size = [(names.CKA_MODULUS_BITS, bits), (names.CKA_PUBLIC_EXPONENT, b"\1\0\1")]
        public = [*common, *size, (names.CKA_VERIFY, True), (names.CKA_PRIVATE, False)]
        private = [
            *common,
            *((names.CKA_PRIVATE, True), (names.CKA_SENSITIVE, True)),
            *((names.CKA_EXTRACTABLE, False), (names.CKA_SIGN, True), (names.CKA_DECRYPT, False)),
        ]
        pair = session.generateKeyPair(public, private, names.Mechanism(mechanism, None))
        asked = [names.CKA_SENSITIVE, names.CKA_EXTRACTABLE]
        if [bool(value) for value in session.getAttributeValue(pair[1], asked)] != [True, False]:
            for handle in pair:
                session.destroyObject(handle)
            raise SproutError(f"{uri.text()}: makes keys that can leave it", "Use another token.")
    return uri.with_key(label, identifier)


def destroy(uri: TokenUri, pin: Passphrase) -> None:
    """Remove a key pair from its token, for ever; raises SproutError when the token refuses."""
    with _session(uri, pin, write=True) as (session, names):
        for kind in (names.CKO_PRIVATE_KEY, names.CKO_PUBLIC_KEY):
            for handle in session.findObjects(_template(uri, names, kind)):
                session.destroyObject(handle)


def find(uri: TokenUri, pin: Passphrase) -> PublicKey:
    """Give the public key of the one private key that `uri` names.

    Raises SproutError when there is none or more than one, or the token has no public half of it.
    """
    with _session(uri, pin) as (session, names):
        _one(session, names, uri, names.CKO_PRIVATE_KEY)
        return _public_key(session, names, uri)


def sign(uri: TokenUri, pin: Passphrase, message: bytes) -> bytes:
    """Sign `message`, hashed with SHA-256, as `Signer.sign` says; raises SproutError."""
    digest = hashlib.sha256(message).digest()
    with _session(uri, pin) as (session, names):
        handle = _one(session, names, uri, names.CKO_PRIVATE_KEY)
        (kind,) = session.getAttributeValue(handle, [names.CKA_KEY_TYPE])
        if kind == names.CKK_RSA:
            # The padding of a ready DigestInfo is what every token can do.
            mechanism = names.Mechanism(names.CKM_RSA_PKCS, None)
            return bytes(session.sign(handle, _DIGEST_INFO + digest, mechanism))
        raw = bytes(session.sign(handle, digest, names.Mechanism(names.CKM_ECDSA, None)))
    half = len(raw) // 2
    return encode_dss_signature(
        int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
    )


class TokenSigner:
    """Signs with a key in a token."""

    def __init__(self, certificate: x509.Certificate, uri: TokenUri, pin: Passphrase) -> None:
        self._certificate = certificate
        self._uri = uri
        self._pin = pin

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of the key."""
        return self._certificate

    def sign(self, message: bytes, label: str) -> bytes:
        """Give the token's signature over `message`, after checking it."""
        signature = sign(self._uri, self._pin, message)
        if not signature_fits(self._certificate, message, signature):
            raise SproutError(
                f"{self._uri.text()}: {label}: its signature does not fit the certificate",
                "Import the certificate that belongs to this key.",
            )
        return signature


def open_signer(uri: TokenUri, certificate: x509.Certificate, pin: Passphrase) -> TokenSigner:
    """Open the key in a token that belongs to `certificate`.

    Raises SproutError as `find` does, and when the key is another certificate's.
    """
    if not same_key(find(uri, pin), public_key(certificate, uri.text())):
        raise SproutError(
            f"{uri.text()}: is not the key of its certificate",
            "Name the key and the certificate that were made together.",
        )
    return TokenSigner(certificate, uri, pin)


@contextmanager
def _session(uri: TokenUri, pin: Passphrase, *, write: bool = False) -> Iterator[tuple[Any, Any]]:
    """Log in to the token; give the session, and the module with PKCS #11's names."""
    import PyKCS11  # noqa: PLC0415 - start-up, and only owners of tokens need it

    if not uri.module_path.is_file():
        raise SproutError(f"{uri.module_path}: no such PKCS #11 library", "Mend module-path.")
    secret = pin.get()
    library = PyKCS11.PyKCS11Lib()
    session = None
    try:
        library.load(str(uri.module_path))
        flags = PyKCS11.CKF_SERIAL_SESSION | (PyKCS11.CKF_RW_SESSION if write else 0)
        session = library.openSession(_slot(library, uri), flags)
        session.login(secret)
        yield session, PyKCS11
    except PyKCS11.PyKCS11Error as error:
        raise _trouble(uri, str(error)) from error
    finally:
        with suppress(PyKCS11.PyKCS11Error):
            if session is not None:
                session.closeSession()
        with suppress(PyKCS11.PyKCS11Error):
            library.unload()


def _trouble(uri: TokenUri, text: str) -> SproutError:
    problem = _PIN_TROUBLE.get(text.split(" ", 1)[0])
    hint = "Check the PIN before you try again: a few wrong ones lock it."
    return SproutError(
        f"{uri.text()}: {problem or text}", hint if problem else "Check the token and its library."
    )


def _slot(library: Any, uri: TokenUri) -> int:  # noqa: ANN401 - PyKCS11 has no types
    found: list[int] = []
    for slot in library.getSlotList(tokenPresent=True):
        info = library.getTokenInfo(slot)
        there = (info.label, info.manufacturerID, info.serialNumber, info.model)
        wanted = (uri.token, uri.manufacturer, uri.serial, uri.model)
        if all(
            not want or want == has.rstrip(" \0") for want, has in zip(wanted, there, strict=True)
        ):
            found.append(slot)
    if len(found) != 1:
        raise SproutError(
            f"{uri.text()}: {len(found) or 'no'} such token(s)",
            "Plug the token in, or name it by its serial number: serial=….",
        )
    return found[0]


def _template(uri: TokenUri, names: Any, kind: int) -> Sequence[tuple[int, object]]:  # noqa: ANN401
    template: list[tuple[int, object]] = [(names.CKA_CLASS, kind)]
    if uri.object:
        template.append((names.CKA_LABEL, uri.object))
    if uri.id:
        template.append((names.CKA_ID, uri.id))
    return template


def _one(session: Any, names: Any, uri: TokenUri, kind: int) -> Any:  # noqa: ANN401
    found = session.findObjects(_template(uri, names, kind))
    if len(found) != 1:
        word = "private" if kind == names.CKO_PRIVATE_KEY else "public"
        raise SproutError(
            f"{uri.text()}: {len(found) or 'no'} {word} key(s) of that name in the token",
            "Name one by object=LABEL and id=%….",
        )
    return found[0]


def _public_key(session: Any, names: Any, uri: TokenUri) -> PublicKey:  # noqa: ANN401
    handle = _one(session, names, uri, names.CKO_PUBLIC_KEY)
    (kind,) = session.getAttributeValue(handle, [names.CKA_KEY_TYPE])
    try:
        if kind == names.CKK_RSA:
            asked = [names.CKA_MODULUS, names.CKA_PUBLIC_EXPONENT]
            modulus, exponent = map(bytes, session.getAttributeValue(handle, asked))
            numbers = int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")
            return rsa.RSAPublicNumbers(*numbers).public_key()
        asked = [names.CKA_EC_PARAMS, names.CKA_EC_POINT]
        parameters, point = map(bytes, session.getAttributeValue(handle, asked))
        if parameters != _P256:
            raise ValueError("the curve is not P-256")
        # The specification wraps the point in an OCTET STRING; some tokens do not.
        bare = point[2:] if len(point) == 67 and point[:2] == b"\x04\x41" else point
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bare)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SproutError(f"{uri.text()}: public key: {error}", "Make another key.") from error
