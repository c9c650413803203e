"""Certificates' names, and the way from a signer's certificate to one that is trusted or revoked.

(RFC 5280, sections 4.1 and 6.1, as far as UEFI firmware follows it: names and signatures, and that
an issuer may issue. Validity is judged apart, because firmware does not judge it.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509 import Certificate

from sprout.base.errors import SproutError
from sprout.signing import der

_MAX_LENGTH = 8  # certificates from the signer's to the anchor, both counted
_MAX_TRIED = 64
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
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except _UNUSABLE:
        return None
    return extension.value.digest


def chains(
    leaf: Certificate, pool: Iterable[Certificate], anchors: Iterable[Certificate]
) -> tuple[tuple[Certificate, ...], ...]:
    """Give every chain of at most 8 certificates from `leaf` to one of `anchors`.

    A chain begins with `leaf` and ends with the anchor; what lies between is from `pool`. An anchor
    need not be self-signed: firmware takes any certificate for one. Raises SproutError when there
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
        basic = issuer.extensions.get_extension_for_class(x509.BasicConstraints)
        if not basic.value.ca:
            return False
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *_UNUSABLE):
        return False
    return True
