"""Detached signing: what is exported, and which signatures are taken back."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from memory_signers import signer

from sprout.base.errors import SproutError
from sprout.signing.detached import Attach, Export, file_name


def test_export_writes_and_says_how_to_sign(tmp_path: Path) -> None:
    export = Export(signer("db").certificate, tmp_path / "out", "db")
    assert export.sign(b"message", "zone.efi") == bytes(256)
    assert export.sign(b"message", "zone.efi") == bytes(256)
    assert export.written == (tmp_path / "out/zone.efi.tbs",)
    assert export.written[0].read_bytes() == b"message"
    assert export.instructions() == (
        "openssl dgst -sha256 -sign db.key -out zone.efi.sig zone.efi.tbs",
    )
    with pytest.raises(SproutError, match="two things to sign have this name"):
        export.sign(b"other", "zone.efi")


def test_right_signature_is_attached(tmp_path: Path) -> None:
    key = signer("db")
    (tmp_path / "zone.efi.sig").write_bytes(key.sign(b"message", "x"))
    attach = Attach(key.certificate, tmp_path)
    assert attach.has("zone.efi")
    assert attach.sign(b"message", "zone.efi") == key.sign(b"message", "x")


@pytest.mark.parametrize(
    "signature",
    [b"", bytes(256), signer("db").sign(b"massage", "x"), signer("other").sign(b"message", "x")],
    ids=["empty", "zeros", "other message", "other key"],
)
def test_wrong_signature_is_named(tmp_path: Path, signature: bytes) -> None:
    (tmp_path / "zone.efi.sig").write_bytes(signature)
    with pytest.raises(SproutError, match=r"zone\.efi\.sig: is no signature by CN=db"):
        Attach(signer("db").certificate, tmp_path).sign(b"message", "zone.efi")


def test_missing_signature_is_named(tmp_path: Path) -> None:
    attach = Attach(signer("db").certificate, tmp_path)
    assert not attach.has("zone.efi")
    with pytest.raises(SproutError, match=r"zone\.efi\.sig: no such signature"):
        attach.sign(b"message", "zone.efi")
    (tmp_path / "zone.efi.sig").write_bytes(bytes(5000))
    with pytest.raises(SproutError, match="longer than the 4,096"):
        attach.sign(b"message", "zone.efi")


@pytest.mark.parametrize(
    "label", ["../../x", "/etc/passwd", ".x", "-x", "a b", "$(x)", "", "é" * 99]
)
def test_label_is_never_a_path_or_an_option(label: str) -> None:
    name = file_name(label)
    assert set(name) <= {*string.ascii_letters, *string.digits, *"._-"}
    assert name[0] not in ".-"
    assert "/" not in name
    assert len(name) < 100


def test_labels_that_look_alike_differ() -> None:
    assert len({file_name(label) for label in ("a/b", "a b", "a_b", "a_b-", "a:b")}) == 5
