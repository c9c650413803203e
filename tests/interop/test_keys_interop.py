"""Keys and other people's tools: OpenSSL, sbsigntool, osslsigncode and efitools take ours, and ours
takes theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import assert_one_error, command
from keyrings import make_keyring, passphrase, secret_file
from small_pe import small_pe

from sprout.base.run import Output, check, run
from sprout.signing import keyring, pem
from sprout.signing.authenticode import sign_image
from sprout.signing.certificates import signature_fits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole key directory "release", and the file "pass" that opens it."""
    folder = tmp_path_factory.mktemp("keys")
    make_keyring(folder / "release")
    secret_file(folder / "pass")
    return folder


@pytest.mark.parametrize("role", ["PK", "KEK", "db", "module", "artifact"])
def test_openssl_opens_and_uses_our_keys(folder: Path, tmp_path: Path, role: str) -> None:
    opens = ["-passin", f"file:{folder / 'pass'}"]
    key = str(folder / f"release/{role}.key")
    assert b"Key is valid" in check(["openssl", "pkey", "-in", key, "-check", *opens], "openssl")
    message = tmp_path / "message"
    message.write_bytes(b"message")
    signature = check(
        ["openssl", "dgst", "-sha256", *opens, "-sign", key, message],
        "openssl",
    )
    signer = keyring.open_signer(folder / "release", role, folder / "pass")
    assert signature_fits(signer.certificate, b"message", signature)
    if role != "artifact":
        assert signature == signer.sign(b"message", "label")


def test_openssl_verifies_our_certificates(folder: Path) -> None:
    for path in sorted((folder / "release.pub").glob("*.crt")):
        assert check(["openssl", "verify", "-x509_strict", "-CAfile", path, path], "openssl")


def test_key_for_cosign_is_the_certificates(folder: Path) -> None:
    shared = folder / "release.pub"
    words = ["openssl", "x509", "-in", str(shared / "artifact.crt"), "-noout", "-pubkey"]
    assert check(words, "openssl") == (shared / "artifact.pub").read_bytes()


def test_other_verifiers_take_images_signed_with_db(folder: Path, tmp_path: Path) -> None:
    signer = keyring.open_signer(folder / "release", "db", folder / "pass")
    image = tmp_path / "image.efi"
    image.write_bytes(sign_image(small_pe(), [signer], "image"))
    certificate = folder / "release.pub/db.crt"
    check(["sbverify", "--cert", certificate, image], "sbverify")
    trusted = ["-CAfile", str(certificate), "-TSA-CAfile", str(certificate)]
    said = run(["osslsigncode", "verify", "-in", image, *trusted])
    assert said.status == 0, said.stdout.decode()


def test_other_signers_use_our_key_once_openssl_opened_it(folder: Path, tmp_path: Path) -> None:
    plain = secret_file(tmp_path / "plain.key", "")
    opened = ["openssl", "pkey", "-in", str(folder / "release/db.key")]
    opened += ["-passin", f"file:{folder / 'pass'}"]
    plain.write_bytes(check(opened, "openssl"))
    image = tmp_path / "image.efi"
    image.write_bytes(small_pe())
    certificate = folder / "release.pub/db.crt"
    check(["sbsign", "--key", plain, "--cert", certificate, image], "sbsign")
    check(["sbverify", "--cert", certificate, f"{image}.signed"], "sbverify")


def test_efitools_reads_our_lists(folder: Path, tmp_path: Path) -> None:
    words = ["--passphrase-file", str(folder / "pass"), "-o", str(tmp_path / "out")]
    output = command("keys", "enroll", folder / "release", *words)
    assert output.status == 0, output.stderr.decode()
    for role in ("PK", "KEK", "db"):
        check(["sig-list-to-certs", tmp_path / f"out/{role}.esl", tmp_path / role], "efitools")
        der = ["openssl", "x509", "-in", str(folder / f"release.pub/{role}.crt"), "-outform", "DER"]
        assert (tmp_path / f"{role}-0.der").read_bytes() == check(der, "openssl")


