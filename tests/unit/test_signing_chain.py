"""The way from a signer to a trusted certificate."""

from __future__ import annotations

import pytest
from cryptography import x509
from memory_signers import certified, signer

from sprout.base.errors import SproutError
from sprout.signing.chain import chains, names, trusted_chain

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


def test_only_an_authority_is_believed_but_anybody_is_revoked() -> None:
    plain = signer("plain", issuer=ROOT)
    below = signer("below", issuer=plain)
    leaf, pool, root = below.certificate, [plain.certificate], ROOT.certificate
    assert trusted_chain(leaf, pool, root) is None
    assert trusted_chain(leaf, pool, plain.certificate) is None
    assert chains(leaf, pool, [root]) == ((leaf, *pool, root),)


def test_believed_chains() -> None:
    leaf, middle, root = LEAF.certificate, MIDDLE.certificate, ROOT.certificate
    assert trusted_chain(leaf, [], leaf) == (leaf,)
    assert trusted_chain(leaf, [middle, root], leaf) == (leaf,)
    assert trusted_chain(leaf, [], middle) == (leaf, middle)
    assert trusted_chain(leaf, [leaf, middle], root) == (leaf, middle, root)
    assert trusted_chain(leaf, [], root) is None
    assert trusted_chain(root, [], middle) is None


USAGES = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)
BASIC = x509.BasicConstraints(ca=True, path_length=None)
SIGNS = x509.KeyUsage(**USAGES | {"key_cert_sign": True})
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\5\0")
NAMES = x509.NameConstraints([x509.DNSName("example.org")], None)


@pytest.mark.parametrize(
    ("extensions", "believed"),
    [
        ([(BASIC, True)], True),
        ([(BASIC, True), (SIGNS, True)], True),
        ([(SIGNS, True)], True),
        ([], False),
        ([(BASIC, True), (x509.KeyUsage(**USAGES | {"crl_sign": True}), True)], False),
        ([(BASIC, True), (UNKNOWN, False)], True),
        ([(BASIC, True), (UNKNOWN, True)], False),
        ([(BASIC, True), (NAMES, False)], False),
        ([(x509.BasicConstraints(ca=True, path_length=0), True)], True),
    ],
)
def test_issuers_extensions(
    extensions: list[tuple[x509.ExtensionType, bool]], believed: bool
) -> None:
    issuer = certified("issuer", extensions)
    leaf = signer("leaf", issuer=issuer).certificate
    found = trusted_chain(leaf, [], issuer.certificate)
    assert found == ((leaf, issuer.certificate) if believed else None)
    # A revoked one is found whatever it says of itself.
    assert chains(leaf, [], [issuer.certificate])


def test_length_of_the_path_is_the_issuers_word() -> None:
    root = certified("short", [(x509.BasicConstraints(ca=True, path_length=0), True)])
    middle = signer("middle", issuer=root, ca=True)
    leaf = signer("leaf", issuer=middle)
    assert trusted_chain(middle.certificate, [], root.certificate)
    assert trusted_chain(leaf.certificate, [middle.certificate], root.certificate) is None


def test_identifier_of_another_key_leads_nowhere() -> None:
    other = x509.AuthorityKeyIdentifier(b"other", None, None)
    key = certified("leaf", [(other, False)], issuer=ROOT)
    assert trusted_chain(key.certificate, [], ROOT.certificate) is None
    assert chains(key.certificate, [], [ROOT.certificate])


def test_renewed_certificate_is_another_one() -> None:
    first, second = (signer("twice", ca=True).certificate for _ in range(2))
    assert trusted_chain(first, [second], second) is None
    assert chains(first, [], [second])


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
