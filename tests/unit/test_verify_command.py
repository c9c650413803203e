"""`sprout verify`: its verdicts, its words and its exit status."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from commands import Sprout, assert_one_error
from memory_signers import NOW, signer
from small_pe import pe_with_sbat, small_pe

from sprout.image.disk import make_disk
from sprout.signing import authenticode, modules, siglist

DB = signer("db")
STRANGER = signer("stranger\x1b[31m")
PLAIN = small_pe()
IMAGE = authenticode.sign_image(PLAIN, [DB], "image")
MODULE = b"\x7fELF\2\1\1".ljust(16, b"\0") + b"\1\0" + bytes(100)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    public = tmp_path / "release.pub"
    public.mkdir()
    DB.write(public, "db")
    DB.write(public, "module")
    return public


def written(tmp_path: Path, data: bytes, name: str = "zone.efi") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_good_image_is_accepted(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    both = authenticode.sign_image(IMAGE, [STRANGER], "image")
    output = sprout("verify", written(tmp_path, both), "--key", key, "--at", "2026-06-01")
    assert output.status == 0, output.stderr.decode()
    assert output.stderr == b""
    head, first, second, last = output.stdout.decode().splitlines()
    assert head == f"zone.efi: image, sha256:{hashlib.sha256(both).hexdigest()}"
    assert first.startswith("  signature 1  CN=db [")
    assert first.endswith("]: good, trusted by CN=db")
    assert second.endswith("]: stranger")
    assert "\x1b" not in second
    assert last == "  accepted"


def test_json_has_every_refusal(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    image = written(tmp_path, authenticode.sign_image(pe_with_sbat(1), [STRANGER], "image"))
    (key / "sbat-level.csv").write_text("sbat,1,2026060100\nsprout,2\n")
    words = ("--json", "--digest", "sha256:" + "0" * 64, "--at", "2026-06-01T12:00:00+02:00")
    output = sprout("verify", image, "--key", key, *words)
    assert_one_error(output, "zone.efi: refused: its SHA-256 is", status=3)
    facts = json.loads(output.stdout)
    assert facts["accepted"] is False
    assert [(row["reason"], row["by"]) for row in facts["refusals"]] == [
        ("another digest", "sprout"),
        ("stranger", "firmware"),
        ("SBAT below the level", "stub"),
    ]
    assert facts["signatures"][0]["refusal"]["reason"] == "stranger"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (PLAIN, "carries no signature"),
        (authenticode.sign_image(PLAIN, [STRANGER], "image"), "which is not trusted"),
        (IMAGE[:700] + b"x" + IMAGE[701:], "was altered after it was signed"),
        (IMAGE[:-8], "does not end where the file ends"),
        (IMAGE[:100], "lies beyond the end of the file"),
        (MODULE, "carries no signature"),
    ],
    ids=["unsigned", "stranger", "altered", "truncated", "headers only", "module"],
)
def test_refusals(sprout: Sprout, tmp_path: Path, key: Path, data: bytes, words: str) -> None:
    output = sprout("verify", written(tmp_path, data), "--key", key, "--at", "2026-06-01")
    assert_one_error(output, "zone.efi: ", words, status=3)


@pytest.mark.parametrize("data", [b"text", b""], ids=["text", "empty"])
def test_what_is_nothing_to_verify(sprout: Sprout, tmp_path: Path, key: Path, data: bytes) -> None:
    output = sprout("verify", written(tmp_path, data), "--key", key)
    assert_one_error(output, "zone.efi: is no PE image, kernel module, GPT disk or OCI layout")


def test_revoked_and_expired(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    image = written(tmp_path, IMAGE)
    ends = NOW + timedelta(days=4000)
    output = sprout("verify", image, "--key", key, "--at", f"{ends:%Y-%m-%d}")
    assert_one_error(output, "firmware and kernel ignore that, sprout does not", status=3)
    owner = UUID(int=1)
    digest = authenticode.image_digest(IMAGE, "image")
    (key / "dbx.esl").write_bytes(siglist.pack([siglist.images(owner, [digest])]))
    output = sprout("verify", image, "--key", key, "--at", "2026-06-01")
    assert_one_error(output, "dbx holds its Authenticode SHA-256", status=3)


def test_rotated_keys_are_a_set(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    image = written(tmp_path, authenticode.sign_image(PLAIN, [STRANGER], "image"))
    certificate = STRANGER.write(tmp_path, "new")[1]
    assert sprout("verify", image, "--key", key, "--at", "2026-06-01").status == 3
    words = ("--key", key, "--key", certificate, "--at", "2026-06-01")
    assert sprout("verify", image, *words).status == 0
    single = ("--key", certificate, "--at", "2026-06-01")
    assert sprout("verify", image, *single).status == 0


def test_module_is_judged(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    signed = modules.sign_module(MODULE, DB, "dummy.ko")
    path = written(tmp_path, signed, "dummy.ko")
    output = sprout("verify", path, "--key", key, "--at", "2026-06-01")
    assert output.status == 0, output.stderr.decode()
    assert b"dummy.ko: module, sha256:" in output.stdout
    path.write_bytes(signed[:50] + b"x" + signed[51:])
    output = sprout("verify", path, "--key", key, "--at", "2026-06-01")
    assert_one_error(output, "not of this content", status=3)


def test_image_on_a_disk_is_judged(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    disk = tmp_path / "zone.img"
    for data, words in ((IMAGE, None), (PLAIN, "carries no signature")):
        make_disk(disk, written(tmp_path, data), epoch=1767225600)
        digest = hashlib.sha256(disk.read_bytes()).hexdigest()
        words_of = ("verify", disk, "--key", key, "--at", "2026-06-01", "--digest")
        output = sprout(*words_of, f"sha256:{digest}")
        if words is None:
            assert output.status == 0, output.stderr.decode()
            assert f"zone.img: image, sha256:{digest}" in output.stdout.decode()
            assert_one_error(sprout(*words_of, "sha256:" + "0" * 64), "its SHA-256 is", status=3)
        else:
            assert_one_error(output, words, status=3)


def test_wrong_use(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    image = written(tmp_path, IMAGE)
    assert_one_error(sprout("verify", image), "--key", status=2)
    for words in (("--digest", "md5:00"), ("--at", "tomorrow")):
        assert_one_error(sprout("verify", image, "--key", key, *words), words[0], status=2)
    output = sprout("verify", image, "--key", tmp_path / "nothing.pub")
    assert_one_error(output, "nothing.pub")
    assert_one_error(sprout("verify", tmp_path / "nothing.efi", "--key", key), "no such file")
