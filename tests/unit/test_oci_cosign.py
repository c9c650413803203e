"""Signatures in both of cosign's forms: what is accepted, and why the rest is not."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from oci_content import signer

from sprout.base.errors import SproutError
from sprout.oci import cosign
from sprout.oci.digest import digest_of
from sprout.oci.keys import TrustedKey, load_trusted
from sprout.oci.model import MANIFEST, Manifest, describe, parse_manifest
from sprout.oci.refused import RefusedError, Why
from sprout.oci.strict_json import write_json

RELEASE = signer("release")
KEYS = (TrustedKey("stranger", signer("stranger").public), TrustedKey("release", RELEASE.public))
SUBJECT = describe(b"manifest", MANIFEST)


def bundle_bytes() -> dict[str, Any]:
    made = cosign.sign_bundle(SUBJECT, RELEASE, RELEASE.public)
    found: dict[str, Any] = json.loads(made.blobs[1])
    return found


def signed(statement: dict[str, Any], kind: str = "application/vnd.in-toto+json") -> bytes:
    """Give a bundle over any statement, signed by the release key."""
    body = write_json(statement)
    signature = RELEASE.sign(cosign.dsse_message(kind, body), "x")
    bundle = bundle_bytes()
    bundle["dsseEnvelope"] = {
        "payload": base64.b64encode(body).decode(),
        "payloadType": kind,
        "signatures": [{"sig": base64.b64encode(signature).decode()}],
    }
    return write_json(bundle)


def statement(**changes: object) -> dict[str, Any]:
    value = SUBJECT.digest.partition(":")[2]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": cosign.SIGNED,
        "subject": [{"name": "", "digest": {"sha256": value}}],
        "predicate": {},
        **changes,
    }


def test_bundle_is_accepted_and_shaped_as_cosign_wants_it() -> None:
    made = cosign.sign_bundle(SUBJECT, RELEASE, RELEASE.public)
    assert cosign.check_bundle(made.blobs[1], SUBJECT.digest, KEYS, "x")[0].name == "release"
    manifest = parse_manifest(made.manifest, "x")
    assert isinstance(manifest, Manifest)
    assert manifest.subject is not None
    assert manifest.subject.digest == SUBJECT.digest
    assert manifest.artifact_type == cosign.BUNDLE
    assert manifest.annotations == {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": cosign.SIGNED,
    }
    hint = bundle_bytes()["verificationMaterial"]["publicKey"]["hint"]
    assert base64.b64decode(hint).hex() == KEYS[1].fingerprint


def test_message_is_that_of_the_protocol() -> None:
    """The example of secure-systems-lab/dsse, protocol.md."""
    message = cosign.dsse_message("http://example.com/HelloWorld", b"hello world")
    assert message == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


@pytest.mark.parametrize(
    ("bundle", "why"),
    [
        (signed(statement(predicateType="https://slsa.dev/provenance/v1")), Why.OTHER_PREDICATE),
        (signed(statement(subject=[])), Why.OTHER_DIGEST),
        (signed(statement(subject=[{"digest": {"sha256": "0" * 64}}])), Why.OTHER_DIGEST),
        (signed(statement(subject=[{"digest": {"sha512": "0"}}, 5])), Why.OTHER_DIGEST),
        (signed(statement(_type="https://in-toto.io/Statement/v0.1")), Why.MALFORMED),
        (signed(statement(), "text/plain"), Why.MALFORMED),
        (signed(statement(subject="x")), Why.MALFORMED),
        (write_json(bundle_bytes() | {"mediaType": "text/plain"}), Why.MALFORMED),
        (write_json(bundle_bytes() | {"dsseEnvelope": 1}), Why.MALFORMED),
        (b"{", Why.MALFORMED),
    ],
)
def test_bundles_that_are_refused(bundle: bytes, why: Why) -> None:
    with pytest.raises(RefusedError) as caught:
        cosign.check_bundle(bundle, SUBJECT.digest, KEYS, "x")
    assert caught.value.why == why


def test_envelopes_that_are_refused() -> None:
    for changes, why in (
        ({"signatures": []}, Why.MALFORMED),
        ({"signatures": [{"sig": "AA=="}, {"sig": "AA=="}]}, Why.MALFORMED),
        ({"signatures": [{"sig": "?"}]}, Why.MALFORMED),
        ({"signatures": [{"sig": "AA=="}]}, Why.STRANGER),
        ({"payload": base64.b64encode(b"{}").decode()}, Why.STRANGER),
        ({"payloadType": "text/plain"}, Why.STRANGER),
    ):
        bundle = bundle_bytes()
        bundle["dsseEnvelope"] |= changes
        with pytest.raises(RefusedError) as caught:
            cosign.check_bundle(write_json(bundle), SUBJECT.digest, KEYS, "x")
        assert caught.value.why == why, changes
    with pytest.raises(RefusedError) as caught:
        cosign.check_bundle(write_json(bundle_bytes()), SUBJECT.digest, KEYS[:1], "x")
    assert caught.value.why == Why.STRANGER


def test_tag_form() -> None:
    made = cosign.sign_tag_form("r.example/zone", SUBJECT.digest, RELEASE)
    assert made.tag == SUBJECT.digest.replace(":", "-") + ".sig"
    manifest = parse_manifest(made.manifest, "x")
    assert isinstance(manifest, Manifest)
    note = manifest.layers[0].annotations[cosign.SIGNATURE_NOTE]
    payload = made.blobs[1]
    assert cosign.check_simple(payload, note, SUBJECT.digest, KEYS, "x").name == "release"
    assert json.loads(payload)["critical"]["identity"]["docker-reference"] == "r.example/zone"
    for data, text, digest, why in (
        (payload, note, digest_of(b"other"), Why.OTHER_DIGEST),
        (payload + b" ", note, SUBJECT.digest, Why.STRANGER),
        (payload, "", SUBJECT.digest, Why.STRANGER),
        (payload, "???", SUBJECT.digest, Why.MALFORMED),
    ):
        with pytest.raises(RefusedError) as caught:
            cosign.check_simple(data, text, digest, KEYS, "x")
        assert caught.value.why == why
    other = payload.replace(b"cosign container image signature", b"atomic container signature")
    signature = base64.b64encode(RELEASE.sign(other, "x")).decode()
    with pytest.raises(RefusedError) as caught:
        cosign.check_simple(other, signature, SUBJECT.digest, KEYS, "x")
    assert caught.value.why == Why.OTHER_PREDICATE


def test_keys_that_are_none(tmp_path: Path) -> None:
    path = RELEASE.write(tmp_path / "release.pub")
    assert load_trusted([str(path)])[0].fingerprint == KEYS[1].fingerprint
    path.write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    with pytest.raises(SproutError, match="is no public key in PEM"):
        load_trusted([str(path)])
    with pytest.raises(SproutError):
        load_trusted([str(tmp_path / "nothing")])
