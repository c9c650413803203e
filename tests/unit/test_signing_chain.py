"""The way from a signer to a trusted certificate."""

from __future__ import annotations

import pytest
from memory_signers import signer

from sprout.base.errors import SproutError
from sprout.signing.chain import chains, names

ROOT = signer("root", ca=True)
MIDDLE = signer("middle", issuer=ROOT, ca=True)
LEAF = signer("leaf", issuer=MIDDLE)


def test_names_are_the_certificates_own_bytes() -> None:
    found = names(LEAF.certificate)
    assert found.serial == LEAF.certificate.serial_number
    assert found.issuer == LEAF.certificate.issuer.public_bytes()
    assert found.subject == LEAF.certificate.subject.public_bytes()


def test_any_certificate_on_the_way_is_an_anchor() -> None:
    leaf, middle, root = LEAF.certificate, MIDDLE.certificate, ROOT.certificate
    assert chains(leaf, [middle], [root]) == ((leaf, middle, root),)
    assert chains(leaf, [], [middle]) == ((leaf, middle),)
    assert chains(leaf, [], [leaf]) == ((leaf,),)
    assert set(chains(leaf, [middle], [root, leaf])) == {(leaf,), (leaf, middle, root)}
    assert chains(leaf, [], [root]) == ()
    assert chains(leaf, [middle, root], []) == ()


def test_only_an_authority_issues() -> None:
    plain = signer("plain", issuer=ROOT)
    below = signer("below", issuer=plain)
    assert chains(below.certificate, [plain.certificate], [ROOT.certificate]) == ()


def test_name_alone_does_not_lead_anywhere() -> None:
    impostor = signer("impostor", ca=True)
    twin = signer("root", bits=3072, ca=True)
    assert twin.certificate.subject == ROOT.certificate.subject
    assert chains(MIDDLE.certificate, [], [twin.certificate, impostor.certificate]) == ()


def test_circles_and_length_are_bounded() -> None:
    one = signer("circle one", ca=True)
    two = signer("circle two", issuer=one, ca=True)
    back = signer("circle one", issuer=two, ca=True)
    assert len(chains(two.certificate, [one.certificate, back.certificate], [one.certificate])) == 1
    row = [ROOT]
    for number in range(9):
        row.append(signer(f"row {number}", issuer=row[-1], ca=True))
    pool = [each.certificate for each in row]
    assert chains(row[7].certificate, pool, [ROOT.certificate])
    assert not chains(row[8].certificate, pool, [ROOT.certificate])


def test_too_many_ways_are_an_error() -> None:
    twins = [signer("root", ca=True).certificate for _ in range(70)]
    with pytest.raises(SproutError, match="more than 64 ways"):
        chains(MIDDLE.certificate, twins, [ROOT.certificate])
