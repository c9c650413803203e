"""`sprout sign`: with keys in files, and with keys that are elsewhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from commands import Sprout, assert_one_error
from cryptography.hazmat.primitives import serialization
from memory_signers import NOW, MemorySigner, signer
from small_pe import pe_with_sbat, small_pe

from sprout.signing import authenticode, modules

DB = signer("db")
MODULE_KEY = signer("module")
PLAIN = small_pe()
MODULE = b"\x7fELF\2\1\1".ljust(16, b"\0") + b"\1\0" + bytes(100)
PASSPHRASE = b"correct horse"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A key directory with the keys db and module."""
    private, public = tmp_path / "release", tmp_path / "release.pub"
    private.mkdir(0o700)
    public.mkdir()
    (public / "owner.guid").write_text("77fa9abd-0359-4d32-bd60-28f4e78f784b\n")
    phrase = tmp_path / "phrase"
    phrase.write_bytes(PASSPHRASE + b"\n")
    phrase.chmod(0o600)
    for role, own in (("db", DB), ("module", MODULE_KEY)):
        install(private, public, role, own)
    return private


def install(private: Path, public: Path, role: str, own: MemorySigner) -> None:
    own.write(public, role)[0].unlink()
    path = private / f"{role}.key"
    path.write_bytes(
        own.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(PASSPHRASE),
        )
    )
    path.chmod(0o600)


def written(tmp_path: Path, data: bytes, name: str = "zone.efi") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_image_and_module_are_signed_with_their_keys(
    sprout: Sprout, tmp_path: Path, key: Path
) -> None:
    words = ("--key", key, "--passphrase-file", tmp_path / "phrase")
    output = sprout("sign", written(tmp_path, PLAIN), *words)
    assert output.status == 0, output.stderr.decode()
    signed = (tmp_path / "zone.signed.efi").read_bytes()
    assert signed == authenticode.sign_image(PLAIN, [DB], "zone.efi")
    assert b"signed by CN=db, sha256:" in output.stdout
    target = tmp_path / "out" / "dummy.ko"
    output = sprout("sign", written(tmp_path, MODULE, "dummy.ko"), *words, "-o", target)
    assert output.status == 0, output.stderr.decode()
    assert target.read_bytes() == modules.sign_module(MODULE, MODULE_KEY, "dummy.ko")
    for path in (tmp_path / "zone.signed.efi", target):
        output = sprout("verify", path, "--key", key, "--at", "2026-06-01")
        assert output.status == 0, output.stderr.decode()


def test_signed_image_takes_another_only_when_asked(
    sprout: Sprout, tmp_path: Path, key: Path
) -> None:
    words = ("--key", key, "--passphrase-file", tmp_path / "phrase")
    before = authenticode.sign_image(PLAIN, [MODULE_KEY], "image")
    image = written(tmp_path, before)
    assert_one_error(sprout("sign", image, *words), "zone.efi: is signed already")
    assert not (tmp_path / "zone.signed.efi").exists()
    output = sprout("sign", image, *words, "--append", "-o", image)
    assert output.status == 0, output.stderr.decode()
    assert image.read_bytes() == authenticode.sign_image(before, [DB], "image")


def test_detached_signing_gives_the_same_bytes(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    for data, role, own in ((PLAIN, "db", DB), (MODULE, "module", MODULE_KEY)):
        name = "zone.efi" if role == "db" else "dummy.ko"
        path, parts = written(tmp_path, data, name), tmp_path / f"parts-{role}"
        (key / f"{role}.key").unlink()
        output = sprout("sign", path, "--key", key, "--export", parts)
        assert output.status == 0, output.stderr.decode()
        private = own.write(tmp_path, role)[0]
        (command,) = [row for row in output.stdout.decode().splitlines() if "openssl" in row]
        assert f"-sign {role}.key" in command
        assert not list(tmp_path.glob("*.signed.*"))
        missing = sprout("sign", path, "--key", key, "--attach", parts)
        assert_one_error(missing, "no such signature")
        words = command.replace(f"{role}.key", str(private)).split()
        subprocess.run(words, cwd=parts, check=True)
        output = sprout("sign", path, "--key", key, "--attach", parts)
        assert output.status == 0, output.stderr.decode()
        signed = path.with_name(f"{path.stem}.signed{path.suffix}")
        sign = modules.sign_module if role == "module" else None
        wanted = sign(data, own, name) if sign else authenticode.sign_image(data, [own], name)
        assert signed.read_bytes() == wanted
        signed.unlink()
        # What is signed elsewhere is signed for this file alone.
        path.write_bytes(data[:-1] + b"x")
        assert_one_error(
            sprout("sign", path, "--key", key, "--attach", parts), "is no signature by"
        )
        assert not signed.exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"text", "is neither a PE image nor a kernel module"),
        (b"MZ", "lies beyond the end of the file"),
        (PLAIN[:700], "beyond the end of the file"),
        (pe_with_sbat(2, sbat=b"sbat,1,SBAT,sbat,1,url\n"), ".sbatlvl: disagrees with .sbat"),
    ],
)
def test_what_cannot_be_signed(
    sprout: Sprout, tmp_path: Path, key: Path, data: bytes, words: str
) -> None:
    image = written(tmp_path, data)
    output = sprout("sign", image, "--key", key, "--passphrase-file", tmp_path / "phrase")
    assert_one_error(output, "zone.efi: ", words)
    assert not (tmp_path / "zone.signed.efi").exists()


def test_expired_certificate_is_a_warning(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    old = signer("old", begins=NOW.replace(year=2020), ends=NOW.replace(year=2021))
    install(key, tmp_path / "release.pub", "db", old)
    words = ("--key", key, "--pin-file", tmp_path / "phrase")
    output = sprout("sign", written(tmp_path, PLAIN), *words)
    assert output.status == 0
    assert "warning: CN=old ended on 2021-06-01" in output.stderr.decode()


def test_wrong_use(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    image = written(tmp_path, PLAIN)
    assert_one_error(sprout("sign", image), "--key", status=2)
    both = ("--export", tmp_path / "a", "--attach", tmp_path / "a")
    assert_one_error(sprout("sign", image, "--key", key, *both), "--attach", status=2)
    assert_one_error(sprout("sign", image, "--key", tmp_path / "other"), "other")
    assert_one_error(sprout("sign", tmp_path / "none.efi", "--key", key), "none.efi")
