"""Certificates: made from the profiles that users edit, and read within bounds.

(RFC 5280.) A role's certificate signs itself: firmware trusts what is enrolled, not who issued it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.base.table import Table, load_table

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

ROLES = ("PK", "KEK", "db", "module", "artifact")
FIRMWARE_ROLES = ("PK", "KEK", "db")
RSA_TYPES = ("rsa-2048", "rsa-3072", "rsa-4096")
EC_TYPE = "ec-p256"
MAX_CERTIFICATE_BYTES = 64 << 10

_MAX_YEARS = 40
_MAX_COMMON_NAME = 64  # ub-common-name, RFC 5280, appendix A.1
_BACKDATED = timedelta(hours=1)  # clocks differ, and a new certificate should count at once
_KEY_USAGES = {
    "digitalSignature": "digital_signature",
    "contentCommitment": "content_commitment",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
}
_NO_USAGE = dict.fromkeys(
    (
        *_KEY_USAGES.values(),
        *("key_encipherment", "data_encipherment", "key_agreement"),
        *("encipher_only", "decipher_only"),
    ),
    False,
)
_DAMAGED = (  # all that the library raises for certificates that are none
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
_PURPOSES = {"codeSigning": "1.3.6.1.5.5.7.3.3"}
_DOTTED = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,8})){1,15}")


@dataclass(frozen=True)
class Profile:
    """What a role's new key and certificate are like; see signing/profiles.toml."""

    key: str
    subject: str
    organization: str
    years: int
    key_usage: tuple[str, ...]
    extended_key_usage: tuple[str, ...]

    @property
    def ca(self) -> bool:
        """Whether the key may issue certificates (RFC 5280, section 4.2.1.9, ties the two)."""
        return "keyCertSign" in self.key_usage

    def with_rsa(self, bits: int) -> Profile:
        """Give the same profile with an RSA key of `bits`, where its key is an RSA one."""
        return replace(self, key=f"rsa-{bits}") if self.key in RSA_TYPES else self


def load_profiles(path: Path) -> dict[str, Profile]:
    """Read the profiles of all roles.

    Raises SproutError naming the field that is wrong.
    """
    table = load_table(path)
    profiles = {role: _profile(role, table.table(role)) for role in ROLES}
    table.finish()
    return profiles


def _profile(role: str, table: Table) -> Profile:
    profile = Profile(
        key=table.text("key"),
        subject=table.text("subject"),
        organization=table.text("organization", ""),
        years=table.number("years"),
        key_usage=table.texts("key_usage"),
        extended_key_usage=table.texts("extended_key_usage", ()),
    )
    table.finish()
    allowed = _allowed_types(role)
    if profile.key not in allowed:
        raise table.error("key", f"{profile.key} is not for {role}", f"Use {', '.join(allowed)}.")
    if not 1 <= profile.years <= _MAX_YEARS:
        raise table.error("years", f"{profile.years} is not in 1 to {_MAX_YEARS}", "Mend it.")
    for usage in profile.key_usage:
        if usage not in _KEY_USAGES:
            known = ", ".join(_KEY_USAGES)
            raise table.error("key_usage", f"{usage} is not known", f"Known: {known}.")
    for purpose in profile.extended_key_usage:
        if purpose not in _PURPOSES and not _DOTTED.fullmatch(purpose):
            raise table.error("extended_key_usage", f"{purpose} is not known", "Use codeSigning.")
    if "digitalSignature" not in profile.key_usage:
        raise table.error("key_usage", "lacks digitalSignature", "Add it: the key has to sign.")
    return profile


def _allowed_types(role: str) -> tuple[str, ...]:
    return (EC_TYPE,) if role == "artifact" else RSA_TYPES


