"""Key directories: whole or not at all, and nothing in them is ever lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from keyrings import MADE, make_keyring, passphrase, profiles, secret_file

from sprout.base.errors import SproutError, UsageError
from sprout.signing import keyring, pkcs8, siglist
from sprout.signing.certificates import (
    Profile,
    fingerprint,
    public_der,
    public_key,
    signature_fits,
)
from sprout.signing.makers import FileMaker, Made
from sprout.signing.private_files import write_private
from sprout.signing.public import revoke, set_levels
from sprout.signing.uninterrupted import settled

NOW = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A key directory with the artifact key alone, which is made at once."""
    make_keyring(tmp_path / "release", ("artifact",))
    return tmp_path / "release"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_new_directory_has_every_role_and_the_right_modes(tmp_path: Path) -> None:
    shared = make_keyring(tmp_path / "release")
    private = tmp_path / "release"
    assert private.stat().st_mode & 0o7777 == 0o700
    assert names(private) == ["KEK.key", "PK.key", "artifact.key", "db.key", "module.key"]
    assert {path.stat().st_mode & 0o7777 for path in private.iterdir()} == {0o600}
    certificates = ["KEK.crt", "PK.crt", "artifact.crt"]
    rest = ["artifact.pub", "db.crt", "module.crt", "owner.guid", "sbat-level.csv"]
    assert names(shared.directory) == certificates + rest
    assert names(tmp_path) == ["release", "release.pub"]
    assert not any(b"PRIVATE" in path.read_bytes() for path in shared.directory.iterdir())
    key = load_pem_public_key((shared.directory / "artifact.pub").read_bytes())
    assert public_der(public_key(shared.certificate("artifact"), "x")) == public_der(key)  # type: ignore[arg-type]


def test_signer_opens_with_passphrase_file(keys: Path, tmp_path: Path) -> None:
    signer = keyring.open_signer(keys, "artifact", secret_file(tmp_path / "pass"))
    assert signature_fits(signer.certificate, b"m", signer.sign(b"m", "label"))
    with pytest.raises(SproutError, match="the passphrase does not open it"):
        keyring.open_signer(keys, "artifact", secret_file(tmp_path / "wrong", "wrong words"))
    with pytest.raises(SproutError, match="no such certificate"):
        keyring.open_signer(keys, "db", tmp_path / "pass")
    (keys / "artifact.key").unlink()
    with pytest.raises(SproutError, match="has no private key artifact"):
        keyring.open_signer(keys, "artifact", tmp_path / "pass")


def test_nothing_is_overwritten(keys: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in keys.iterdir()}
    with pytest.raises(SproutError, match="exists already"):
        make_keyring(keys, ("artifact",))
    (tmp_path / "other.pub").mkdir()
    with pytest.raises(SproutError, match=r"other\.pub: exists already"):
        make_keyring(tmp_path / "other", ("artifact",))
    assert {path: path.read_bytes() for path in keys.iterdir()} == before


@pytest.mark.parametrize("name", ["release.pub", ".hidden", "-x", "a b", "x" * 50])
def test_bad_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a key directory"):
        make_keyring(tmp_path / name, ("artifact",))
    assert not names(tmp_path)


