"""Key files and passphrases: for their owner's eyes alone."""

from __future__ import annotations

import os
import resource
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from commands import ROOT
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from keyrings import WORDS, passphrase, profiles, secret_file
from memory_signers import rsa_key

from sprout.base.errors import SproutError
from sprout.base.run import check, started
from sprout.signing import pem, pkcs8
from sprout.signing.certificates import issue, signature_fits
from sprout.signing.passphrase import Passphrase
from sprout.signing.private_files import (
    public_entries,
    read_private,
    write_private,
    write_public,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@cache
def sealed_key() -> bytes:
    return pkcs8.encrypt(rsa_key("db"), passphrase().get())


def key_file(folder: Path) -> Path:
    path = folder / "db.key"
    write_private(path, sealed_key())
    return path


def test_key_file_opens_with_its_passphrase(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()
    key = pem.load_key(path, passphrase())
    assert key.private_numbers() == rsa_key("db").private_numbers()


def test_passphrase_is_stretched_as_promised() -> None:
    sealed = pkcs8.encrypt(ec.generate_private_key(ec.SECP256R1()), b"secret words")
    shown = check(["openssl", "asn1parse"], "openssl", data=sealed).decode()
    assert ":PBES2" in shown
    assert ":hmacWithSHA256" in shown
    assert ":aes-256-cbc" in shown
    assert f"INTEGER           :{pkcs8.ROUNDS:06X}" in shown
    assert load_pem_private_key(sealed, b"secret words").public_key()


def test_same_key_is_never_sealed_the_same_way() -> None:
    key = rsa_key("db")
    assert pkcs8.encrypt(key, b"secret words") != pkcs8.encrypt(key, b"secret words")


def test_wrong_passphrase_is_named(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    with pytest.raises(SproutError, match="the passphrase does not open it"):
        pem.load_key(path, passphrase("another one"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o610])
def test_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path)
    path.chmod(mode)
    with pytest.raises(SproutError, match=f"other users may read or change it .mode {mode:04o}"):
        pem.load_key(path, passphrase())


def test_key_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = key_file(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(SproutError, match=f"belongs to user {os.getuid()}"):
        pem.load_key(path, passphrase())


def test_plain_key_is_refused_unless_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "db.key"
    plain = rsa_key("db").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_private(path, plain)
    with pytest.raises(SproutError, match="is not encrypted"):
        pem.load_key(path, passphrase())
    assert pem.load_key(path, passphrase(), plain=True)


def test_old_format_of_openssl_is_read(tmp_path: Path) -> None:
    path = tmp_path / "db.key"
    sealed = rsa_key("db").private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"long enough")
    )
    write_private(path, sealed)
    assert pem.load_key(path, passphrase("long enough"))


def test_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    stranger = issue(profiles()["db"], rsa_key("stranger"), "n", NOW)
    with pytest.raises(SproutError, match="is not the key of its certificate"):
        pem.open_signer(path, stranger, passphrase())


@pytest.mark.parametrize("role", ["db", "artifact"])
def test_signature_fits_and_repeats(role: str) -> None:
    key = rsa_key("db") if role == "db" else ec.generate_private_key(ec.SECP256R1())
    certificate = issue(profiles()[role], key, "n", NOW)
    signer = pem.PemSigner(certificate, key)
    signature = signer.sign(b"message", "label")
    assert signature == signer.sign(b"message", "another label")
    assert signature_fits(certificate, b"message", signature)
    assert not signature_fits(certificate, b"massage", signature)
    assert not signature_fits(certificate, b"message", b"")
    assert "db" not in repr(signer).partition(" at 0x")[0]


@pytest.mark.parametrize("damage", [b"", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", b"x" * 100])
def test_damaged_key_is_an_error(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "db.key"
    write_private(path, damage)
    with pytest.raises(SproutError, match=r"db\.key: "):
        pem.load_key(path, passphrase(), plain=True)


def test_error_quotes_nothing_of_a_key(tmp_path: Path) -> None:
    path = tmp_path / "db.key"
    text = rsa_key("db").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    lines = text.splitlines()
    lines[5] = lines[5][:-4] + b"!!!!"
    write_private(path, b"\n".join(lines))
    with pytest.raises(SproutError) as caught:
        pem.load_key(path, passphrase(), plain=True)
    told = f"{caught.value.message} {caught.value.hint}"
    assert not any(line[:12].decode() in told for line in lines[1:-1])


def test_new_private_file_has_one_mode_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "secret", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "secret").stat().st_mode & 0o7777 == 0o600
    with pytest.raises(SproutError, match="File exists"):
        write_private(tmp_path / "secret", b"y")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SproutError, match="File exists"):
        write_private(tmp_path / "link", b"y")
    assert not (tmp_path / "elsewhere").exists()


def test_pipe_that_nobody_writes_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SproutError, match="is no regular file"):
        read_private(tmp_path / "pipe", 100)


def test_passphrase_file_is_its_first_line(tmp_path: Path) -> None:
    path = secret_file(tmp_path / "pass", "first line\r\nsecond")
    assert Passphrase(path, "Passphrase").get() == b"first line"
    path.chmod(0o644)
    with pytest.raises(SproutError, match="other users may read"):
        Passphrase(path, "Passphrase").get()


@pytest.mark.parametrize(("text", "why"), [("", "the first line is empty"), ("short", "shorter")])
def test_weak_passphrase_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = secret_file(tmp_path / "pass", text)
    with pytest.raises(SproutError, match=why):
        Passphrase(path, "Passphrase").choose()


def test_passphrase_does_not_show_itself() -> None:
    phrase = passphrase()
    phrase.get()
    assert WORDS not in repr(phrase)


def test_public_file_can_be_read_by_all_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_public(tmp_path / "db.crt", b"old")
        write_public(tmp_path / "db.crt", b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "db.crt").stat().st_mode & 0o7777 == 0o644
    assert (tmp_path / "db.crt").read_bytes() == b"new"


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o622])
def test_public_file_that_others_can_change_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "dbx.esl"
    write_public(file, b"")
    (tmp_path / ".of-another-process.tmp").symlink_to("gone")
    assert file in public_entries(tmp_path)
    file.chmod(mode)
    with pytest.raises(SproutError, match=rf"dbx\.esl: other users may change .*{mode:04o}"):
        public_entries(tmp_path)
    file.chmod(0o644)
    tmp_path.chmod(0o770)
    with pytest.raises(SproutError, match="other users may change whom it trusts"):
        public_entries(tmp_path)


