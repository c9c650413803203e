"""What is accepted and what is refused, by whom and why."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from memory_signers import NOW, MemorySigner, revoked_tbs, signer
from small_pe import pe_with_sbat, small_pe

from sprout.base.errors import SproutError
from sprout.format import levels
from sprout.signing import authenticode, cms, der, files, modules, siglist
from sprout.signing.chain import names
from sprout.signing.public import load_public
from sprout.signing.reading import read_optional, read_regular
from sprout.signing.trust import Trust, load_trust, merged, parse_levels, revocations
from sprout.signing.verify import Reason, Refusal, Verdict, verify_image, verify_module

OWNER = UUID("77fa9abd-0359-4d32-bd60-28f4e78f784b")
ROOT = signer("root", ca=True)
MIDDLE = signer("middle", issuer=ROOT, ca=True)
LEAF = signer("leaf", issuer=MIDDLE)
DB = signer("db")
STRANGER = signer("stranger")
PLAIN = small_pe()
IMAGE = authenticode.sign_image(PLAIN, [DB], "image")
TRUST = Trust(images=(DB.certificate,), modules=(DB.certificate,))
MODULE = b"\x7fELF\2\1\1".ljust(16, b"\0") + b"\1\0" + bytes(range(256)) * 4


def judge(data: bytes, trust: Trust = TRUST, **options: object) -> Verdict:
    return verify_image(data, "image", trust, at=NOW, **options)  # type: ignore[arg-type]


def only_refusal(verdict: Verdict) -> Refusal:
    assert not verdict.accepted
    assert len(verdict.refusals) == 1, verdict.refusals
    return verdict.refusals[0]


def dbx(*lists: siglist.SignatureList) -> Trust:
    return merged(TRUST, revocations(siglist.pack(lists), "dbx"))


def test_signed_image_is_accepted() -> None:
    verdict = judge(IMAGE)
    assert verdict.accepted
    assert verdict.sha256 == hashlib.sha256(IMAGE).hexdigest()
    (row,) = verdict.signatures
    assert (row.signer, row.anchor, row.refusal) == ("CN=db", "CN=db", None)


def test_unsigned_and_stranger_are_refused() -> None:
    assert only_refusal(judge(PLAIN)) == Refusal(
        Reason.UNSIGNED, "firmware", "carries no signature"
    )
    refusal = only_refusal(judge(authenticode.sign_image(PLAIN, [STRANGER], "image")))
    assert (refusal.reason, refusal.by) == (Reason.STRANGER, "firmware")
    assert "CN=stranger" in refusal.text
    assert only_refusal(judge(IMAGE, Trust())).reason is Reason.STRANGER


def test_impostor_with_the_trusted_name_is_refused() -> None:
    twin = signer("db", bits=3072, serial=DB.certificate.serial_number)
    assert twin.certificate.subject == DB.certificate.subject
    image = authenticode.sign_image(PLAIN, [twin], "image")
    assert only_refusal(judge(image)).reason is Reason.STRANGER
    borrowed = replace(twin, certificate=DB.certificate)
    image = authenticode.sign_image(PLAIN, [borrowed], "image")
    assert only_refusal(judge(image)).reason is Reason.ALTERED


def test_signature_moved_from_another_image_is_refused() -> None:
    other = small_pe({".text": b"evil"})
    entry = IMAGE[len(PLAIN) :]
    moved = authenticode.sign_image(other, [STRANGER], "image")[: len(other)]
    image = bytearray(moved + entry)
    at = authenticode._places(IMAGE, "image").entry  # the one field that says where the table is
    image[at : at + 8] = len(other).to_bytes(4, "little") + len(entry).to_bytes(4, "little")
    assert only_refusal(judge(bytes(image))).reason is Reason.ALTERED


def test_any_good_signature_is_enough() -> None:
    both = authenticode.sign_image(PLAIN, [STRANGER, DB], "image")
    verdict = judge(both)
    assert verdict.accepted
    assert [row.refusal is None for row in verdict.signatures] == [False, True]


def test_chain_leads_to_what_is_trusted() -> None:
    image = authenticode.sign_image(PLAIN, [LEAF], "image")
    for anchor in (LEAF, MIDDLE):
        verdict = judge(image, Trust(images=(anchor.certificate,)))
        assert verdict.accepted
        assert verdict.signatures[0].anchor == anchor.certificate.subject.rfc4514_string()
    both = Trust(images=(MIDDLE.certificate, ROOT.certificate))
    assert judge(image, both).accepted
    # The signature carries the leaf alone: nothing leads from it to the root.
    assert only_refusal(judge(image, Trust(images=(ROOT.certificate,)))).reason is Reason.STRANGER


def test_revoked_by_hash() -> None:
    digest = authenticode.image_digest(IMAGE, "image")
    refusal = only_refusal(judge(IMAGE, dbx(siglist.images(OWNER, [bytes(32), digest]))))
    assert (refusal.reason, refusal.by) == (Reason.REVOKED_HASH, "firmware")
    assert digest.hex() in refusal.text
    assert judge(IMAGE, dbx(siglist.images(OWNER, [bytes(32)]))).accepted


@pytest.mark.parametrize("by_hash", [False, True])
def test_revoked_by_certificate(by_hash: bool) -> None:
    def revoke(key: MemorySigner) -> siglist.SignatureList:
        listed = revoked_tbs(OWNER, key.certificate)
        return listed if by_hash else siglist.x509(OWNER, key.certificate)

    refusal = only_refusal(judge(IMAGE, dbx(revoke(DB))))
    assert (refusal.reason, refusal.by) == (Reason.REVOKED_CERTIFICATE, "firmware")
    assert refusal.text == "dbx holds CN=db"
    assert judge(IMAGE, dbx(revoke(STRANGER))).accepted


def test_revoked_authority_takes_what_it_issued_along() -> None:
    image = authenticode.sign_image(PLAIN, [LEAF], "image")
    for revoked in (LEAF, MIDDLE, ROOT):
        for anchors in ((LEAF,), (MIDDLE,), (MIDDLE, ROOT)):
            trust = replace(
                dbx(siglist.x509(OWNER, revoked.certificate)),
                images=tuple(key.certificate for key in anchors),
            )
            reachable = MIDDLE in anchors or revoked is not ROOT
            verdict = judge(image, trust)
            assert verdict.accepted is not reachable
            if reachable:
                assert only_refusal(verdict).reason is Reason.REVOKED_CERTIFICATE


def test_one_revoked_signature_spoils_the_others() -> None:
    both = authenticode.sign_image(PLAIN, [DB, STRANGER], "image")
    assert judge(both).accepted
    trust = dbx(siglist.x509(OWNER, STRANGER.certificate))
    assert only_refusal(judge(both, trust)).reason is Reason.REVOKED_CERTIFICATE


def test_validity_is_what_firmware_ignores() -> None:
    old = signer("old", begins=NOW - timedelta(days=9), ends=NOW - timedelta(days=2))
    image = authenticode.sign_image(PLAIN, [old], "image")
    trust = Trust(images=(old.certificate,))
    refusal = only_refusal(judge(image, trust))
    assert (refusal.reason, refusal.by) == (Reason.EXPIRED, "sprout")
    assert "ended on 2026-05-30; firmware and kernel ignore that" in refusal.text
    assert verify_image(image, "image", trust, at=NOW - timedelta(days=5)).accepted
    early = verify_image(image, "image", trust, at=NOW - timedelta(days=99))
    assert only_refusal(early).reason is Reason.NOT_YET_VALID


def test_expired_authority_is_noticed() -> None:
    old = signer("old root", ca=True, begins=NOW - timedelta(days=9), ends=NOW - timedelta(days=2))
    leaf = signer("young", issuer=old)
    image = authenticode.sign_image(PLAIN, [leaf], "image")
    assert only_refusal(judge(image, Trust(images=(old.certificate,)))).reason is Reason.EXPIRED
    # A way that is valid is enough.
    assert judge(image, Trust(images=(old.certificate, leaf.certificate))).accepted


def test_digest_covers_what_authenticode_does_not() -> None:
    digest = hashlib.sha256(IMAGE).hexdigest()
    assert judge(IMAGE, digest=digest).accepted
    checksum = authenticode._places(IMAGE, "image").checksum
    altered = bytearray(IMAGE)
    altered[checksum] ^= 1
    assert judge(bytes(altered)).accepted
    refusal = only_refusal(judge(bytes(altered), digest=digest))
    assert (refusal.reason, refusal.by) == (Reason.DIGEST, "sprout")


@pytest.mark.parametrize(
    ("lowest", "accepted"),
    [
        (None, True),
        ({}, True),
        ({"sbat": 1, "sprout": 2}, True),
        ({"sprout": 1, "grub": 9}, True),
        ({"sprout": 3}, False),
        ({"sbat": 2}, False),
    ],
)
def test_generation_below_the_level(lowest: dict[str, int] | None, accepted: bool) -> None:
    image = authenticode.sign_image(pe_with_sbat(2), [DB], "image")
    verdict = judge(image, replace(TRUST, levels=lowest))
    assert verdict.accepted is accepted
    if not accepted:
        refusal = only_refusal(verdict)
        assert (refusal.reason, refusal.by) == (Reason.SBAT, "stub")
        assert "below the level" in refusal.text


def test_level_wants_a_table_in_the_image() -> None:
    rows = b"sbat,1,SBAT,sbat,1,url\nsprout-stub,1,vendor,sprout,1,url\n"
    stub = small_pe({".text": b"\xc3" * 600, ".sbat": rows})
    for plain, by in ((PLAIN, "sprout"), (stub, "stub")):
        image = authenticode.sign_image(plain, [DB], "image")
        refusal = only_refusal(judge(image, replace(TRUST, levels={"sbat": 1})))
        assert (refusal.reason, refusal.by) == (Reason.SBAT, by)
        assert ".sbatlvl" in refusal.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sbatlvl": levels.pack({"sbat": 1, "sprout": 3})}, "disagrees"),
        ({"sbatlvl": b"none"}, "header: is cut short"),
        ({"sbatlvl": levels.pack({"sbat": 1, "sprout": 2}) + b"\0"}, "count"),
        ({"sbat": b"sbat,1,SBAT,sbat,1,url\n"}, "disagrees"),
        ({"sbat": b"\xff"}, "not UTF-8"),
        ({"sbat": b"sbat,1\n"}, "2 fields"),
        ({"sbat": b"x" * 70_000}, "longer than"),
    ],
)
def test_tables_have_to_agree(changes: dict[str, bytes], words: str) -> None:
    image = authenticode.sign_image(pe_with_sbat(2, **changes), [DB], "image")
    refusal = only_refusal(judge(image))
    assert (refusal.reason, refusal.by) == (Reason.MALFORMED, "sprout")
    assert words in refusal.text


def test_every_reason_at_once_is_named() -> None:
    image = authenticode.sign_image(pe_with_sbat(2), [STRANGER], "image")
    trust = replace(TRUST, levels={"sprout": 3})
    found = judge(image, trust, digest="0" * 64).refusals
    assert [row.reason for row in found] == [Reason.DIGEST, Reason.STRANGER, Reason.SBAT]


def test_module_is_signed_once_and_always_alike() -> None:
    signed = modules.sign_module(MODULE, DB, "dummy.ko")
    assert signed == modules.sign_module(MODULE, DB, "dummy.ko")
    assert signed.startswith(MODULE)
    assert signed.endswith(modules.MARKER)
    with pytest.raises(SproutError, match=r"dummy\.ko: is signed already"):
        modules.sign_module(signed, DB, "dummy.ko")
    with pytest.raises(SproutError, match="is no kernel module"):
        modules.sign_module(PLAIN, DB, "dummy.ko")
    assert verify_module(signed, "dummy.ko", TRUST, at=NOW).accepted


def test_refused_modules() -> None:
    signed = modules.sign_module(MODULE, DB, "dummy.ko")

    def reason(data: bytes, trust: Trust = TRUST) -> Reason:
        refusal = only_refusal(verify_module(data, "dummy.ko", trust, at=NOW))
        assert refusal.by == ("sprout" if refusal.reason is Reason.MALFORMED else "kernel")
        return refusal.reason

    assert reason(MODULE) is Reason.UNSIGNED
    assert reason(modules.sign_module(MODULE, STRANGER, "dummy.ko")) is Reason.STRANGER
    assert reason(signed, dbx(siglist.x509(OWNER, DB.certificate))) is Reason.REVOKED_CERTIFICATE
    assert reason(b"text") is Reason.MALFORMED
    for offset in range(18, len(MODULE)):
        altered = bytearray(signed)
        altered[offset] ^= 1
        assert reason(bytes(altered)) is Reason.ALTERED
    for offset in range(len(MODULE), len(signed)):
        altered = bytearray(signed)
        altered[offset] ^= 1
        assert not verify_module(bytes(altered), "dummy.ko", TRUST, at=NOW).accepted
    for size in range(len(signed)):
        assert not verify_module(signed[:size], "dummy.ko", TRUST, at=NOW).accepted


def test_file_is_signed_by_what_it_is() -> None:
    assert files.role_of(PLAIN, "image") == "db"
    assert files.role_of(MODULE, "dummy.ko") == "module"
    with pytest.raises(SproutError, match="neither a PE image nor a kernel module"):
        files.role_of(b"text", "text")
    assert files.signed_bytes(PLAIN, DB, "image") == IMAGE
    with pytest.raises(SproutError, match="signed already"):
        files.signed_bytes(IMAGE, DB, "image")
    twice = files.signed_bytes(IMAGE, STRANGER, "image", append=True)
    assert len(authenticode.signatures(twice, "image")) == 2
    assert files.signed_name(Path("a/zone.efi")) == Path("a/zone.signed.efi")


def test_trust_is_read_from_directories_and_certificates(tmp_path: Path) -> None:
    public = tmp_path / "release.pub"
    public.mkdir()
    (tmp_path / "release").mkdir()
    with pytest.raises(SproutError, match=r"holds neither db\.crt nor module\.crt"):
        load_trust([public])
    for name, key in (("db", DB), ("db-1", LEAF), ("module", MIDDLE), ("KEK", ROOT)):
        key.write(public, name)
    expected = Trust(images=(LEAF.certificate, DB.certificate), modules=(MIDDLE.certificate,))
    assert load_trust([public]) == load_trust([tmp_path / "release"]) == expected
    (public / "dbx.esl").write_bytes(
        siglist.pack(
            [siglist.x509(OWNER, STRANGER.certificate), siglist.images(OWNER, [bytes(32)])]
        )
    )
    (public / "sbat-level.csv").write_text("sbat,1,2026060100\nsprout,3\n")
    single = STRANGER.write(tmp_path, "single")[1]
    found = load_trust([public, single])
    assert found.images == (LEAF.certificate, DB.certificate, STRANGER.certificate)
    assert found.modules == (MIDDLE.certificate, STRANGER.certificate)
    assert found.revoked_certificates == (STRANGER.certificate,)
    assert found.revoked_digests == {bytes(32)}
    assert found.levels == {"sbat": 1, "sprout": 3}


def test_higher_level_wins() -> None:
    found = merged(Trust(levels={"a": 1, "b": 5}), Trust(levels={"a": 2, "c": 1}))
    assert found.levels == {"a": 2, "b": 5, "c": 1}
    assert merged(Trust(), Trust()).levels is None


@pytest.mark.parametrize(
    "text",
    ["sprout,1\n", "sbat\n", "sbat,0\n", "sbat,1,x\nsprout,1,x\n", "sbat,1\nsbat,1\n", "sbat,-1\n"],
)
def test_unfit_levels_are_refused(text: str) -> None:
    with pytest.raises(SproutError, match="file: line"):
        parse_levels(text, "file")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("db.crt", b"text", "certificate"),
        ("db.crt", b"\0" * 70_000, "longer than"),
        ("dbx.esl", b"\0" * 28, "SignatureListSize"),
        (
            "dbx.esl",
            siglist.pack(
                [
                    siglist.SignatureList(
                        siglist.X509, (siglist.SignatureData(OWNER, b"no certificate"),)
                    )
                ]
            ),
            "certificate",
        ),
        ("sbat-level.csv", b"\xff", "is not ASCII"),
    ],
)
def test_damaged_trust_is_an_error(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    public = tmp_path / "release.pub"
    public.mkdir()
    DB.write(public, "db")
    (public / name).write_bytes(data)
    with pytest.raises(SproutError, match=words) as caught:
        load_trust([public])
    assert name in caught.value.message


@pytest.mark.parametrize("name", ["db.crt", "module-1.crt", "dbx.esl", "sbat-level.csv"])
def test_what_is_no_file_is_an_error_and_no_wait(tmp_path: Path, name: str) -> None:
    public = tmp_path / "release.pub"
    public.mkdir()
    DB.write(public, "db")
    odd = public / name
    odd.unlink(missing_ok=True)
    os.mkfifo(odd)
    with pytest.raises(SproutError, match=f"{name}: is no regular file"):
        load_trust([public])
    odd.unlink()
    for target, words in (
        ("/dev/zero", "is no regular file|other users may change"),
        ("nowhere", "cannot be read"),
        (".", "cannot be read|is no regular file"),
    ):
        odd.symlink_to(target)
        with pytest.raises(SproutError, match=words):
            load_trust([public])
        odd.unlink()


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    for path in (Path("/dev/zero"), tmp_path):
        with pytest.raises(SproutError, match=r"is no regular file|Is a directory"):
            read_regular(path, 9)
    file = tmp_path / "file"
    assert read_optional(file, 9) is None
    file.write_bytes(b"contents!")
    assert read_optional(file, 9) == b"contents!"
    with pytest.raises(SproutError, match="longer than the 8 bytes"):
        read_regular(file, 8)


@pytest.mark.parametrize("name", ["db.crt", "owner.guid", "dbx.esl", "sbat-level.csv"])
def test_public_half_is_of_files(tmp_path: Path, name: str) -> None:
    public = tmp_path / "release.pub"
    public.mkdir()
    (public / "owner.guid").write_text(str(OWNER))
    load_public(public)
    odd = public / name
    odd.unlink(missing_ok=True)
    os.mkfifo(odd)
    with pytest.raises(SproutError, match=f"{name}: is no regular file"):
        load_public(public)
    odd.unlink()
    odd.symlink_to("nowhere")
    with pytest.raises(SproutError, match=f"{name}: cannot be read"):
        load_public(public)


def with_message(message: bytes) -> bytes:
    trailer = modules._TRAILER.pack(0, 0, 2, 0, 0, bytes(3), len(message))
    return MODULE + message + trailer + modules.MARKER


def test_modules_that_the_kernel_would_not_take() -> None:
    def said(message: bytes) -> str:
        refusal = only_refusal(verify_module(with_message(message), "dummy.ko", TRUST, at=NOW))
        return refusal.text

    good = cms.anonymous(DB, MODULE, "dummy.ko")
    assert verify_module(with_message(good), "dummy.ko", TRUST, at=NOW).accepted
    bare = cms._message(DB, MODULE, "dummy.ko", cms.DATA, None, null=False)
    assert "contentType" in said(bare)
    rsa, other = der.identifier(cms.RSA), der.identifier("1.2.840.113549.1.1.11")
    assert len(rsa) == len(other)
    assert "not rsaEncryption" in said(good.replace(rsa, other))
    # The attributes are put in where they would stand; what they say is not looked at.
    attributes = der.element(
        der.context(0, constructed=True), der.sequence(der.identifier("1.2.3"))
    )
    assert "signed attributes" in said(with_attributes(attributes))


def with_attributes(attributes: bytes) -> bytes:
    called = names(DB.certificate)
    hashing = der.sequence(der.identifier(cms.SHA256))
    signer_info = der.sequence(
        der.integer(1),
        der.sequence(called.issuer, der.integer(called.serial)),
        hashing,
        attributes,
        der.sequence(der.identifier(cms.RSA), der.null()),
        der.octets(DB.sign(attributes, "dummy.ko")),
    )
    inner = der.sequence(der.identifier(cms.DATA))
    whole = der.sequence(der.integer(1), der.set_of(hashing), inner, der.set_of(signer_info))
    return cms._content_info(whole)
