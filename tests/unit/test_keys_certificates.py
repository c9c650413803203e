"""Certificates: as the profiles say, and read without trusting a byte."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from keyrings import profiles
from memory_signers import elliptic_certificate, rsa_key

from sprout.base.errors import SproutError
from sprout.signing.certificates import (
    ROLES,
    check_role,
    fingerprint,
    issue,
    load_profiles,
    parse_certificate,
)

NOW = datetime(2026, 6, 1, 12, 0, 0, 5, tzinfo=UTC)


def test_certificate_is_as_its_profile_says() -> None:
    profile = profiles()["db"]
    certificate = issue(profile, rsa_key("db"), "release", NOW)
    assert certificate.subject.rfc4514_string() == "CN=release boot image signer"
    assert certificate.issuer == certificate.subject
    certificate.verify_directly_issued_by(certificate)
    begins = certificate.not_valid_before_utc
    assert NOW - timedelta(hours=1, seconds=1) < begins < NOW
    ends = certificate.not_valid_after_utc
    assert abs(ends - begins - timedelta(days=3652.5)) < timedelta(days=1)
    extensions = certificate.extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CODE_SIGNING]


def test_serial_numbers_are_random() -> None:
    profile = profiles()["PK"]
    serials = {issue(profile, rsa_key("PK"), "n", NOW).serial_number for _ in range(3)}
    assert len(serials) == 3
    assert min(serials) > 1 << 64


def test_key_that_may_issue_certificates_is_a_ca(tmp_path: Path) -> None:
    text = Path("signing/profiles.toml").read_text()
    path = tmp_path / "profiles.toml"
    path.write_text(text.replace('["digitalSignature"]', '["digitalSignature", "keyCertSign"]'))
    certificate = issue(load_profiles(path)["db"], rsa_key("db"), "n", NOW)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('key = "ec-p256"', 'key = "rsa-2048"', "artifact.key"),
        ('key = "rsa-2048"', 'key = "rsa-1024"', "PK.key"),
        ("years = 25", "years = 0", "PK.years"),
        ("years = 25", "years = 99", "PK.years"),
        ('"digitalSignature"', '"keyAgreement"', "PK.key_usage"),
        ('["digitalSignature"]', "[]", "PK.key_usage"),
        ('"codeSigning"', '"webServing"', "db.extended_key_usage"),
        ('"codeSigning"', '"2.999999999999999"', "db.extended_key_usage"),
        ("subject =", "subjekt =", "PK.subject"),
        ("[module]", "[modul]", "module"),
    ],
)
def test_wrong_profile_is_named(tmp_path: Path, old: str, new: str, field: str) -> None:
    path = tmp_path / "profiles.toml"
    path.write_text(Path("signing/profiles.toml").read_text().replace(old, new))
    with pytest.raises(SproutError, match=field):
        load_profiles(path)


@pytest.mark.parametrize("name", ["x" * 60, "a\nb", "ä"])
def test_name_that_is_no_common_name_is_refused(name: str) -> None:
    with pytest.raises(SproutError, match="is no name of at most 64"):
        issue(profiles()["PK"], rsa_key("PK"), name, NOW)


def test_certificate_is_read_in_pem_and_der() -> None:
    certificate = issue(profiles()["PK"], rsa_key("PK"), "n", NOW)
    for encoding in (Encoding.PEM, Encoding.DER):
        read = parse_certificate(certificate.public_bytes(encoding), "file")
        assert fingerprint(read) == fingerprint(certificate)


def test_role_refuses_a_key_of_another_type() -> None:
    firmware = issue(profiles()["PK"], rsa_key("PK"), "n", NOW)
    for role in ROLES:
        wrong = firmware if role == "artifact" else elliptic_certificate()
        right = elliptic_certificate() if role == "artifact" else firmware
        check_role(right, role, "file")
        with pytest.raises(SproutError, match=r"file: public key: .* is not for"):
            check_role(wrong, role, "file")
    for bits in (1024, 3072):
        made = issue(profiles()["db"], rsa_key(f"db{bits}", bits), "n", NOW)
        if bits == 1024:
            with pytest.raises(SproutError, match="rsa-1024 is not for db"):
                check_role(made, "db", "file")
        else:
            check_role(made, "db", "file")


def test_other_kinds_of_keys_are_refused() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    certificate = issue(profiles()["artifact"], key, "n", NOW)
    with pytest.raises(SproutError, match="ec-secp384r1 is not for artifact"):
        check_role(parse_certificate(certificate.public_bytes(Encoding.DER), "f"), "artifact", "f")


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"-----BEGIN CERTIFICATE-----\n", b"-----BEGIN RSA PRIVATE KEY-----"]
)
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(SproutError, match="file: is"):
        parse_certificate(data, "file")


def test_two_certificates_in_a_file_are_refused() -> None:
    pem = issue(profiles()["PK"], rsa_key("PK"), "n", NOW).public_bytes(Encoding.PEM)
    with pytest.raises(SproutError, match="is not one certificate"):
        parse_certificate(pem * 2, "file")


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_damaged_certificates_raise_nothing_else() -> None:
    der = issue(profiles()["db"], rsa_key("db"), "n", NOW).public_bytes(Encoding.DER)
    chance = random.Random(7)  # noqa: S311 - has to repeat
    refused = 0
    for _ in range(3000):
        mutant = bytearray(der)
        for _ in range(chance.randrange(1, 4)):
            mutant[chance.randrange(len(mutant))] = chance.randrange(256)
        if chance.random() < 0.2:
            del mutant[chance.randrange(len(mutant)) :]
        try:
            parse_certificate(bytes(mutant), "mutant")
        except SproutError:
            refused += 1
    assert refused > 1000