def openssl_pair(folder: Path, *, curve: bool = False, cipher: str = "") -> tuple[Path, Path]:
    """Make a key and a certificate as people do by hand, and give their paths."""
    key, certificate = folder / "theirs.key", folder / "theirs.crt"
    new = ["-newkey", "rsa:2048"]
    if curve:
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words = ["openssl", "req", "-x509", "-sha256", *new, "-nodes", "-days", "3650"]
    words += ["-subj", "/O=Fleet/CN=theirs", "-keyout", str(key), "-out", str(certificate)]
    check(words, "openssl")
    if cipher:
        secret = secret_file(folder / "theirs.pass", "their own words")
        sealed = key.with_name("sealed.key")
        words = ["openssl", "pkey", "-in", str(key), f"-{cipher}", "-passout", f"file:{secret}"]
        check([*words, "-out", sealed], "openssl")
        key = sealed
    key.chmod(0o600)
    return key, certificate


def bring(folder: Path, role: str, *words: str | Path) -> Output:
    secret = secret_file(folder / "pass")
    return command(*("keys", "import"), folder / "n", role, *words, "--passphrase-file", secret)


@pytest.mark.parametrize("role", ["db", "artifact"])
def test_foreign_pair_is_taken_over(tmp_path: Path, role: str) -> None:
    key, certificate = openssl_pair(tmp_path, curve=role == "artifact")
    output = bring(tmp_path, role, "--key", key, "--certificate", certificate)
    assert output.status == 0, output.stderr.decode()
    assert b"CN=theirs" in output.stdout
    kept = tmp_path / f"n/{role}.key"
    assert kept.stat().st_mode & 0o7777 == 0o600
    assert b"ENCRYPTED" in kept.read_bytes()
    signer = keyring.open_signer(tmp_path / "n", role, tmp_path / "pass")
    assert signature_fits(signer.certificate, b"m", signer.sign(b"m", "label"))
    again = bring(tmp_path, role, "--key", key, "--certificate", certificate)
    assert_one_error(again, "has this certificate already")


@pytest.mark.parametrize("cipher", ["aes-256-cbc", "aes-128-cbc"])
def test_foreign_key_with_its_own_passphrase(tmp_path: Path, cipher: str) -> None:
    key, certificate = openssl_pair(tmp_path, cipher=cipher)
    words = ["--key", str(key), "--certificate", str(certificate)]
    theirs = tmp_path / "theirs.pass"
    output = bring(tmp_path, "db", *words, "--key-passphrase-file", theirs)
    assert output.status == 0, output.stderr.decode()
    assert pem.load_key(tmp_path / "n/db.key", passphrase())


def test_second_import_rotates(tmp_path: Path) -> None:
    for count in range(2):
        folder = tmp_path / str(count)
        folder.mkdir()
        key, certificate = openssl_pair(folder)
        output = bring(tmp_path, "db", "--key", key, "--certificate", certificate)
        assert output.status == 0, output.stderr.decode()
    shared = keyring.public(tmp_path / "n")
    assert shared.stems("db") == ("db", "db-1")
    assert sorted(path.name for path in (tmp_path / "n").iterdir()) == ["db-1.key", "db.key"]


def test_certificate_alone_is_for_keys_elsewhere(tmp_path: Path) -> None:
    _, certificate = openssl_pair(tmp_path)
    output = bring(tmp_path, "db", "--certificate", certificate)
    assert output.status == 0, output.stderr.decode()
    assert b"elsewhere" in output.stdout
    assert not list((tmp_path / "n").iterdir())


def test_wrong_pairs_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    key, certificate = openssl_pair(tmp_path)
    (tmp_path / "other").mkdir()
    other, _ = openssl_pair(tmp_path / "other")
    stranger = bring(tmp_path, "db", "--key", other, "--certificate", certificate)
    assert_one_error(stranger, "is not the key of")
    role = bring(tmp_path, "artifact", "--key", key, "--certificate", certificate)
    assert_one_error(role, "rsa-2048 is not for artifact")
    key.chmod(0o644)
    seen = bring(tmp_path, "db", "--key", key, "--certificate", certificate)
    assert_one_error(seen, "theirs.key: other users may read")
    swapped = bring(tmp_path, "db", "--certificate", key)
    assert_one_error(swapped, "theirs.key: is not one certificate")
    assert not (tmp_path / "n").exists()
    assert not (tmp_path / "n.pub").exists()
    secret = b"".join(key.read_bytes().splitlines()[1:3])[:40]
    for output in (stranger, role, seen, swapped):
        assert secret not in (output.stdout + output.stderr).replace(b"\n", b"")