def test_public_file_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() == 0:
        os.chown(tmp_path, 1, 1)
        owner = 1
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        owner = os.getuid()
    with pytest.raises(SproutError, match=f"belongs to user {owner}, who decides"):
        public_entries(tmp_path)


@pytest.mark.parametrize("hard", [resource.RLIM_INFINITY, 0])
def test_who_holds_a_secret_leaves_no_core(tmp_path: Path, hard: int) -> None:
    script = (
        "import os, pathlib, resource, sys\n"
        "from sprout.signing.passphrase import Passphrase\n"
        "Passphrase(pathlib.Path(sys.argv[1]), 'x').get()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), flush=True)\n"
        "os.abort()\n"
    )
    _, allowed = resource.getrlimit(resource.RLIMIT_CORE)
    limit = "unlimited" if hard and allowed == resource.RLIM_INFINITY else "0"
    words: list[str | Path] = [
        "sh",
        "-c",
        f'ulimit -c {limit}; cd "$1"; shift; exec "$@"',
        "sh",
        tmp_path,
    ]
    words += [sys.executable, "-c", script, secret_file(tmp_path / "pass")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with started(words, env=environment) as process:
        said, _ = process.communicate(timeout=60)
    expected = 1 if limit == "unlimited" else 0
    assert said.decode().strip() == f"({expected}, {expected})"
    assert process.returncode < 0  # ended by the signal
    assert {path.name for path in tmp_path.iterdir()} == {"pass"}
