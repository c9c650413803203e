"""Judges a signed image or module, and says who would refuse it, and why.

For images the rule is UEFI's (specification 2.10, section 32.5.3.3, as edk2 applies it in
SecurityPkg, DxeImageVerificationLib): at least one signature has to lead to a trusted certificate,
and neither the image's digest nor any of its signers may be revoked: what is revoked wins. The
stub's own rule comes on top (SBAT), and some that no firmware has: validity in time, the digest of
the whole file, which covers the bytes that Authenticode leaves out, and no leniency with keys,
algorithms and encodings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from cryptography.x509 import Certificate

from sprout.base.errors import SproutError
from sprout.format import pe
from sprout.signing import authenticode, cms, modules
from sprout.signing.certificates import fingerprint
from sprout.signing.chain import chains, trusted_chain
from sprout.signing.generations import check_generations
from sprout.signing.trust import Trust

By = Literal["firmware", "kernel", "stub", "sprout"]
_SAID = {"sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}


class Reason(StrEnum):
    """Why something is refused."""

    MALFORMED = "malformed"
    UNSIGNED = "unsigned"
    ALTERED = "altered"
    STRANGER = "stranger"
    REVOKED_HASH = "revoked by hash"
    REVOKED_CERTIFICATE = "revoked by certificate"
    SBAT = "SBAT below the level"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    DIGEST = "another digest"


@dataclass(frozen=True)
class Refusal:
    """Why something is refused, who refuses it for certain, and in words.

    `sprout` is this tool: others may refuse it too, such as much that is malformed, or they do not.
    """

    reason: Reason
    by: By
    text: str


@dataclass(frozen=True)
class Judged:
    """One signature: its signer and the certificate that it led to (None: none), and a refusal.

    `signer` is a subject (RFC 4514), `fingerprint` the SHA-256 of that certificate.
    """

    signer: str | None
    fingerprint: str | None
    anchor: str | None
    refusal: Refusal | None


@dataclass(frozen=True)
class Verdict:
    """What was judged: its kind, the SHA-256 of all its bytes, each signature, every refusal."""

    kind: Literal["image", "module"]
    sha256: str
    signatures: tuple[Judged, ...] = ()
    refusals: tuple[Refusal, ...] = field(default=())

    @property
    def accepted(self) -> bool:
        """Whether nobody refuses it."""
        return not self.refusals


@dataclass(frozen=True)
class _Question:
    """What one signature is asked: whom to trust, when, and who would be the one to refuse."""

    trust: Trust
    anchors: tuple[Certificate, ...]
    candidates: tuple[Certificate, ...]
    at: datetime
    by: By


def verify_image(
    data: pe.Buffer,
    where: object,
    trust: Trust,
    digest: str | None = None,
    at: datetime | None = None,
) -> Verdict:
    """Judge the image whose whole bytes are `data`.

    `digest` is the SHA-256 that all of them have to have, in hexadecimal; `at` the time at which
    certificates have to be valid (default: now). A damaged image gives a refusal, not an error.
    """
    sha256 = _sha256(data)
    refusals = _other_digest(sha256, digest)
    question = _Question(trust, trust.images, (), at or datetime.now(UTC), "firmware")
    signatures: tuple[Judged, ...] = ()
    try:
        found = authenticode.signatures(data, where)
        digests: dict[str, bytes] = {}
        refusals += _revoked_digests(data, where, trust, found, digests)
        signatures = tuple(_judge_image(row, data, where, question, digests) for row in found)
    except SproutError as error:
        refusals.append(_malformed(error, where))
    else:
        refusals += _overall(signatures, "firmware")
        try:
            below = check_generations(data, where, trust.levels)
        except SproutError as error:
            refusals.append(_malformed(error, where))
        else:
            refusals += [
                Refusal(Reason.SBAT, "stub" if row.by_stub else "sprout", row.text) for row in below
            ]
    return Verdict("image", sha256, signatures, tuple(refusals))


def verify_module(
    data: bytes,
    where: object,
    trust: Trust,
    digest: str | None = None,
    at: datetime | None = None,
) -> Verdict:
    """Judge a kernel module as a kernel that enforces signatures does; otherwise `verify_image`."""
    sha256 = _sha256(data)
    refusals = _other_digest(sha256, digest)
    # A module carries no certificate: the kernel has them.
    question = _Question(trust, trust.modules, trust.modules, at or datetime.now(UTC), "kernel")
    signatures: tuple[Judged, ...] = ()
    try:
        if not modules.is_module(data):
            raise SproutError("is no kernel module", "Name an uncompressed .ko file.")
        if (found := modules.parse(data, where)) is not None:
            signatures = (_judge(found.message, found.content, where, question),)
    except SproutError as error:
        refusals.append(_malformed(error, where))
    else:
        refusals += _overall(signatures, "kernel")
    return Verdict("module", sha256, signatures, tuple(refusals))


def other_digest(sha256: str, wanted: str) -> Refusal | None:
    """Give the refusal of a file whose SHA-256 is not the one wanted, both in hexadecimal."""
    if sha256 == wanted:
        return None
    text = f"its SHA-256 is {sha256}; firmware would not notice a change in the bytes that"
    text += " Authenticode leaves out"
    return Refusal(Reason.DIGEST, "sprout", text)


def _other_digest(sha256: str, wanted: str | None) -> list[Refusal]:
    found = None if wanted is None else other_digest(sha256, wanted)
    return [] if found is None else [found]


def _sha256(data: pe.Buffer) -> str:
    with memoryview(data) as view:
        return hashlib.sha256(view).hexdigest()


def _malformed(error: SproutError, where: object) -> Refusal:
    # Readers differ in what they forgive: this one forgives nothing, and knows of no other.
    return Refusal(Reason.MALFORMED, "sprout", error.message.removeprefix(f"{where}: "))


def _revoked_digests(
    data: pe.Buffer,
    where: object,
    trust: Trust,
    signatures: tuple[authenticode.Signature, ...],
    digests: dict[str, bytes],
) -> list[Refusal]:
    """Give a refusal for each digest of the image that dbx holds, whatever the signatures use.

    Firmware looks only by the algorithms that they use. `digests` holds what was worked out.
    """
    used = {authenticode.HASHES.get(row.message.digest) for row in signatures}
    sizes = {len(digest) for digest in trust.revoked_digests}
    refusals = []
    for algorithm, said in _SAID.items():
        if hashlib.new(algorithm).digest_size not in sizes:
            continue
        own = digests[algorithm] = authenticode.image_digest(data, where, algorithm)
        if own in trust.revoked_digests:
            text = f"dbx holds its Authenticode {said} {own.hex()}"
            by: By = "firmware" if algorithm in used else "sprout"
            refusals.append(Refusal(Reason.REVOKED_HASH, by, text))
    return refusals


def _overall(signatures: tuple[Judged, ...], by: By) -> list[Refusal]:
    """Give what the signatures mean together: one good one is enough, one revoked too much."""
    if not signatures:
        return [Refusal(Reason.UNSIGNED, by, "carries no signature")]
    found = [row.refusal for row in signatures if row.refusal is not None]
    revoked = [row for row in found if row.reason is Reason.REVOKED_CERTIFICATE]
    return revoked or (found if len(found) == len(signatures) else [])


def _judge_image(
    signature: authenticode.Signature,
    data: pe.Buffer,
    where: object,
    question: _Question,
    digests: dict[str, bytes],
) -> Judged:
    """Judge one signature of an image; `digests` holds what was worked out already."""
    algorithm = cms.DIGESTS.get(signature.message.digest)
    altered = False
    # Where the algorithm is not accepted, `_judge` says so.
    if algorithm is not None:
        if algorithm not in digests:
            digests[algorithm] = authenticode.image_digest(data, where, algorithm)
        altered = digests[algorithm] != signature.digest
    content = signature.message.content or b""
    return _judge(signature.message, content, where, question, altered=altered)


def _judge(
    message: cms.SignedData,
    content: bytes,
    where: object,
    question: _Question,
    *,
    altered: bool = False,
) -> Judged:
    """Judge one signature; `altered` says that what it vouches for is another content."""
    named = cms.signers(message, question.candidates)
    if not named:
        carried = "none that is trusted" if question.candidates else "none that it carries"
        text = f"is signed with a certificate that is {carried}"
        return Judged(None, None, None, Refusal(Reason.STRANGER, question.by, text))
    pool = message.certificates
    # Of several certificates with the same name and number OpenSSL takes the first.
    tried = named[:1] if question.by == "firmware" else named
    leaf, problem = _signing(message, content, tried, where, question.by)
    if altered:
        text = "was altered after it was signed"
        problem = Refusal(Reason.ALTERED, question.by, text)
    anchor = None
    refusal = problem
    if (culprit := _revoked(named, pool, question)) is not None:
        certain = problem is None and _seen_revoked(leaf, pool, question)
        text = f"dbx holds {subject(culprit)}"
        by: By = question.by if certain else "sprout"
        refusal = Refusal(Reason.REVOKED_CERTIFICATE, by, text)
    elif problem is not None:
        pass
    elif trusted := _trusted(leaf, pool, question):
        chain, refusal = _in_time(trusted, question.at)
        anchor = subject(chain[-1])
    else:
        text = f"is signed by {subject(leaf)}, which is not trusted"
        if chains(leaf, pool, question.anchors):
            text += ": what its certificates say of themselves forbids the way to one that is"
        refusal = Refusal(Reason.STRANGER, question.by, text)
    return Judged(subject(leaf), fingerprint(leaf), anchor, refusal)


def _signing(
    message: cms.SignedData,
    content: bytes,
    named: Iterable[Certificate],
    where: object,
    by: By,
) -> tuple[Certificate, Refusal | None]:
    """Give that of the named certificates whose key signed, else one of them and what is wrong."""
    for certificate in named:
        problem = None
        try:
            cms.verify(message, content, certificate, where)
        except SproutError as error:
            text = error.message.removeprefix(f"{where}: ")
            own: By = "sprout" if isinstance(error, cms.StricterError) else by
            problem = Refusal(Reason.ALTERED, own, text)
        if problem is None:
            break
    return certificate, problem


def _trusted(
    leaf: Certificate, pool: tuple[Certificate, ...], question: _Question
) -> tuple[tuple[Certificate, ...], ...]:
    """Give a chain from the signer to each trusted certificate that it leads to."""
    if question.by == "kernel" and leaf in question.anchors:
        return ((leaf,),)  # the kernel asks nothing of a certificate that it has
    found = (trusted_chain(leaf, pool, anchor) for anchor in question.anchors)
    return tuple(chain for chain in found if chain is not None)


def _seen_revoked(leaf: Certificate, pool: tuple[Certificate, ...], question: _Question) -> bool:
    """Tell whether firmware finds the signer revoked as well, which follows fewer ways."""
    revoked = question.trust.revoked_certificates
    if any(trusted_chain(leaf, pool, row) is not None for row in revoked):
        return True
    return any(_tbs_digest(row) in question.trust.revoked_tbs for row in (leaf, *pool))


def _tbs_digest(certificate: Certificate) -> bytes:
    return hashlib.sha256(certificate.tbs_certificate_bytes).digest()


def _revoked(
    named: Iterable[Certificate], pool: tuple[Certificate, ...], question: _Question
) -> Certificate | None:
    """Give a revoked certificate that one of the named signers is or descends from.

    The way to it may lead through certificates that only db holds, where firmware sees none.
    """
    trust = question.trust
    for leaf in named:
        found = chains(leaf, (*pool, *question.anchors), trust.revoked_certificates)
        if found:
            return found[0][-1]
        if not trust.revoked_tbs:
            continue
        # edk2 looks at every certificate that the signature carries, and at the trusted one.
        reached = [row for chain in chains(leaf, pool, question.anchors) for row in chain]
        for row in (leaf, *pool, *reached):
            if _tbs_digest(row) in trust.revoked_tbs:
                return row
    return None


def _in_time(
    trusted: tuple[tuple[Certificate, ...], ...], at: datetime
) -> tuple[tuple[Certificate, ...], Refusal | None]:
    """Give a chain that is valid at `at`, else one that is not and the refusal."""
    refusals = []
    for chain in trusted:
        refusal = _outdated(chain, at)
        if refusal is None:
            return chain, None
        refusals.append(refusal)
    return trusted[0], refusals[0]


def _outdated(chain: Iterable[Certificate], at: datetime) -> Refusal | None:
    ignored = "firmware and kernel ignore that, sprout does not"
    for certificate in chain:
        ends, begins = certificate.not_valid_after_utc, certificate.not_valid_before_utc
        if at > ends:
            text = f"{subject(certificate)} ended on {ends:%Y-%m-%d}; {ignored}"
            return Refusal(Reason.EXPIRED, "sprout", text)
        if at < begins:
            text = f"{subject(certificate)} begins on {begins:%Y-%m-%d}; {ignored}"
            return Refusal(Reason.NOT_YET_VALID, "sprout", text)
    return None


def subject(certificate: Certificate) -> str:
    """Give a certificate's subject as text (RFC 4514); it comes from outside."""
    try:
        return certificate.subject.rfc4514_string() or "(no subject)"
    except (ValueError, TypeError):
        # It is parsed only now, and the library says so in more than one way.
        return "(unreadable subject)"
