"""Keys in a PKCS #11 token, with SoftHSM as the token."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import PyKCS11
import pytest
from commands import ROOT, assert_one_error, command
from cryptography.hazmat.primitives.serialization import Encoding
from keyrings import MADE, profiles, secret_file
from small_pe import small_pe

from sprout.base.errors import SproutError
from sprout.base.run import Output, check, started
from sprout.signing import keyring, token
from sprout.signing.authenticode import sign_image
from sprout.signing.certificates import EC_TYPE, PrivateKey, issue, signature_fits
from sprout.signing.foreign_key import foreign_key
from sprout.signing.makers import TokenMaker
from sprout.signing.passphrase import Passphrase
from sprout.signing.pkcs11_uri import TokenUri

PIN = "13572468"
Keys = Callable[..., Output]


@pytest.fixture(scope="module")
def library() -> Path:
    """SoftHSM's PKCS #11 library."""
    found = sorted(Path("/usr/lib").glob("**/softhsm/libsofthsm2.so"))
    assert found
    return found[0]


@pytest.fixture
def uri(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TokenUri:
    """An empty token "depot"; beside it lie "pin" and "wrong"."""
    (tmp_path / "tokens").mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    words = ["softhsm2-util", "--init-token", "--free", "--label", "depot"]
    check([*words, "--pin", PIN, "--so-pin", "24681357"], "softhsm2-util")
    secret_file(tmp_path / "pin", PIN)
    secret_file(tmp_path / "wrong", "99999999")
    return TokenUri(library, token="depot")  # noqa: S106 - a label


@pytest.fixture
def pin(tmp_path: Path, uri: TokenUri) -> Passphrase:
    assert uri
    return Passphrase(tmp_path / "pin", "PIN")


def labels(uri: TokenUri) -> list[tuple[str, int]]:
    """Give label and class of every object in the token."""
    handle = PyKCS11.PyKCS11Lib()
    handle.load(str(uri.module_path))
    slots = [s for s in handle.getSlotList(True) if handle.getTokenInfo(s).label.strip() == "depot"]
    session = handle.openSession(slots[0], PyKCS11.CKF_SERIAL_SESSION)
    session.login(PIN)
    asked = [PyKCS11.CKA_LABEL, PyKCS11.CKA_CLASS]
    found = [tuple(session.getAttributeValue(row, asked)) for row in session.findObjects()]
    session.closeSession()
    handle.unload()
    return sorted(found)


@pytest.mark.parametrize("kind", ["rsa-2048", "rsa-3072", EC_TYPE])
def test_key_is_made_used_and_destroyed_in_the_token(
    uri: TokenUri, pin: Passphrase, kind: str
) -> None:
    made = token.generate(uri, pin, kind, "release-db")
    assert made.object == "release-db"
    assert len(made.id) == 16
    profile = profiles()["artifact" if kind == EC_TYPE else "db"]
    maker = TokenMaker(uri, pin)
    certificate = issue(profile, maker.make(profile, "other").key, "n", MADE)
    certificate.verify_directly_issued_by(certificate)

    own = keyring.token_pin(made, None)
    assert own is not pin
    signature = token.sign(made, pin, b"message")
    public = token.find(made, pin)
    signed = issue(profile, _foreign(made, pin), "n", MADE)
    assert signature_fits(signed, b"message", signature)
    assert public.key_size == (256 if kind == EC_TYPE else int(kind.removeprefix("rsa-")))
    with pytest.raises(SproutError, match="is not the key of its certificate"):
        token.open_signer(made, certificate, pin)

    token.destroy(made, pin)
    maker.undo()
    assert not labels(uri)
    with pytest.raises(SproutError, match="no private key"):
        token.find(made, pin)


def _foreign(uri: TokenUri, pin: Passphrase) -> PrivateKey:
    return foreign_key(token.find(uri, pin), lambda message: token.sign(uri, pin, message))


def test_private_key_cannot_leave_the_token(uri: TokenUri, pin: Passphrase) -> None:
    made = token.generate(uri, pin, "rsa-2048", "release-db")
    handle = PyKCS11.PyKCS11Lib()
    handle.load(str(uri.module_path))
    slots = [s for s in handle.getSlotList(True) if handle.getTokenInfo(s).label.strip() == "depot"]
    session = handle.openSession(slots[0], PyKCS11.CKF_SERIAL_SESSION)
    private = (PyKCS11.CKA_CLASS, PyKCS11.CKO_PRIVATE_KEY)
    assert not session.findObjects([private])  # nobody sees it before the login
    session.login(PIN)
    (found,) = session.findObjects([private, (PyKCS11.CKA_ID, made.id)])
    asked = [PyKCS11.CKA_SENSITIVE, PyKCS11.CKA_EXTRACTABLE, PyKCS11.CKA_NEVER_EXTRACTABLE]
    asked += [PyKCS11.CKA_ALWAYS_SENSITIVE, PyKCS11.CKA_PRIVATE, PyKCS11.CKA_SIGN]
    asked += [PyKCS11.CKA_DECRYPT]
    values = [bool(value) for value in session.getAttributeValue(found, asked)]
    assert values == [True, False, True, True, True, True, False]
    assert session.getAttributeValue(found, [PyKCS11.CKA_PRIVATE_EXPONENT]) == [None]
    session.closeSession()
    handle.unload()


def test_wrong_pin_token_or_library_is_named(
    uri: TokenUri, pin: Passphrase, tmp_path: Path
) -> None:
    with pytest.raises(SproutError, match="the PIN is wrong"):
        token.generate(uri, Passphrase(tmp_path / "wrong", "PIN"), EC_TYPE, "x")
    with pytest.raises(SproutError, match="no such token"):
        token.generate(TokenUri(uri.module_path, token="barn"), pin, EC_TYPE, "x")  # noqa: S106
    with pytest.raises(SproutError, match="no such PKCS #11 library"):
        token.find(TokenUri(tmp_path / "none.so", token="depot"), pin)  # noqa: S106
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(SproutError, match=r"text\.so"):
        token.find(TokenUri(tmp_path / "text.so", token="depot"), pin)  # noqa: S106
    token.generate(uri, pin, EC_TYPE, "twice")
    token.generate(uri, pin, EC_TYPE, "twice")
    with pytest.raises(SproutError, match=r"2 private key"):
        token.find(uri.with_key("twice", b""), pin)


@pytest.fixture
def keys(uri: TokenUri, tmp_path: Path) -> Keys:
    """`sprout keys`, as a function of its words."""
    assert uri

    def run_keys(*words: str | Path) -> Output:
        return command("keys", *words, env={"SPROUT_KEYS": str(tmp_path / "keys")})

    return run_keys


def test_whole_key_directory_in_a_token(uri: TokenUri, keys: Keys, tmp_path: Path) -> None:
    pin_file = tmp_path / "pin"
    wrong = keys("new", "depot", "--token", uri.text(), "--pin-file", tmp_path / "wrong")
    assert_one_error(wrong, "the PIN is wrong")
    assert not labels(uri)
    made = keys("new", "depot", "--token", uri.text(), "--pin-file", pin_file)
    assert made.status == 0, made.stderr.decode()
    private = tmp_path / "keys/depot"
    assert sorted(path.name for path in private.iterdir()) == [
        *("KEK.uri", "PK.uri", "artifact.uri"),
        *("db.uri", "module.uri"),
    ]
    assert {path.stat().st_mode & 0o7777 for path in private.iterdir()} == {0o600}
    shown = json.loads(keys("show", "depot", "--json").stdout)
    assert {row["private"] for row in shown["keys"]} == {"token"}

    for role in ("db", "artifact"):
        signer = keyring.open_signer(private, role, pin_file)
        assert signature_fits(signer.certificate, b"m", signer.sign(b"m", "label"))
    image = tmp_path / "image.efi"
    image.write_bytes(sign_image(small_pe(), [keyring.open_signer(private, "db", pin_file)], "i"))
    certificate = tmp_path / "keys/depot.pub/db.crt"
    check(["sbverify", "--cert", certificate, image], "sbverify")
    check(["openssl", "verify", "-CAfile", certificate, certificate], "openssl")

    enrolled = keys("enroll", "depot", "-o", tmp_path / "out", "--pin-file", pin_file)
    assert enrolled.status == 0, enrolled.stderr.decode()
    assert (tmp_path / "out/PK.auth").exists()
    for output in (made, enrolled, wrong):
        assert PIN.encode() not in output.stdout + output.stderr

    before = labels(uri)
    assert len(before) == 10
    words = ["rotate", "depot", "db", "--destroy", "--pin-file", str(pin_file)]
    assert keys(*words).status == 0
    assert labels(uri) == before  # one pair went, one pair came
    kept = keys("rotate", "depot", "artifact", "--pin-file", pin_file)
    assert kept.status == 0, kept.stderr.decode()
    assert len(labels(uri)) == 12
    assert keyring.open_signer(private, "artifact-1", pin_file).sign(b"m", "label")


def test_key_that_is_in_the_token_already(
    uri: TokenUri, pin: Passphrase, keys: Keys, tmp_path: Path
) -> None:
    made = token.generate(uri, pin, "rsa-2048", "theirs")
    certificate = issue(profiles()["db"], _foreign(made, pin), "theirs", MADE)
    path = tmp_path / "theirs.crt"
    path.write_bytes(certificate.public_bytes(Encoding.DER))
    words = ["import", "n", "db", "--certificate", str(path), "--pin-file", str(tmp_path / "pin")]
    nameless = keys(*words, "--token", uri.with_key("ours", b"").text())
    assert_one_error(nameless, "no private key")
    done = keys(*words, "--token", uri.with_key("theirs", b"").text())
    assert done.status == 0, done.stderr.decode()
    signer = keyring.open_signer(tmp_path / "keys/n", "db", tmp_path / "pin")
    assert signature_fits(certificate, b"m", signer.sign(b"m", "label"))


def test_pin_source_of_the_uri_is_used(uri: TokenUri, keys: Keys, tmp_path: Path) -> None:
    text = f"{uri.text()}&pin-source=file:{tmp_path / 'pin'}"
    made = keys("new", "depot", "--token", text)
    assert made.status == 0, made.stderr.decode()
    assert PIN not in (tmp_path / "keys/depot/db.uri").read_text()
    assert keyring.open_signer(tmp_path / "keys/depot", "db").sign(b"m", "label")


def test_uri_file_of_others_loads_no_library(uri: TokenUri, keys: Keys, tmp_path: Path) -> None:
    made = keys("new", "depot", "--token", uri.text(), "--pin-file", tmp_path / "pin")
    assert made.status == 0, made.stderr.decode()
    (tmp_path / "keys/depot/db.uri").chmod(0o666)
    with pytest.raises(SproutError, match=r"db\.uri: other users may"):
        keyring.open_signer(tmp_path / "keys/depot", "db", tmp_path / "pin")


def test_ctrl_c_leaves_nothing_in_the_token(uri: TokenUri, tmp_path: Path) -> None:
    environment = {**os.environ, "SPROUT_KEYS": str(tmp_path / "keys")}
    words: list[str | Path] = [sys.executable, "-m", "sprout", "keys", "new", "depot"]
    words += ["--token", uri.text(), "--pin-file", tmp_path / "pin"]
    tokens = tmp_path / "tokens"
    with started(words, cwd=ROOT, env=environment) as process:
        deadline = time.monotonic() + 60
        # Each key is two objects, each a file: the second key is being made.
        while len(list(tokens.rglob("*.object"))) < 4 and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not labels(uri)
    assert not list((tmp_path / "keys").iterdir())
