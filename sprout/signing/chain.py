"""Certificates' names, and the way from a signer's certificate to one that is trusted or revoked.

Two questions, two rules. Whom firmware believes is answered as edk2's OpenSSL does it (Pkcs7Verify
in CryptoPkg, partial chains and any purpose allowed; RFC 5280, section 6.1, where OpenSSL follows
it), and never more generously. What descends from a revoked certificate is answered by names and
signatures alone, so that no extension can hide it. Validity in time is judged apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509 import Certificate

from sprout.base.errors import SproutError
from sprout.signing import der

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)

_MAX_LENGTH = 8  # certificates from the signer's to the anchor, both counted
_MAX_TRIED = 64
# Extensions that may be critical: OpenSSL knows them, and they forbid nothing that is done here.
_KNOWN = (
    *(x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName),
    *(x509.CertificatePolicies, x509.CRLDistributionPoints),
)
_FORBIDDING = ("2.5.29.30", "1.3.6.1.5.5.7.1.14")  # NameConstraints, ProxyCertInfo
# What cryptography raises of a certificate's parts that it reads only when they are asked for.
_UNUSABLE = (
    TypeError,
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True)
class Names:
    """What other structures call a certificate by: numbers and names as its own DER has them."""

    serial: int
    issuer: bytes
    subject: bytes


def names(certificate: Certificate) -> Names:
    """Give a certificate's serial number, issuer and subject, the latter two in DER."""
    reader = der.Reader(certificate.tbs_certificate_bytes, "certificate", "TBSCertificate").enter(
        der.SEQUENCE
    )
    if reader.peek() == der.context(0, constructed=True):
        reader.any()  # the version
    serial = reader.integer("serialNumber")
    reader.read(der.SEQUENCE, "signature")
    issuer = reader.read(der.SEQUENCE, "issuer").raw
    reader.read(der.SEQUENCE, "validity")
    return Names(serial, issuer, reader.read(der.SEQUENCE, "subject").raw)


def key_identifier(certificate: Certificate) -> bytes | None:
    """Give the contents of the certificate's SubjectKeyIdentifier, if it has one."""
    found = _extension(certificate, x509.SubjectKeyIdentifier)
    return None if found is None else found.digest


def trusted_chain(
    leaf: Certificate, pool: Sequence[Certificate], anchor: Certificate
) -> tuple[Certificate, ...] | None:
    """Give the chain from `leaf` to `anchor` that firmware believes; None where there is none.

    What lies between is from `pool`, at most 8 certificates in all. The anchor need not be
    self-signed: firmware takes any certificate for one. At each step the anchor is tried first and
    then `pool` in its order, and nothing is tried a second time; where `leaf` is the anchor, what
    `pool` has above it has to be in order too.
    """
    path = [leaf]
    while len(path) < _MAX_LENGTH and not _self_issued(path[-1]):
        above = (row for row in (anchor, *pool) if row not in path and _may_issue(row, path[-1]))
        issuer = next(above, None)
        if issuer is None:
            break
        path.append(issuer)
        if issuer == anchor:
            break
    if anchor not in (leaf, path[-1]) or not all(map(_understood, path)):
        return None
    below = 0  # authorities between the leaf and the issuer, those that issued themselves aside
    for certificate, issuer in pairwise(path):
        if not _is_authority(issuer, below) or not _issued(certificate, issuer):
            return None
        below += not _self_issued(issuer)
    return (leaf,) if leaf == anchor else tuple(path)


def _self_issued(certificate: Certificate) -> bool:
    own = names(certificate)
    return own.subject == own.issuer and _identifiers_agree(certificate, certificate)


def _may_issue(issuer: Certificate, certificate: Certificate) -> bool:
    """Tell whether `issuer` would be taken for the one (OpenSSL, X509_check_issued)."""
    if names(issuer).subject != names(certificate).issuer:
        return False
    usage = _extension(issuer, x509.KeyUsage)
    return _identifiers_agree(issuer, certificate) and (usage is None or usage.key_cert_sign)


def _identifiers_agree(issuer: Certificate, certificate: Certificate) -> bool:
    """Tell whether the AuthorityKeyIdentifier, as far as there is one, is of `issuer`."""
    said = _extension(certificate, x509.AuthorityKeyIdentifier)
    if said is None:
        return True
    own = key_identifier(issuer)
    if None not in (own, said.key_identifier) and own != said.key_identifier:
        return False
    if said.authority_cert_serial_number is None:
        return True
    listed = [row.value for row in said.authority_cert_issuer or ()]
    directory = [row for row in listed if isinstance(row, x509.Name)][:1]
    return said.authority_cert_serial_number == issuer.serial_number and (
        not directory or directory[0] == issuer.issuer
    )


def _understood(certificate: Certificate) -> bool:
    """Tell whether nothing critical in the certificate is unknown, and nothing limits names."""
    try:
        rows = list(certificate.extensions)
    except _UNUSABLE:
        return False
    return not any(
        row.oid.dotted_string in _FORBIDDING or (row.critical and not isinstance(row.value, _KNOWN))
        for row in rows
    )


def _is_authority(issuer: Certificate, below: int) -> bool:
    """Tell whether a certificate may issue with `below` authorities under it (X509_check_ca)."""
    basic = _extension(issuer, x509.BasicConstraints)
    if basic is not None:
        return basic.ca and (basic.path_length is None or below <= basic.path_length)
    if _extension(issuer, x509.KeyUsage) is not None:
        return True  # `_may_issue` saw that it may sign certificates
    return issuer.version is x509.Version.v1 and _self_issued(issuer)


def _extension(certificate: Certificate, kind: type[_Kind]) -> _Kind | None:
    """Give an extension's value; None where it is absent, or the certificate is damaged."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except _UNUSABLE:
        return None


def chains(
    leaf: Certificate, pool: Iterable[Certificate], anchors: Iterable[Certificate]
) -> tuple[tuple[Certificate, ...], ...]:
    """Give every chain of at most 8 certificates from `leaf` to one of `anchors`.

    A chain begins with `leaf` and ends with the anchor; what lies between is from `pool`. Names and
    signatures alone lead on: it is for what is revoked. Raises SproutError when there
    are too many ways to try: an answer that stopped short could miss a revoked certificate.
    """
    ends = tuple(dict.fromkeys(anchors))
    issuers = tuple(dict.fromkeys((*ends, *pool)))
    found = []
    tried = 0
    paths: list[tuple[Certificate, ...]] = [(leaf,)]
    while paths:
        path = paths.pop()
        if path[-1] in ends:
            found.append(path)
        if len(path) == _MAX_LENGTH:
            continue
        for issuer in issuers:
            if issuer in path or names(issuer).subject != names(path[-1]).issuer:
                continue
            tried += 1
            # Many certificates of one name could otherwise be tried in every order.
            if tried > _MAX_TRIED:
                raise SproutError(
                    f"certificates: more than {_MAX_TRIED} ways lead to an issuer",
                    "Sign again with fewer certificates of one name.",
                )
            if _issued(path[-1], issuer):
                paths.append((*path, issuer))
    return tuple(found)


def _issued(certificate: Certificate, issuer: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *_UNUSABLE):
        return False
    return True