def key_type(key: PublicKey) -> str:
    """Give a key's type as profiles write it, such as "rsa-2048"."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"rsa-{key.key_size}"
    return EC_TYPE if isinstance(key.curve, ec.SECP256R1) else f"ec-{key.curve.name}"


def check_role(certificate: x509.Certificate, role: str, where: object) -> None:
    """Refuse a certificate whose key is not of a type that `role` may have."""
    found, allowed = key_type(public_key(certificate, where)), _allowed_types(role)
    if found not in allowed:
        raise SproutError(
            f"{where}: public key: {found} is not for {role}", f"Use one of {', '.join(allowed)}."
        )


def issue(profile: Profile, key: PrivateKey, name: str, now: datetime) -> x509.Certificate:
    """Make the self-signed certificate of `key`, with a random serial number.

    `name` is what stands for {name} in the profile's subject. Raises SproutError when the subject
    is no common name.
    """
    subject = _subject(profile, name)
    public = key.public_key()
    usages = _NO_USAGE | {_KEY_USAGES[usage]: True for usage in profile.key_usage}
    begin = now.replace(microsecond=0) - _BACKDATED
    end = begin + timedelta(days=365 * profile.years + profile.years // 4)
    key_id = x509.SubjectKeyIdentifier.from_public_key(public)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=profile.ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usages), critical=True)
        .add_extension(key_id, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False
        )
    )
    if profile.extended_key_usage:
        purposes = [_PURPOSES.get(word, word) for word in profile.extended_key_usage]
        extension = x509.ExtendedKeyUsage(map(x509.ObjectIdentifier, purposes))
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, SHA256())


def _subject(profile: Profile, name: str) -> x509.Name:
    common = profile.subject.replace("{name}", name)
    for words in (common, profile.organization):
        if len(words) > _MAX_COMMON_NAME or not (words.isprintable() and words.isascii()):
            raise SproutError(
                f"{words}: is no name of at most {_MAX_COMMON_NAME} printable ASCII characters",
                "Choose a shorter name, or mend the subject in signing/profiles.toml.",
            )
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if profile.organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, profile.organization))
    return x509.Name(attributes)


def parse_certificate(data: bytes, where: object) -> x509.Certificate:
    """Read one certificate, in PEM or DER; `where` names its origin in errors.

    Raises SproutError when it is none, or its parts that are used here do not parse.
    """
    try:
        if b"-----BEGIN" in data:
            if data.count(b"-----BEGIN CERTIFICATE-----") != 1:
                raise _error(where, "is not one certificate in PEM")
            certificate = x509.load_pem_x509_certificate(data)
        else:
            certificate = x509.load_der_x509_certificate(data)
        # All of it is parsed lazily: what is damaged has to come out here.
        parts = (certificate.subject, certificate.issuer, certificate.extensions)
        ends = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    except _DAMAGED as error:
        raise _error(where, f"is no certificate: {error}") from error
    if not all(parts[:2]) or ends[0] > ends[1]:
        raise _error(where, "has no subject, no issuer, or ends before it begins")
    public_key(certificate, where)
    return certificate


def read_certificate(path: Path) -> x509.Certificate:
    """Read a file that holds one certificate, in PEM or DER; raises SproutError."""
    return parse_certificate(read_bounded(path, MAX_CERTIFICATE_BYTES), path)


def public_key(certificate: x509.Certificate, where: object) -> PublicKey:
    """Give a certificate's key; raises SproutError when it is neither RSA nor elliptic-curve."""
    try:
        key = certificate.public_key()
    except _DAMAGED as error:
        raise _error(where, f"public key: {error}") from error
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise _error(where, "public key: is neither RSA nor ECDSA")
    return key


def same_key(one: PublicKey, other: PublicKey) -> bool:
    """Tell whether two public keys are the same."""
    return public_der(one) == public_der(other)


def public_der(key: PublicKey) -> bytes:
    """Give a public key's SubjectPublicKeyInfo in DER."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(certificate: x509.Certificate) -> str:
    """Give the SHA-256 of a certificate's DER in lower-case hexadecimal."""
    return certificate.fingerprint(SHA256()).hex()


def signature_fits(certificate: x509.Certificate, message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is over `message`, by the certificate's key and with SHA-256."""
    key = public_key(certificate, "certificate")
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), SHA256())
        else:
            key.verify(signature, message, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _error(where: object, problem: str) -> SproutError:
    return SproutError(f"{where}: {problem}", "Name a file with one certificate, in PEM or DER.")
