"""Authenticode in a PE image: every byte that counts counts, and damage is told from strangers."""

from __future__ import annotations

import hashlib
import struct

import pytest
from memory_signers import NOW, signer
from small_pe import small_pe

from sprout.base.errors import SproutError
from sprout.format import pe
from sprout.signing import authenticode, cms
from sprout.signing.trust import Trust
from sprout.signing.verify import Reason, verify_image

DB = signer("db")
OTHER = signer("other", bits=3072)
TRUST = Trust(images=(DB.certificate,))
PLAIN = small_pe()
SIGNED = authenticode.sign_image(PLAIN, [DB], "image")
HEADERS = pe.parse_headers(SIGNED, "image")
CHECKSUM = range(HEADERS.optional_offset + 64, HEADERS.optional_offset + 68)
TABLE = HEADERS.directory(pe.DIRECTORY_SECURITY).address


def refused(data: bytes) -> bool:
    return not verify_image(data, "image", TRUST, at=NOW).accepted


def flipped(data: bytes, offset: int, bits: int = 0x01) -> bytes:
    altered = bytearray(data)
    altered[offset] ^= bits
    return bytes(altered)


def test_digest_leaves_out_what_the_specification_says() -> None:
    entry = HEADERS.optional_offset + 112 + 4 * 8
    parts = (PLAIN[: CHECKSUM.start], PLAIN[CHECKSUM.stop : entry], PLAIN[entry + 8 :])
    wanted = hashlib.sha256(b"".join(parts)).digest()
    assert authenticode.image_digest(PLAIN, "image") == wanted
    assert authenticode.image_digest(SIGNED, "image") == wanted
    assert authenticode.signatures(SIGNED, "image")[0].digest == wanted


def test_signing_repeats() -> None:
    assert authenticode.sign_image(PLAIN, [DB], "image") == SIGNED
    assert authenticode.signatures(PLAIN, "image") == ()
    (stored,) = struct.unpack_from("<I", SIGNED, CHECKSUM.start)
    assert stored == pe.checksum(SIGNED, CHECKSUM.start)


@pytest.mark.parametrize("tail", [b"", b"12345", b"123", b"12345678"])
def test_image_of_any_length_is_padded(tail: bytes) -> None:
    plain = small_pe(trailing=tail)
    image = authenticode.sign_image(plain, [DB], "image")
    assert not refused(image)
    assert len(image) % 8 == 0
    assert authenticode.image_digest(plain, "image") == authenticode.image_digest(image, "image")


def test_second_signature_keeps_the_first() -> None:
    both = authenticode.sign_image(SIGNED, [OTHER], "image")
    assert both == authenticode.sign_image(PLAIN, [DB, OTHER], "image")
    found = authenticode.signatures(both, "image")
    assert [row.message.certificates[0] for row in found] == [DB.certificate, OTHER.certificate]
    assert authenticode.signatures(SIGNED, "image")[0] == found[0]
    for key in (DB, OTHER):
        verdict = verify_image(both, "image", Trust(images=(key.certificate,)), at=NOW)
        assert verdict.accepted
        assert sorted(row.refusal is None for row in verdict.signatures) == [False, True]


def test_number_of_signatures_is_bounded() -> None:
    many = authenticode.sign_image(PLAIN, [DB] * authenticode.MAX_SIGNATURES, "image")
    with pytest.raises(SproutError, match="more than 16 signatures"):
        authenticode.sign_image(many, [DB], "image")


def test_every_flipped_byte_but_the_checksum_is_refused() -> None:
    accepted = [offset for offset in range(len(SIGNED)) if not refused(flipped(SIGNED, offset))]
    assert accepted == list(CHECKSUM)


def test_every_bit_of_headers_and_section_table_counts() -> None:
    for offset in range(HEADERS.size_of_headers):
        if offset not in CHECKSUM:
            assert refused(flipped(SIGNED, offset, 1 << offset % 7 + 1)), offset