class StoppedMaker(FileMaker):
    """Is interrupted at its second key."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(passphrase())
        self._error = error
        self._count = 0
        self.undone = False

    def make(self, profile: Profile, label: str) -> Made:
        self._count += 1
        if self._count > 1:
            raise self._error
        return super().make(profile, label)

    def undo(self) -> None:
        self.undone = True


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), SproutError("no", "x")])
def test_interrupted_creation_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    maker = StoppedMaker(error)
    chosen = {"artifact": profiles()["artifact"], "db": profiles()["db"]}
    with pytest.raises(type(error)):
        keyring.create(tmp_path / "keys" / "release", chosen, maker, MADE)
    assert not names(tmp_path / "keys")
    assert maker.undone


def test_directory_that_comes_up_meanwhile_is_kept(tmp_path: Path) -> None:
    class Rival(FileMaker):
        def make(self, profile: Profile, label: str) -> Made:
            (tmp_path / "release").mkdir()
            (tmp_path / "release/db.key").write_text("theirs")
            return super().make(profile, label)

    with pytest.raises(SproutError, match="release"):
        chosen = {"artifact": profiles()["artifact"]}
        keyring.create(tmp_path / "release", chosen, Rival(passphrase()), MADE)
    assert names(tmp_path) == ["release"]
    assert (tmp_path / "release/db.key").read_text() == "theirs"


def rotated(keys: Path, *, drop: bool = False) -> None:
    profile = profiles()["artifact"]
    keyring.rotate(keys, "artifact", profile, FileMaker(passphrase()), NOW, drop=drop)


def test_rotation_keeps_what_was(keys: Path, tmp_path: Path) -> None:
    first = fingerprint(keyring.public(keys).certificate("artifact"))
    rotated(keys)
    second = fingerprint(keyring.public(keys).certificate("artifact"))
    rotated(keys, drop=True)
    shared = keyring.public(keys)
    assert shared.stems("artifact") == ("artifact", "artifact-2", "artifact-1")
    assert [fingerprint(row) for row in shared.of("artifact")][1:] == [second, first]
    assert names(keys) == ["artifact-1.key", "artifact.key"]
    assert {path.stat().st_mode & 0o7777 for path in keys.iterdir()} == {0o600}
    secret = secret_file(tmp_path / "pass")
    for stem in ("artifact", "artifact-1"):
        signer = keyring.open_signer(keys, stem, secret)
        assert signer.certificate == shared.certificate(stem)
    key = load_pem_public_key((shared.directory / "artifact.pub").read_bytes())
    assert public_der(public_key(shared.certificate("artifact"), "x")) == public_der(key)  # type: ignore[arg-type]


def test_failed_rotation_changes_nothing(keys: Path) -> None:
    def state() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in parts()}

    def parts() -> Iterator[Path]:
        for folder in (keys, keyring.public_directory(keys)):
            yield from folder.iterdir()

    before = state()
    maker = StoppedMaker(KeyboardInterrupt())
    maker.make(profiles()["artifact"], "first")
    with pytest.raises(KeyboardInterrupt):
        keyring.rotate(keys, "artifact", profiles()["artifact"], maker, NOW, drop=False)
    assert state() == before
    assert maker.undone


def test_new_key_has_the_passphrase_of_the_others(keys: Path, tmp_path: Path) -> None:
    with pytest.raises(SproutError, match="the passphrase does not open it"):
        keyring.open_passphrase(keys, secret_file(tmp_path / "wrong", "other words"))
    keyring.open_passphrase(keys, secret_file(tmp_path / "right"))
    with pytest.raises(SproutError, match="shorter than 8"):
        keyring.open_passphrase(tmp_path / "new", secret_file(tmp_path / "short", "short"))


def test_key_may_have_a_passphrase_of_its_own(keys: Path, tmp_path: Path) -> None:
    own = pkcs8.encrypt(ec.generate_private_key(ec.SECP256R1()), b"words of its own")
    write_private(keys / "PK.key", own)
    usual, pk = secret_file(tmp_path / "usual"), secret_file(tmp_path / "pk", "words of its own")
    for secret, stem in ((usual, "artifact"), (pk, "PK"), (usual, "db"), (pk, "db")):
        keyring.open_passphrase(keys, secret, stem)
    with pytest.raises(SproutError, match=r"artifact\.key: the passphrase does not open it"):
        keyring.open_passphrase(keys, pk, "artifact")


def test_public_half_has_its_modes_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        shared = make_keyring(tmp_path / "release", ("artifact",))
        rotated(tmp_path / "release")
        revoke(shared, siglist.images(shared.owner, [bytes(32)]))
        set_levels(shared, {"linux": 3}, NOW, lower=False)
    finally:
        os.umask(before)
    assert shared.directory.stat().st_mode & 0o7777 == 0o755
    files = list(shared.directory.iterdir())
    assert len(files) == 6
    assert {path.stat().st_mode & 0o7777 for path in files} == {0o644}
    (shared.directory / "artifact-1.crt").chmod(0o664)
    with pytest.raises(SproutError, match=r"artifact-1\.crt: other users may change"):
        keyring.public(tmp_path / "release")


class LateSignal(FileMaker):
    """Has a signal arrive in the moment after the step that counts."""

    def keep(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_signal_after_the_step_waits_for_the_word_and_is_dropped(keys: Path) -> None:
    told = []
    maker = LateSignal(passphrase())
    with settled() as held:
        keyring.rotate(keys, "artifact", profiles()["artifact"], maker, NOW, drop=False, held=held)
        told.append(keyring.public(keys).stems("artifact"))
    assert told == [("artifact", "artifact-1")]
    assert not signal.sigpending()
    # Where nobody holds it, it acts at once.
    with pytest.raises(KeyboardInterrupt):
        keyring.rotate(keys, "artifact", profiles()["artifact"], maker, NOW, drop=False)


def test_key_that_is_twice_there_is_refused(keys: Path) -> None:
    (keys / "artifact.uri").touch(0o600)
    with pytest.raises(SproutError, match=r"holds both artifact\.key and artifact\.uri"):
        keyring.open_signer(keys, "artifact")


def test_name_is_looked_up_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPROUT_KEYS", str(tmp_path / "keys"))
    assert keyring.resolve("release") == tmp_path / "keys/release"
    monkeypatch.delenv("SPROUT_KEYS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert keyring.resolve("release.pub") == tmp_path / "data/sprout/keys/release.pub"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert keyring.resolve("release") == tmp_path / ".local/share/sprout/keys/release"
    (tmp_path / "release").mkdir()
    assert keyring.resolve("release") == Path("release")
    assert keyring.resolve("./x") == Path("./x")


def test_public_half_is_found_from_either(keys: Path) -> None:
    shared = keyring.public(keys)
    assert keyring.public(shared.directory).owner == shared.owner
    with pytest.raises(SproutError, match="no such key directory"):
        keyring.public(keys.with_name("nobody"))


@pytest.mark.parametrize(
    ("file", "data", "problem"),
    [
        ("owner.guid", b"nonsense", r"owner\.guid: is no GUID"),
        ("owner.guid", b"\xff" * 3000, r"owner\.guid: longer"),
        ("dbx.esl", b"x", r"dbx\.esl"),
        ("sbat-level.csv", b"sbat,1,2026\nlinux,x\n", r"sbat-level\.csv: line 2"),
        ("sbat-level.csv", b"\xff\xfe", r"sbat-level\.csv: line 1"),
        ("sbat-level.csv", b"sbat,1,1\n" + b"x" * 40 + b",1\n", "does not fit in the table"),
        ("db.crt", b"nonsense", r"db\.crt: is no certificate"),
        ("db-7.crt", b"\0" * 70000, r"db-7\.crt: longer"),
    ],
)
def test_damaged_public_half_is_named(keys: Path, file: str, data: bytes, problem: str) -> None:
    (keyring.public_directory(keys) / file).write_bytes(data)
    with pytest.raises(SproutError, match=problem):
        keyring.public(keys)


def test_revoking_twice_changes_nothing(keys: Path) -> None:
    shared = keyring.public(keys)
    row = siglist.images(shared.owner, [bytes(32)])
    assert revoke(shared, row)
    shared = keyring.public(keys)
    assert not revoke(shared, row)
    assert revoke(shared, siglist.x509(shared.owner, shared.certificate("artifact")))
    rows = siglist.parse(keyring.public(keys).dbx, "dbx")
    assert [(row.type, len(row.signatures)) for row in rows] == [
        (siglist.SHA256, 1),
        (siglist.X509, 1),
    ]


def test_level_never_sinks_unnoticed(keys: Path) -> None:
    set_levels(keyring.public(keys), {"linux": 3, "sprout-stub": 2}, NOW, lower=False)
    text = (keyring.public(keys).directory / "sbat-level.csv").read_text()
    assert text == "sbat,1,2026070100\nlinux,3\nsprout-stub,2\n"
    with pytest.raises(SproutError, match="linux: 2 is below 3"):
        set_levels(keyring.public(keys), {"linux": 2}, NOW, lower=False)
    set_levels(keyring.public(keys), {"linux": 2}, NOW, lower=True)
    assert keyring.public(keys).levels == {"sbat": 1, "linux": 2, "sprout-stub": 2}
    with pytest.raises(SproutError, match="does not fit in the table"):
        set_levels(keyring.public(keys), {"x" * 30: 2}, NOW, lower=False)
