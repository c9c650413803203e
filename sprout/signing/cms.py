"""SignedData: the message that Authenticode, EFI variables and kernel modules carry (RFC 5652).

Everything made here is deterministic: RSASSA-PKCS1-v1_5 over SHA-256 and no signing time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate

from sprout.base.errors import SproutError
from sprout.signing import der
from sprout.signing.chain import key_identifier, names
from sprout.signing.signer import Signer

DATA = "1.2.840.113549.1.7.1"
RSA = "1.2.840.113549.1.1.1"
SHA256 = "2.16.840.1.101.3.4.2.1"
DIGESTS = {  # NIST's identifiers of what a signature may hash with
    SHA256: "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
MAX_SIGNED_DATA_BYTES = 1 << 20
MIN_KEY_BITS = 2048
MAX_KEY_BITS = 8192  # a key from outside must not keep anybody busy

_SIGNED_DATA = "1.2.840.113549.1.7.2"
_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_RSA_WITH = {  # RFC 8017, appendix C: these name the digest a second time
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
}
_MAX_CERTIFICATES = 32
_MAX_ATTRIBUTES = 32
_TAGGED = der.context(0, constructed=True)
_HINT = "Sign the file again, or get it again from where it was made."


class StricterError(SproutError):
    """What is refused here, and what firmware or kernel may well accept."""


@dataclass(frozen=True)
class SignedData:
    """One message: what is signed (None when detached), certificates, and one signer.

    `content` is without its element's tag and length. The signer is known either by `issuer` (a
    name in DER) and `serial` or by `key_identifier`. Algorithms are object identifiers.
    `attributes` is the SET that is signed in place of the content, None where there is none.
    """

    content_type: str
    content: bytes | None
    certificates: tuple[Certificate, ...]
    issuer: bytes | None
    serial: int | None
    key_identifier: bytes | None
    digest: str
    algorithm: str
    attributes: bytes | None
    signature: bytes


def attached(signer: Signer, content_type: str, content: bytes, label: str) -> bytes:
    """Give a ContentInfo with the DER element `content`, signed attributes and the certificate.

    Raises SproutError when the key is no RSA key or cannot sign.
    """
    inner = der.Reader(content, label, "content").any().content
    return _content_info(_message(signer, inner, label, content_type, content, null=True))


def detached(signer: Signer, content: bytes, label: str) -> bytes:
    """Give the bare SignedData over `content`, with the certificate and without attributes.

    EFI_VARIABLE_AUTHENTICATION_2 wants it so (UEFI specification 2.10, section 8.2.6). Raises as
    `attached` does.
    """
    return _message(signer, content, label, DATA, None, null=True)


def anonymous(signer: Signer, content: bytes, label: str) -> bytes:
    """Give a ContentInfo over `content` without it, without certificates and attributes.

    It is what the kernel's scripts/sign-file appends to a module. Raises as `attached` does.
    """
    message = _message(signer, content, label, DATA, None, null=False, certificate=False)
    return _content_info(message)


def _content_info(message: bytes) -> bytes:
    return der.sequence(der.identifier(_SIGNED_DATA), der.element(_TAGGED, message))


def _message(
    signer: Signer,
    signed: bytes,
    label: str,
    content_type: str,
    content: bytes | None,
    *,
    null: bool,
    certificate: bool = True,
) -> bytes:
    """Give a SignedData: with attributes where there is content, over `signed` itself where not.

    `null`: SHA-256 has NULL parameters, as in PKCS #7, or none, as RFC 5754 section 2 prefers.
    """
    if not isinstance(signer.certificate.public_key(), rsa.RSAPublicKey):
        raise SproutError(
            f"{label}: an RSA key is needed, and this one is none",
            "Sign with the key that was made for this: db, KEK or PK, or module.",
        )
    hashing = der.sequence(der.identifier(SHA256), *([der.null()] if null else []))
    wrapped = b"" if content is None else der.element(_TAGGED, content)
    message, attributes = signed, b""
    if content is not None:
        message = der.set_of(
            _attribute(_CONTENT_TYPE, der.identifier(content_type)),
            _attribute(_MESSAGE_DIGEST, der.octets(hashlib.sha256(signed).digest())),
        )
        attributes = bytes((_TAGGED,)) + message[1:]
    called = names(signer.certificate)
    signer_info = der.sequence(
        der.integer(1),
        der.sequence(called.issuer, der.integer(called.serial)),
        hashing,
        attributes,
        der.sequence(der.identifier(RSA), der.null()),
        der.octets(signer.sign(message, label)),
    )
    own = signer.certificate.public_bytes(Encoding.DER)
    return der.sequence(
        der.integer(1),
        der.set_of(hashing),
        der.sequence(der.identifier(content_type), wrapped),
        der.element(_TAGGED, own) if certificate else b"",
        der.set_of(signer_info),
    )


def _attribute(kind: str, value: bytes) -> bytes:
    return der.sequence(der.identifier(kind), der.set_of(value))


def parse(data: bytes, where: object, *, padding: int = 0, wrapped: bool = False) -> SignedData:
    """Read a SignedData of one signer, in a ContentInfo or, where not `wrapped`, bare.

    At most `padding` zero bytes may follow it. Raises SproutError naming the field that is wrong.
    Algorithms are judged by `verify`, not here.
    """
    if len(data) > MAX_SIGNED_DATA_BYTES:
        raise SproutError(
            f"{where}: SignedData: longer than {MAX_SIGNED_DATA_BYTES:,} bytes", _HINT
        )
    outer = der.Reader(data, where, "ContentInfo")
    reader = outer.enter(der.SEQUENCE)
    if len(outer.rest) > padding or any(outer.rest):
        raise outer.error("something follows it")
    if wrapped or reader.peek() == der.OBJECT_IDENTIFIER:
        if reader.identifier("contentType") != _SIGNED_DATA:
            raise reader.error("is not SignedData")
        wrapper = reader.enter(_TAGGED, "content")
        reader.finish()
        reader = wrapper.enter(der.SEQUENCE, "SignedData")
        wrapper.finish()
    return _signed_data(reader)


def _signed_data(reader: der.Reader) -> SignedData:
    version = reader.integer("version")
    if version not in (1, 3):
        raise reader.error(f"{version} is neither 1 nor 3")
    digests = reader.enter(der.SET, "digestAlgorithms")
    announced = _algorithm(digests, "digestAlgorithms")
    digests.finish()
    inner = reader.enter(der.SEQUENCE, "encapContentInfo")
    content_type = inner.identifier("eContentType")
    content = None
    if not inner.at_end:
        explicit = inner.enter(_TAGGED, "eContent")
        # PKCS #7 (RFC 2315, section 7) has no OCTET STRING around what is no plain data.
        content = explicit.read(der.OCTET_STRING if content_type == DATA else der.SEQUENCE).content
        explicit.finish()
    inner.finish()
    certificates = _certificates(reader)
    if reader.peek() == der.context(1, constructed=True):
        reader.any()  # revocation lists: nobody here reads them
    signers = reader.enter(der.SET, "signerInfos")
    reader.finish()
    signer = signers.enter(der.SEQUENCE, "SignerInfo")
    if signer.integer("SignerInfo version") != version:
        # RFC 5652, section 5.1, and PKCS #7: one goes with the other for all that is signed here.
        raise signer.error("is not the version of the whole")
    found = _signer_info(signer, version, content_type, content, certificates)
    signers.field = "signerInfos"
    signers.finish()
    if found.digest != announced:
        raise reader.error("its digest algorithm is not the one in digestAlgorithms")
    return found


def _algorithm(reader: der.Reader, field: str) -> str:
    """Read an AlgorithmIdentifier whose parameters are NULL or absent."""
    inner = reader.enter(der.SEQUENCE, field)
    found = inner.identifier(field)
    if not inner.at_end and inner.read(der.NULL).content:
        raise inner.error("a NULL has contents")
    inner.finish()
    return found


def _certificates(reader: der.Reader) -> tuple[Certificate, ...]:
    if reader.peek() != _TAGGED:
        return ()
    found: list[Certificate] = []
    inner = reader.enter(_TAGGED, "certificates")
    while not inner.at_end:
        if len(found) == _MAX_CERTIFICATES:
            raise inner.error(f"more than {_MAX_CERTIFICATES} of them")
        raw = inner.read(der.SEQUENCE).raw
        try:
            certificate = x509.load_der_x509_certificate(raw)
            names(certificate)
        except (ValueError, x509.InvalidVersion) as error:
            raise inner.error("one of them is no X.509 certificate") from error
        found.append(certificate)
    return tuple(found)


def _signer_info(
    reader: der.Reader,
    version: int,
    content_type: str,
    content: bytes | None,
    certificates: tuple[Certificate, ...],
) -> SignedData:
    issuer = serial = identifier = None
    if version == 1:
        called = reader.enter(der.SEQUENCE, "issuerAndSerialNumber")
        issuer = called.read(der.SEQUENCE, "issuer").raw
        serial = called.integer("serialNumber")
        called.finish()
    else:
        tag = der.context(0, constructed=False)
        identifier = reader.read(tag, "subjectKeyIdentifier").content
    digest = _algorithm(reader, "digestAlgorithm")
    attributes = None
    if reader.peek() == _TAGGED:
        raw = reader.read(_TAGGED, "signedAttrs").raw
        attributes = bytes((der.SET,)) + raw[1:]
    algorithm = _algorithm(reader, "signatureAlgorithm")
    signature = reader.read(der.OCTET_STRING, "signature").content
    if reader.peek() == der.context(1, constructed=True):
        reader.any()  # unsigned attributes: a time stamp, which nothing here rests on
    reader.field = "SignerInfo"
    reader.finish()
    return SignedData(
        content_type=content_type,
        content=content,
        certificates=certificates,
        issuer=issuer,
        serial=serial,
        key_identifier=identifier,
        digest=digest,
        algorithm=algorithm,
        attributes=attributes,
        signature=signature,
    )


def signers(message: SignedData, candidates: Iterable[Certificate]) -> tuple[Certificate, ...]:
    """Give those of `candidates` and the message's own certificates that it names as its signer.

    Being named proves nothing: only `verify` does.
    """
    found = []
    for certificate in dict.fromkeys((*message.certificates, *candidates)):
        if message.key_identifier is not None:
            named = key_identifier(certificate) == message.key_identifier
        else:
            called = names(certificate)
            named = (called.issuer, called.serial) == (message.issuer, message.serial)
        if named:
            found.append(certificate)
    return tuple(found)


def verify(message: SignedData, content: bytes, certificate: Certificate, where: object) -> None:
    """Check that the key of `certificate` signed `content`; whether to trust it is not asked here.

    Raises SproutError naming what is wrong: another content, or the signature itself; and
    StricterError for an algorithm or key that is not accepted (RSA of 2,048 to 8,192 bits with
    SHA-256, SHA-384 or SHA-512 is) or attributes that OpenSSL, which firmware uses, ignores.
    """
    digest = DIGESTS.get(message.digest)
    if digest is None:
        raise _stricter(where, f"digest algorithm {message.digest} is none of SHA-256, 384, 512")
    if message.algorithm != RSA and _RSA_WITH.get(message.algorithm) != digest:
        raise _stricter(where, f"signature algorithm {message.algorithm} is not RSA with {digest}")
    signed = content
    if message.attributes is not None:
        _check_attributes(message, hashlib.new(digest, content).digest(), where)
        signed = message.attributes
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _stricter(where, "the signer's certificate has an unusable key") from error
    if not isinstance(key, rsa.RSAPublicKey) or not MIN_KEY_BITS <= key.key_size <= MAX_KEY_BITS:
        raise _stricter(
            where, f"the signer's key is not RSA of {MIN_KEY_BITS:,} to {MAX_KEY_BITS:,} bits"
        )
    algorithms: dict[str, hashes.HashAlgorithm] = {
        "sha256": hashes.SHA256(),
        "sha384": hashes.SHA384(),
        "sha512": hashes.SHA512(),
    }
    try:
        key.verify(message.signature, signed, padding.PKCS1v15(), algorithms[digest])
    except InvalidSignature:
        raise _refused(where, "the signature is not of this content by this key") from None


def _check_attributes(message: SignedData, digest: bytes, where: object) -> None:
    try:
        found = _attributes(message.attributes or b"", where)
    except SproutError as error:
        raise StricterError(error.message, _HINT) from None
    if found.get(_CONTENT_TYPE) != der.identifier(message.content_type):
        raise _stricter(where, "contentType does not say what is signed")
    if found.get(_MESSAGE_DIGEST) != der.octets(digest):
        raise _refused(where, "messageDigest is of another content")


def _attributes(attributes: bytes, where: object) -> dict[str, bytes]:
    """Give the first value of each attribute in a SET of them, by the attribute's identifier."""
    reader = der.Reader(attributes, where, "signedAttrs").enter(der.SET)
    found: dict[str, bytes] = {}
    while not reader.at_end:
        inner = reader.enter(der.SEQUENCE, "signedAttrs")
        kind = inner.identifier("signedAttrs")
        if kind in found or len(found) == _MAX_ATTRIBUTES:
            raise inner.error("one of them stands there twice, or there are too many")
        values = inner.enter(der.SET)
        inner.finish()
        found[kind] = values.any().raw
        if kind in (_CONTENT_TYPE, _MESSAGE_DIGEST):
            values.finish()
    return found


def _refused(where: object, problem: str) -> SproutError:
    return SproutError(f"{where}: signature: {problem}", _HINT)


def _stricter(where: object, problem: str) -> StricterError:
    return StricterError(f"{where}: signature: {problem}", _HINT)