def test_what_was_altered_is_told_from_what_is_damaged() -> None:
    text = HEADERS.sections[0].raw_offset
    for data, reason in (
        (flipped(SIGNED, text), Reason.ALTERED),
        (flipped(SIGNED, len(SIGNED) - 100), Reason.ALTERED),
        (flipped(SIGNED, TABLE), Reason.MALFORMED),
        (flipped(SIGNED, 0), Reason.MALFORMED),
    ):
        verdict = verify_image(data, "image", TRUST, at=NOW)
        assert [row.reason for row in verdict.refusals] == [reason]
        assert verdict.refusals[0].by == ("sprout" if reason is Reason.MALFORMED else "firmware")


def test_every_truncation_is_refused() -> None:
    for size in range(len(SIGNED)):
        assert refused(SIGNED[:size]), size
    large = small_pe({".text": bytes(40_000)})
    image = authenticode.sign_image(large, [DB], "image")
    for size in range(0, len(image), 4096):
        assert refused(image[:size])


@pytest.mark.parametrize("tail", [b"\0", bytes(8), bytes(4096)])
def test_nothing_follows_the_certificate_table(tail: bytes) -> None:
    with pytest.raises(SproutError, match="does not end where the file ends"):
        authenticode.signatures(SIGNED + tail, "image")


def with_table(table: bytes, address: int | None = None, size: int | None = None) -> bytes:
    """Give the unsigned image with these bytes as its certificate table."""
    image = bytearray(PLAIN + table)
    start = len(PLAIN) if address is None else address
    entry = HEADERS.optional_offset + 112 + 4 * 8
    struct.pack_into("<II", image, entry, start, len(table) if size is None else size)
    return bytes(image)


def certificate(length: int, revision: int = 0x200, kind: int = 2, body: bytes = b"") -> bytes:
    return struct.pack("<IHH", length, revision, kind) + body


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (with_table(bytes(4), size=4), "cut short"),
        (with_table(certificate(8)), "dwLength"),
        (with_table(certificate(16)), "dwLength"),
        (with_table(certificate(12, body=bytes(4))), "dwLength"),
        (with_table(certificate(16, revision=0x100, body=bytes(8))), "no PKCS #7"),
        (with_table(certificate(16, kind=1, body=bytes(8))), "no PKCS #7"),
        (with_table(certificate(12, body=bytes(7) + b"\1")), "padding that is not zero"),
        (with_table(certificate(16, body=bytes(8))), "ContentInfo"),
        (with_table(bytes(8), address=len(PLAIN) - 8), "overlaps a section"),
        (with_table(bytes(8), address=0x200, size=len(PLAIN) + 8 - 0x200), "overlaps a section"),
        (with_table(bytes(8), size=0), "is empty"),
        (with_table(bytes(9), address=len(PLAIN) + 1, size=8), "misaligned"),
        (with_table(bytes(8), size=16), "does not end"),
        (with_table(bytes(8), address=(1 << 32) - 8), "does not end"),
    ],
)
def test_damaged_tables_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(SproutError, match=words) as caught:
        authenticode.signatures(data, "image")
    assert caught.value.message.startswith("image: ")


def test_gap_between_sections_is_refused() -> None:
    sections = {".text": bytes(512), ".data": bytes(512)}
    image = bytearray(small_pe(sections) + bytes(512))
    second = HEADERS.section_table_offset + pe.SECTION.size
    struct.pack_into(
        "<I", image, second + 20, pe.parse_headers(image, "").sections[1].raw_offset + 512
    )
    with pytest.raises(SproutError, match=r"image: \.data: .* leaves a gap"):
        authenticode.sign_image(bytes(image), [DB], "image")


def test_directory_without_room_is_refused() -> None:
    image = bytearray(PLAIN)
    struct.pack_into("<I", image, HEADERS.optional_offset + 108, 4)
    struct.pack_into("<H", image, HEADERS.coff_offset + 16, 112 + 4 * 8)
    rows = PLAIN[HEADERS.section_table_offset :][: 3 * pe.SECTION.size]
    start = HEADERS.optional_offset + 112 + 32
    image[start : start + len(rows)] = rows
    with pytest.raises(SproutError, match="leaves no entry"):
        authenticode.sign_image(bytes(image), [DB], "image")


def test_signature_of_another_content_is_none() -> None:
    entry = cms.anonymous(DB, b"data", "image")
    padded = entry + bytes(-len(entry) % 8)
    with pytest.raises(SproutError, match="SpcIndirectDataContent"):
        authenticode.signatures(with_table(certificate(8 + len(padded), body=padded)), "image")
