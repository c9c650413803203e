"""Mutates signatures, certificates' messages, lists and updates: only errors for users come out."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from memory_signers import NOW, revoked_tbs, signer
from small_pe import pe_with_sbat

from sprout.base.errors import SproutError
from sprout.signing import authenticode, cms, modules, siglist, variables
from sprout.signing.trust import Trust, parse_levels, revocations
from sprout.signing.verify import verify_image, verify_module

RUNS = 3_000
OWNER = UUID("77fa9abd-0359-4d32-bd60-28f4e78f784b")
ROOT = signer("root", ca=True)
LEAF = signer("leaf", issuer=ROOT)
TRUST = Trust(images=(ROOT.certificate,), modules=(LEAF.certificate,))
MODULE = b"\x7fELF\2\1\1".ljust(16, b"\0") + b"\1\0" + bytes(100)
DBX = siglist.pack(
    [
        siglist.x509(OWNER, LEAF.certificate),
        siglist.images(OWNER, [bytes(32), b"\1" * 32]),
        siglist.images(OWNER, [bytes(48)]),
        revoked_tbs(OWNER, LEAF.certificate),
    ]
)
IMAGE = authenticode.sign_image(pe_with_sbat(2), [LEAF], "image")
CHECKSUM = authenticode._places(IMAGE, "image").checksum
UPDATE = variables.authenticated(
    variables.well_known("dbx", DBX), datetime(2026, 1, 1, tzinfo=UTC), LEAF
)


def update(data: bytes) -> bool:
    vendor = variables.VENDOR_OF["dbx"]
    variables.verify_update(data, "dbx", vendor, [LEAF.certificate], "file")
    return True


def message(data: bytes) -> bool:
    found = cms.parse(data, "file", padding=7)
    named = cms.signers(found, [LEAF.certificate])
    for certificate in named:
        cms.verify(found, b"content", certificate, "file")
    return bool(named)


# What reads, and a good input.
TARGETS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "image": (lambda data: verify_image(data, "file", TRUST, at=NOW).accepted, IMAGE),
    "module": (
        lambda data: verify_module(data, "file", TRUST, at=NOW).accepted,
        modules.sign_module(MODULE, LEAF, "file"),
    ),
    "message": (message, cms.detached(LEAF, b"content", "file")),
    "lists": (lambda data: revocations(data, "file"), DBX),
    "update": (update, UPDATE),
    "levels": (
        lambda data: parse_levels(data.decode("latin-1"), "file"),
        b"sbat,1,2026060100\nsprout,3\ngrub,4\n",
    ),
}


def without_checksum(data: bytes) -> bytes:
    """Cut four bytes out where the image above has its checksum."""
    return data[:CHECKSUM] + data[CHECKSUM + 4 :]


def mutant(good: bytes, chance: random.Random) -> bytes:
    """Change a few bytes, a length, a piece, or the end of a good input."""
    data = bytearray(good)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data))
        kind = chance.randrange(5)
        if kind == 0:
            data[at] = chance.randrange(256)
        elif kind == 1:
            data[at] = chance.choice((0x00, 0x30, 0x7F, 0x80, 0x81, 0x82, 0x84, 0xFF))
        elif kind == 2:
            del data[at : at + chance.randint(1, 40)]
        elif kind == 3:
            data[at:at] = data[(start := chance.randrange(len(data))) : start + 40]
        else:
            del data[at:]
        if not data:
            return b""
    return bytes(data)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("name", TARGETS)
def test_only_errors_for_users_come_out(name: str) -> None:
    read, good = TARGETS[name]
    assert read(good)
    chance = random.Random(name)  # noqa: S311 - the same mutants in every run
    passed = 0
    for _ in range(RUNS):
        data = mutant(good, chance)
        try:
            # No signature covers the checksum of an image.
            if read(data) and without_checksum(data) != without_checksum(good):
                passed += 1
        except SproutError as error:
            assert error.hint
    # The others hold things that nothing vouches for.
    if name in ("image", "module", "update"):
        assert passed == 0


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_mutated_signatures_never_vouch() -> None:
    # The image's table alone: in the whole file most mutants would end at the digest.
    table = IMAGE[authenticode._places(IMAGE, "image").end :]
    body = IMAGE[: len(IMAGE) - len(table)]
    chance = random.Random(7)  # noqa: S311
    for _ in range(RUNS):
        changed = bytearray(table)
        changed[chance.randrange(len(changed))] = chance.randrange(256)
        image = body + bytes(changed)
        if verify_image(image, "file", TRUST, at=NOW).accepted:
            assert vouched(image) == vouched(IMAGE)


def vouched(image: bytes) -> tuple[object, ...]:
    """Give what a signature stands for.

    It can be written in more ways than one: RSA has an identifier with a digest and one without,
    and a certificate's own signature is a string of bits that may say how many of them count.
    """
    (found,) = authenticode.signatures(image, "file")
    certificates = [row.tbs_certificate_bytes for row in found.message.certificates]
    return found.digest, found.message.attributes, found.message.signature, certificates
