"""SignedData: what is made verifies, is always the same, and vouches for nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from memory_signers import MemorySigner, elliptic_certificate, signer

from sprout.base.errors import SproutError
from sprout.signing import cms, der

CONTENT = b"what is signed"


@pytest.fixture(scope="module")
def own() -> MemorySigner:
    return signer("own", serial=1 << 158)


@pytest.mark.parametrize("bits", [2048, 3072])
def test_three_forms_verify(bits: int) -> None:
    key = signer(f"rsa {bits}", bits=bits)
    element = der.sequence(der.octets(CONTENT))
    for data, content in (
        (cms.attached(key, "1.2.3", element, "label"), element[2:]),
        (cms.detached(key, CONTENT, "label"), CONTENT),
        (cms.anonymous(key, CONTENT, "label"), CONTENT),
    ):
        message = cms.parse(data, "file")
        assert cms.signers(message, [key.certificate]) == (key.certificate,)
        cms.verify(message, content, key.certificate, "file")
        with pytest.raises(SproutError, match=r"another content|not of this content"):
            cms.verify(message, content + b".", key.certificate, "file")


def test_bytes_repeat(own: MemorySigner) -> None:
    for make in (cms.detached, cms.anonymous):
        assert make(own, CONTENT, "label") == make(own, CONTENT, "label")


def test_only_the_attached_form_carries_what_it_should(own: MemorySigner) -> None:
    bare = cms.parse(cms.detached(own, CONTENT, "label"), "file")
    assert (bare.content, bare.attributes, bare.certificates) == (None, None, (own.certificate,))
    module = cms.parse(cms.anonymous(own, CONTENT, "label"), "file")
    assert (module.content, module.attributes, module.certificates) == (None, None, ())
    full = cms.parse(cms.attached(own, "1.2.3", der.sequence(), "label"), "file")
    assert full.content == b""
    assert full.attributes is not None


def test_another_key_of_the_same_name_does_not_verify(own: MemorySigner) -> None:
    twin = replace(signer("twin"), certificate=own.certificate)
    message = cms.parse(cms.anonymous(twin, CONTENT, "label"), "file")
    assert cms.signers(message, [own.certificate]) == (own.certificate,)
    with pytest.raises(SproutError, match=r"file: signature: .* by this key"):
        cms.verify(message, CONTENT, own.certificate, "file")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"digest": "1.3.14.3.2.26"}, "digest algorithm"),
        ({"algorithm": "1.2.840.113549.1.1.12"}, "signature algorithm"),
        ({"algorithm": "1.2.840.10045.4.3.2"}, "signature algorithm"),
        ({"digest": "2.16.840.1.101.3.4.2.3"}, "not of this content"),
        ({"attributes": der.set_of()}, "contentType"),
    ],
)
def test_other_algorithms_are_refused(
    own: MemorySigner, changes: dict[str, object], words: str
) -> None:
    message = cms.parse(cms.anonymous(own, CONTENT, "label"), "file")
    with pytest.raises(SproutError, match=words):
        cms.verify(replace(message, **changes), CONTENT, own.certificate, "file")  # type: ignore[arg-type]


def test_weak_and_other_keys_are_refused(own: MemorySigner) -> None:
    weak = signer("weak", bits=1024)
    message = cms.parse(cms.anonymous(weak, CONTENT, "label"), "file")
    with pytest.raises(SproutError, match="not RSA of 2,048"):
        cms.verify(message, CONTENT, weak.certificate, "file")
    elliptic = elliptic_certificate()
    with pytest.raises(SproutError, match="not RSA"):
        cms.verify(message, CONTENT, elliptic, "file")
    with pytest.raises(SproutError, match="an RSA key is needed"):
        cms.anonymous(replace(own, certificate=elliptic), CONTENT, "label")


def test_attributes_of_another_type_do_not_pass(own: MemorySigner) -> None:
    message = cms.parse(cms.attached(own, "1.2.3", der.sequence(), "label"), "file")
    with pytest.raises(SproutError, match="contentType"):
        cms.verify(replace(message, content_type="1.2.4"), b"", own.certificate, "file")
    # Read as content in its own right, the attributes are a message that the key did sign.
    forged = replace(message, attributes=None)
    assert message.attributes is not None
    cms.verify(forged, message.attributes, own.certificate, "file")


def test_padding_is_zero_and_bounded(own: MemorySigner) -> None:
    data = cms.anonymous(own, CONTENT, "label")
    assert cms.parse(data + bytes(7), "file", padding=7) == cms.parse(data, "file")
    for tail in (bytes(8), b"\1", b"\0\1"):
        with pytest.raises(SproutError, match="something follows"):
            cms.parse(data + tail, "file", padding=7)
    with pytest.raises(SproutError, match="something follows"):
        cms.parse(data + b"\0", "file")


def test_size_is_bounded() -> None:
    with pytest.raises(SproutError, match="longer than"):
        cms.parse(bytes(cms.MAX_SIGNED_DATA_BYTES + 1), "file")
