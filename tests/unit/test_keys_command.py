"""`sprout keys`: what people see of it, and what nobody must see."""

from __future__ import annotations

import json
import os
import pty
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import ROOT, assert_one_error, command
from keyrings import WORDS, make_keyring, secret_file

from sprout.base.run import Output, started

Keys = Callable[..., Output]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where named key directories lie; "release" has an artifact key."""
    make_keyring(tmp_path / "keys/release", ("artifact",))
    secret_file(tmp_path / "pass")
    return tmp_path / "keys"


@pytest.fixture
def keys(home: Path) -> Keys:
    """`sprout keys`, as a function of its words."""

    def run_keys(*words: str | Path) -> Output:
        return command("keys", *words, env={"SPROUT_KEYS": str(home)})

    return run_keys


def text(output: Output) -> str:
    assert output.status == 0, output.stderr.decode()
    return output.stdout.decode()


def unwrapped(output: Output) -> str:
    return " ".join(text(output).split())


def test_new_list_and_show(keys: Keys, home: Path, tmp_path: Path) -> None:
    said = text(keys("new", "fleet", "--rsa", "3072", "--passphrase-file", tmp_path / "pass"))
    assert f"Private keys: in {home}/fleet, encrypted" in " ".join(said.split())
    assert sorted(path.name for path in home.iterdir()) == [
        *("fleet", "fleet.pub"),
        *("release", "release.pub"),
    ]
    listed = text(keys("list")).splitlines()
    assert [line.split()[0] for line in listed] == ["fleet", "release"]
    shown = json.loads(text(keys("show", "fleet", "--json")))
    assert {row["key"]: row["type"] for row in shown["keys"]} == {
        "PK": "rsa-3072",
        "KEK": "rsa-3072",
        "db": "rsa-3072",
        "module": "rsa-3072",
        "artifact": "ec-p256",
    }
    assert {row["private"] for row in shown["keys"]} == {"file"}
    assert shown["revoked"] == []
    of_public = json.loads(text(keys("show", "fleet.pub", "--json")))
    assert {row["private"] for row in of_public["keys"]} == {"elsewhere"}


def test_damaged_directory_does_not_hide_the_others(keys: Keys, home: Path) -> None:
    (home / "broken.pub").mkdir()
    lines = text(keys("list")).splitlines()
    assert lines[0].startswith("broken")
    assert "damaged" in lines[0]
    assert lines[1].startswith("release")


def test_certificate_that_ends_soon_is_told(keys: Keys, home: Path, tmp_path: Path) -> None:
    # A certificate's end is in its bytes: one that ends soon comes from a short profile.
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-days", "30", "-subj", "/CN=soon", "-keyout", str(tmp_path / "k")]
    with started([*words, "-out", str(home / "release.pub/artifact-1.crt")]) as process:
        assert process.wait(30) == 0
    said = text(keys("show", "release"))
    assert "warning: the certificate of artifact-1 ends on" in said
    assert "(soon)" in text(keys("list"))


def test_level_and_revoke(keys: Keys, home: Path) -> None:
    assert "sprout-stub" in text(keys("level", "release", "sprout-stub=2", "linux=1"))
    low = keys("level", "release", "sprout-stub=1")
    assert_one_error(low, "sprout-stub: 1 is below 2")
    text(keys("level", "release", "sprout-stub=1", "--force"))
    assert_one_error(keys("level", "release", "sprout-stub"), "COMPONENT=GENERATION", status=2)
    assert "revoked: the image" in unwrapped(keys("revoke", "release", "--hash", "ab" * 32))
    assert "was revoked already" in unwrapped(keys("revoke", "release", "--hash", "AB" * 32))
    assert_one_error(keys("revoke", "release", "--hash", "xy"), "is no SHA-256", status=2)
    assert_one_error(keys("revoke", "release"), "is required", status=2)
    certificate = home / "release.pub/artifact.crt"
    assert "CN=release" in unwrapped(keys("revoke", "release", "--certificate", certificate))
    shown = json.loads(text(keys("show", "release", "--json")))
    assert [row["kind"] for row in shown["revoked"]] == ["image", "certificate"]
    assert [row["revoked"] for row in shown["keys"]] == [True]
    assert shown["levels"] == {"sbat": 1, "linux": 1, "sprout-stub": 1}


def test_image_is_revoked_by_its_authenticode_digest(keys: Keys, tmp_path: Path) -> None:
    from memory_signers import signer
    from odd_signatures import signature, with_signatures
    from small_pe import small_pe

    from sprout.signing.authenticode import image_digest

    image = tmp_path / "image.efi"
    image.write_bytes(small_pe())
    digest = image_digest(image.read_bytes(), image).hex()
    assert digest in unwrapped(keys("revoke", "release", "--image", image))
    signed = signature(small_pe(), signer("elsewhere"), algorithm="sha384")
    image.write_bytes(with_signatures(small_pe(), signed))
    more = image_digest(image.read_bytes(), image, "sha384").hex()
    assert f"SHA384 {more}" in unwrapped(keys("revoke", "release", "--image", image))
    assert "was revoked already" in unwrapped(keys("revoke", "release", "--image", image))
    shown = json.loads(text(keys("show", "release", "--json")))["revoked"]
    assert shown[-2:] == [{"kind": "image", "sha256": digest}, {"kind": "image", "sha384": more}]
    image.write_bytes(b"MZ nothing more")
    assert_one_error(keys("revoke", "release", "--image", image), "image.efi")


def test_rotation_by_command(keys: Keys, home: Path, tmp_path: Path) -> None:
    said = text(keys("rotate", "release", "artifact", "--passphrase-file", tmp_path / "pass"))
    assert "artifact is new. The certificate before is now artifact-1" in " ".join(said.split())
    assert sorted(path.name for path in (home / "release").iterdir()) == [
        "artifact-1.key",
        "artifact.key",
    ]
    no_role = keys("rotate", "release", "db", "--passphrase-file", tmp_path / "pass")
    assert_one_error(no_role, "has no private key db")
    lost = keys("rotate", "release", "PK", "--destroy", "--passphrase-file", tmp_path / "pass")
    assert_one_error(lost, "has to sign the new one", status=2)


def test_refusals_have_one_line(keys: Keys, home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "pass"
    assert_one_error(keys(), "the following arguments are required: WHAT", status=2)
    assert_one_error(keys("show", "nobody"), "nobody.pub: no such key directory")
    taken = keys("new", "release", "--passphrase-file", secret)
    assert_one_error(taken, "exists already")
    assert_one_error(keys("new", "x", "--rsa", "1024"), "invalid choice", status=2)
    token = keys("new", "x", "--token", "pkcs11:token=a", "--pin-file", secret)
    assert_one_error(token, "--token: module-path: is missing")
    secret.chmod(0o644)
    open_to_all = keys("rotate", "release", "artifact", "--passphrase-file", secret)
    assert_one_error(open_to_all, "pass: other users may read")
    assert sorted(path.name for path in home.iterdir()) == ["release", "release.pub"]


def test_key_that_others_may_read_is_refused(keys: Keys, home: Path, tmp_path: Path) -> None:
    (home / "release/artifact.key").chmod(0o640)
    words = ["rotate", "release", "artifact", "--passphrase-file", str(tmp_path / "pass")]
    assert_one_error(keys(*words), "artifact.key: other users may read")


def test_no_terminal_is_an_error_and_not_a_hang(keys: Keys, home: Path) -> None:
    environment = {**os.environ, "SPROUT_KEYS": str(home)}
    words = ["setsid", "-w", sys.executable, "-m", "sprout", "keys", "new", "x"]
    with started(words, cwd=ROOT, env=environment) as process:
        _, stderr = process.communicate(timeout=30)
    assert_one_error(Output(process.returncode, b"", stderr), "no terminal to ask on")


def on_terminal(words: list[str], home: Path, answers: list[str]) -> tuple[int, str]:
    """Run `sprout keys` on a terminal of its own and type `answers`, each when it is asked for."""
    pid, terminal = pty.fork()
    if pid == 0:  # the child becomes the command
        os.chdir(ROOT)
        os.environ["SPROUT_KEYS"] = str(home)
        os.execv(sys.executable, [sys.executable, "-m", "sprout", "keys", *words])  # noqa: S606
    seen = ""
    try:
        while True:
            try:
                data = os.read(terminal, 4096)
            except OSError:  # the terminal closes with the command
                break
            if not data:
                break
            seen += data.decode()
            if answers and seen.rstrip(" ").endswith(":"):
                os.write(terminal, f"{answers.pop(0)}\n".encode())
    finally:
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), seen


def test_passphrase_is_asked_for_twice_and_not_shown(home: Path) -> None:
    status, seen = on_terminal(["new", "typed"], home, [WORDS, WORDS])
    assert status == 0, seen
    assert seen.count("Passphrase of typed") == 2
    assert WORDS not in seen
    status, seen = on_terminal(["rotate", "typed", "artifact"], home, [WORDS])
    assert status == 0, seen
    assert seen.count("Passphrase of typed") == 1
    status, seen = on_terminal(["new", "mistyped"], home, [WORDS, "something else"])
    assert status == 1
    assert "the two differ" in seen
    assert not (home / "mistyped").exists()


def test_ctrl_c_leaves_nothing_and_no_moment_is_open(home: Path, tmp_path: Path) -> None:
    """Looks at every file all the time, under the most generous umask there is."""
    before = sorted(home.iterdir())
    script = 'umask 0; exec "$@"'
    words = ["sh", "-c", script, "sh", sys.executable, "-m", "sprout", "keys", "new", "fleet"]
    words += ["--rsa", "3072", "--passphrase-file", str(tmp_path / "pass")]
    environment = {**os.environ, "SPROUT_KEYS": str(home)}
    seen: set[str] = set()
    with started(words, cwd=ROOT, env=environment) as process:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            for folder in home.glob(".fleet.[0-9]*"):
                _look(folder, seen)
            if any(name.endswith(".key") for name in seen):
                os.kill(process.pid, signal.SIGINT)
                break
        process.communicate(timeout=30)
    assert any(name.endswith(".key") for name in seen)
    assert process.returncode == 130
    assert sorted(home.iterdir()) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_after_a_rotation_does_not_hide_it(
    home: Path, tmp_path: Path, number: signal.Signals
) -> None:
    words = [sys.executable, "-m", "sprout", "keys", "rotate", "release", "artifact"]
    words += ["--passphrase-file", str(tmp_path / "pass")]
    environment = {**os.environ, "SPROUT_KEYS": str(home)}
    older = home / "release/artifact-1.key"
    with started(words, cwd=ROOT, env=environment) as process:
        while process.poll() is None and not older.exists():
            pass
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert "artifact is new." in " ".join(stdout.decode().split()), stderr.decode()
    assert (process.returncode, stderr) == (0, b"")
    assert older.exists()


def test_public_half_that_others_can_change_is_refused(keys: Keys, home: Path) -> None:
    (home / "release.pub/artifact.crt").chmod(0o666)
    assert_one_error(keys("show", "release"), "artifact.crt: other users may change whom it trusts")


def _look(folder: Path, seen: set[str]) -> None:
    try:
        assert folder.stat().st_mode & 0o777 == 0o700
        for path in folder.iterdir():
            assert path.stat().st_mode & 0o777 == 0o600, path
            seen.add(path.name)
    except FileNotFoundError:  # it went away between the two looks
        return


def test_help_teaches(keys: Keys) -> None:
    shown = text(keys("--help"))
    for word in ("new", "list", "show", "rotate", "import", "revoke", "level", "enroll"):
        assert f"\n    {word} " in shown
    enrol = text(keys("enroll", "--help"))
    assert "PK.auth last" in enrol
    assert all(len(line) <= 80 for line in (shown + enrol).splitlines())
