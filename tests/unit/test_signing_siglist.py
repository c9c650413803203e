"""Signature lists and authenticated variables: bytes there and back, and what is refused."""

from __future__ import annotations

import hashlib
import struct
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from memory_signers import revoked_tbs, signer

from sprout.base.errors import SproutError
from sprout.signing import siglist, variables

OWNER = UUID("77fa9abd-0359-4d32-bd60-28f4e78f784b")
TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEK = signer("KEK")


def sample() -> bytes:
    return siglist.pack(
        [
            siglist.x509(OWNER, KEK.certificate),
            siglist.images(OWNER, [bytes(32), b"\1" * 32]),
            revoked_tbs(OWNER, KEK.certificate),
        ]
    )


def test_lists_come_back() -> None:
    certificate, digests, tbs = siglist.parse(sample(), "dbx")
    assert certificate == siglist.x509(OWNER, KEK.certificate)
    assert [row.data for row in digests.signatures] == [bytes(32), b"\1" * 32]
    assert tbs.signatures[0] == siglist.SignatureData(
        OWNER, hashlib.sha256(KEK.certificate.tbs_certificate_bytes).digest() + bytes(16)
    )
    assert siglist.pack([certificate, digests, tbs]) == sample()
    assert siglist.parse(b"", "dbx") == ()


def test_layout_is_the_specifications() -> None:
    data = siglist.pack([siglist.images(OWNER, [b"\7" * 32])])
    assert data[:16] == bytes.fromhex("2616c4c14c509240aca941f936934328")
    assert struct.unpack("<III", data[16:28]) == (28 + 48, 0, 48)
    assert data[28:44] == OWNER.bytes_le
    assert data[44:] == b"\7" * 32


@pytest.mark.parametrize(
    ("size", "guid"),
    [
        (20, "826ca512-cf10-4ac9-b187-be01496631bd"),
        (48, "ff3e5307-9fd0-48c9-85f1-8ad56c701e01"),
        (64, "093e0fae-a6c4-4f50-9f1b-d41e2b89c19a"),
    ],
)
def test_other_digests_of_images_have_their_own_types(size: int, guid: str) -> None:
    row = siglist.images(OWNER, [b"\7" * size])
    assert row.type == UUID(guid)
    assert siglist.parse(siglist.pack([row]), "dbx") == (row,)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_digest_of_another_size_is_not_packed(size: int) -> None:
    with pytest.raises(ValueError, match="cannot have the sizes"):
        siglist.pack([siglist.images(OWNER, [bytes(size)])])


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [
        (16, 27, "SignatureListSize"),
        (16, 77, "SignatureListSize"),
        (16, 60, "SignatureSize"),
        (16, 28, "SignatureSize"),
        (20, 1, "SignatureHeaderSize"),
        (24, 0, "SignatureSize"),
        (24, 16, "SignatureSize"),
        (24, 47, "SignatureSize"),
        (0, 1, "SignatureType"),
    ],
)
def test_impossible_fields_are_refused(offset: int, value: int, words: str) -> None:
    data = bytearray(siglist.pack([siglist.images(OWNER, [bytes(32)])]))
    struct.pack_into("<I", data, offset, value)
    with pytest.raises(SproutError, match=f"dbx: signature list 1: {words}"):
        siglist.parse(bytes(data), "dbx")


def test_every_truncation_of_a_list_is_refused() -> None:
    data = sample()
    ends = {0, len(data)}
    for row in siglist.parse(data, "dbx"):
        ends.add(max(ends - {len(data)}) + len(siglist.pack([row])))
    for size in set(range(len(data))) - ends:
        with pytest.raises(SproutError):
            siglist.parse(data[:size], "dbx")


def test_update_comes_back() -> None:
    variable = variables.well_known("db", sample())
    for append in (False, True):
        data = variables.authenticated(variable, TIME, KEK, append=append)
        found = variables.verify_update(
            data, "db", variable.guid, [KEK.certificate], "db.auth", append=append
        )
        assert found == variables.well_known("db", sample(), TIME)
        with pytest.raises(SproutError, match=r"db\.auth: signature: .* not of this content"):
            variables.verify_update(
                data, "db", variable.guid, [KEK.certificate], "db.auth", append=not append
            )


def test_time_is_utc() -> None:
    east = TIME.astimezone(timezone(timedelta(hours=5)))
    variable = variables.well_known("PK", b"")
    own = variables.authenticated(variable, TIME, KEK)
    assert variables.authenticated(variable, east, KEK) == own
    assert own[:16] == struct.pack("<H14B", 2026, 1, 2, 3, 4, 5, *[0] * 9)
    with pytest.raises(ValueError, match="time zone"):
        variables.authenticated(variable, TIME.replace(tzinfo=None), KEK)


def test_update_vouches_for_name_vendor_and_signer() -> None:
    data = variables.authenticated(variables.well_known("db", b"new"), TIME, KEK)
    vendor = variables.VENDOR_OF["db"]
    for name, guid in (("dbx", vendor), ("db", variables.GLOBAL_VARIABLE)):
        with pytest.raises(SproutError, match="not of this content"):
            variables.verify_update(data, name, guid, [KEK.certificate], "file")
    with pytest.raises(SproutError, match="none of the certificates"):
        variables.verify_update(data, "db", vendor, [signer("stranger").certificate], "file")


def test_every_flipped_byte_of_an_update_is_refused() -> None:
    data = variables.authenticated(variables.well_known("db", b"new contents"), TIME, KEK)
    for offset in range(len(data)):
        altered = bytearray(data)
        altered[offset] ^= 0x01
        with pytest.raises(SproutError):
            variables.verify_update(
                bytes(altered), "db", variables.VENDOR_OF["db"], [KEK.certificate], "db.auth"
            )


def test_every_truncation_of_an_update_is_refused() -> None:
    data = variables.authenticated(variables.well_known("db", b"new contents"), TIME, KEK)
    for size in range(len(data)):
        with pytest.raises(SproutError):
            variables.verify_update(
                data[:size], "db", variables.VENDOR_OF["db"], [KEK.certificate], "db.auth"
            )
