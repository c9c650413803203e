"""Signatures as cosign makes and takes them, both forms, without any network.

The tag form: SIGNATURE_SPEC.md of sigstore/cosign, over containers' "simple signing" payload. The
bundle form: sigstore's bundle v0.3 with a DSSE envelope (secure-systems-lab/dsse, protocol.md) over
an in-toto Statement v1, attached to its subject as a referrer.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sprout.oci.digest import digest_of, tag_of
from sprout.oci.keys import PublicKey, TrustedKey
from sprout.oci.model import EMPTY_BYTES, EMPTY_CONFIG, MANIFEST, Descriptor, Manifest, describe
from sprout.oci.refused import RefusedError, Why, malformed
from sprout.oci.strict_json import list_field, parse_json, table_field, text_field, write_json

if TYPE_CHECKING:
    from sprout.signing.signer import Signer

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGNED = "https://sigstore.dev/cosign/sign/v1"
SIGNATURE_NOTE = "dev.cosignproject.cosign/signature"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_TYPE = "cosign container image signature"
_STATEMENT = "https://in-toto.io/Statement/v1"
IN_TOTO = "application/vnd.in-toto+json"
_NOTE = "dev.sigstore.bundle"
PREDICATE_NOTE = f"{_NOTE}.predicateType"
_MAX_SUBJECTS = 64
MAX_SIGNATURE_BYTES = 1 << 20
# The SBOM of a kernel with every driver is some MiB; a third more in a bundle.
MAX_ATTESTATION_BYTES = 8 << 20


@dataclass(frozen=True)
class Made:
    """A signature as it is stored: its manifest, the blobs of that, and the tag it is found by.

    `tag` is None for a referrer, which is found by its subject.
    """

    manifest: bytes
    row: Descriptor
    blobs: tuple[bytes, ...]
    tag: str | None


def sign_tag_form(name: str, digest: str, signer: Signer) -> Made:
    """Sign a manifest's digest in the tag form.

    `name` is the identity, registry and repository. Raises SproutError when the key cannot sign.
    """
    payload = write_json(
        {
            "critical": {
                "identity": {"docker-reference": name},
                "image": {"docker-manifest-digest": digest},
                "type": _TYPE,
            },
            "optional": None,
        }
    )
    signature = base64.b64encode(signer.sign(payload, f"signature of {digest}")).decode()
    notes = {SIGNATURE_NOTE: signature}
    config = write_json(
        {
            "architecture": "",
            "config": {},
            "created": "0001-01-01T00:00:00Z",
            "history": [{"created": "0001-01-01T00:00:00Z"}],
            "os": "",
            "rootfs": {"diff_ids": [digest_of(payload)], "type": "layers"},
        }
    )
    layer = describe(payload, SIMPLE_SIGNING, annotations=notes)
    data = Manifest(describe(config, _CONFIG), (layer,)).to_bytes()
    return Made(data, describe(data, MANIFEST), (config, payload), tag_of(digest, ".sig"))


def sign_bundle(subject: Descriptor, signer: Signer, key: PublicKey) -> Made:
    """Sign a manifest in the bundle form; raises SproutError when the key cannot sign."""
    statement = statement_of(SIGNED, {}, subject)
    signature = signer.sign(dsse_message(IN_TOTO, statement), f"bundle of {subject.digest}")
    return bundle_of(subject, SIGNED, statement, signature, key)


def statement_of(predicate: str, value: dict[str, Any], *subjects: Descriptor) -> bytes:
    """Give an in-toto Statement (v1) of that predicate about some manifests, each once."""
    pairs = (digest.split(":") for digest in dict.fromkeys(row.digest for row in subjects))
    return write_json(
        {
            "_type": _STATEMENT,
            "predicate": value,
            "predicateType": predicate,
            "subject": [{"digest": {algorithm: text}, "name": ""} for algorithm, text in pairs],
        }
    )


def bundle_of(
    subject: Descriptor, predicate: str, statement: bytes, signature: bytes, key: PublicKey
) -> Made:
    """Give the bundle that holds a signed statement, as a referrer of its subject."""
    hint = base64.b64encode(bytes.fromhex(TrustedKey("", key).fingerprint)).decode()
    bundle = write_json(
        {
            "dsseEnvelope": envelope_of(IN_TOTO, statement, signature),
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": hint}},
        }
    )
    notes = {f"{_NOTE}.content": "dsse-envelope", PREDICATE_NOTE: predicate}
    data = Manifest(
        config=EMPTY_CONFIG,
        layers=(describe(bundle, BUNDLE),),
        artifact_type=BUNDLE,
        subject=Descriptor(subject.media_type, subject.digest, subject.size),
        annotations=notes,
    ).to_bytes()
    row = describe(data, MANIFEST, artifact_type=BUNDLE, annotations=notes)
    return Made(data, row, (EMPTY_BYTES, bundle), None)


def dsse_message(kind: str, body: bytes) -> bytes:
    """Give what a DSSE signature covers (protocol.md, "PAE")."""
    head = f"DSSEv1 {len(kind.encode())} {kind} {len(body)} ".encode()
    return head + body


def check_simple(
    payload: bytes, signature: str, digest: str, keys: Sequence[TrustedKey], where: str
) -> TrustedKey:
    """Give the key that signed this very digest in the tag form; raises RefusedError."""
    key = _signer(_decoded(signature, where), payload, keys, where)
    critical = table_field(parse_json(payload, where), "critical", where)
    if text_field(critical, "type", where) != _TYPE:
        raise RefusedError(Why.OTHER_PREDICATE, where, "is no signature of an artifact")
    image = table_field(critical, "image", where)
    signed = text_field(image, "docker-manifest-digest", where)
    if signed != digest:
        raise RefusedError(Why.OTHER_DIGEST, where, f"signs {signed[:80]}, not {digest}")
    return key


def check_bundle(
    bundle: bytes, digest: str, keys: Sequence[TrustedKey], where: str, predicate: str = SIGNED
) -> tuple[TrustedKey, dict[str, Any]]:
    """Give the key that signed a statement of this predicate about this digest, and what it says.

    Raises RefusedError.
    """
    values = parse_json(bundle, where)
    if not text_field(values, "mediaType", where).startswith("application/vnd.dev.sigstore.bundle"):
        raise malformed(where, "is no bundle")
    kind, body, key = open_envelope(table_field(values, "dsseEnvelope", where), keys, where)
    if kind != IN_TOTO:
        raise malformed(where, "signs no in-toto statement")
    return key, check_statement(body, digest, predicate, where)


def open_envelope(
    envelope: dict[str, Any], keys: Sequence[TrustedKey], where: str
) -> tuple[str, bytes, TrustedKey]:
    """Give the type and the bytes that a DSSE envelope holds, and the key that signed them.

    Raises RefusedError when none of `keys` did.
    """
    kind = text_field(envelope, "payloadType", where)
    body = _decoded(text_field(envelope, "payload", where), where)
    rows = list_field(envelope, "signatures", where, 1)
    if len(rows) != 1 or not isinstance(rows[0], dict):
        raise malformed(where, "has not exactly one signature")
    signature = _decoded(text_field(rows[0], "sig", where), where)
    return kind, body, _signer(signature, dsse_message(kind, body), keys, where)


def envelope_of(kind: str, body: bytes, signature: bytes) -> dict[str, Any]:
    """Give the DSSE envelope of some bytes and their signature (envelope.md)."""
    return {
        "payload": base64.b64encode(body).decode(),
        "payloadType": kind,
        "signatures": [{"sig": base64.b64encode(signature).decode()}],
    }


def check_statement(body: bytes, digest: str, predicate: str, where: str) -> dict[str, Any]:
    """Give the predicate of an in-toto statement about `digest`; raises RefusedError."""
    statement = parse_json(body, where)
    if text_field(statement, "_type", where) != _STATEMENT:
        raise malformed(where, "signs no in-toto statement")
    found = text_field(statement, "predicateType", where)
    if found != predicate:
        raise RefusedError(
            Why.OTHER_PREDICATE, where, f"vouches for {found[:100]}, not {predicate}"
        )
    algorithm, _, value = digest.partition(":")
    for row in list_field(statement, "subject", where, _MAX_SUBJECTS):
        digests = row.get("digest") if isinstance(row, dict) else None
        if isinstance(digests, dict) and digests.get(algorithm) == value:
            said = statement.get("predicate")
            return said if isinstance(said, dict) else {}
    raise RefusedError(Why.OTHER_DIGEST, where, f"signs another digest than {digest}")


def _signer(signature: bytes, message: bytes, keys: Sequence[TrustedKey], where: str) -> TrustedKey:
    for key in keys:
        if key.verifies(signature, message):
            return key
    names = ", ".join(dict.fromkeys(key.name for key in keys))
    raise RefusedError(Why.STRANGER, where, f"is signed by none of the trusted keys ({names})")


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed(where, "holds what is no base64") from error
