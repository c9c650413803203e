"""The verb `inspect`: what it prints for every kind of file, and what it refuses."""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from sprout.base.errors import SproutError, printable
from sprout.cli.inspect import configure, execute
from sprout.format import levels
from sprout.image.disk import make_disk
from sprout.image.uki import Section, lay_out
from sprout.initramfs.cpio import Entry, write_cpio

EPOCH = 1767225600
CMDLINE = "console=ttyS0 quiet " + " ".join(f"option{number}=value" for number in range(12))
SBAT = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n"


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real PE by the compiler and linker that make the stub."""
    folder = tmp_path_factory.mktemp("stub")
    (folder / "a.c").write_text("unsigned long long efi_main(void) { return 0; }\n")
    for command in (
        ["clang", "--target=x86_64-unknown-windows", "-ffreestanding", "-c", "a.c"],
        ["lld-link", "/subsystem:efi_application", "/entry:efi_main", "/out:a.efi", "a.o"],
    ):
        subprocess.run(command, cwd=folder, check=True)
    return (folder / "a.efi").read_bytes()


def sample_image(folder: Path, stub: bytes, cmdline: str = CMDLINE, *, generation: int = 1) -> Path:
    path = folder / "zone.efi"
    sections = [
        Section(".osrel", b'ID=sprout\nPRETTY_NAME="Sprout zone"\n'),
        Section(".cmdline", cmdline.encode()),
        Section(".uname", b"6.12.117"),
        Section(".sbat", SBAT.encode()),
        Section(".sbatlvl", levels.pack({"sbat": generation})),
        Section(".linux", b"kernel", 0x10000),
    ]
    path.write_bytes(lay_out(stub, sections, epoch=EPOCH))
    return path


def inspect(path: Path, *options: str) -> int:
    parser = argparse.ArgumentParser()
    configure(parser)
    return execute(parser.parse_args([str(path), *options]))


def test_image_as_text(tmp_path: Path, stub: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = sample_image(tmp_path, stub)
    assert inspect(path) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        "zone.efi\n",
        "unified kernel image, x86_64",
        "2026-01-01 00:00:00 UTC",
        "6.12.117",
        "Sprout zone",
        "signed       no",
        hashlib.sha256(path.read_bytes()).hexdigest(),
        SBAT.strip(),
        ".sbatlvl     sbat 1\n",
    ):
        assert words in text
    assert CMDLINE in " ".join(text.split())


def test_image_as_json(tmp_path: Path, stub: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect(sample_image(tmp_path, stub), "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["cmdline"] == CMDLINE
    assert facts["signed"] is False
    assert facts["sbat"][0]["component"] == "sbat"
    linux = next(row for row in facts["sections"] if row["name"] == ".linux")
    assert linux["memory_size"] == 0x10000
    assert len(linux["sha256"]) == 64


def test_generations_that_disagree_are_named(
    tmp_path: Path, stub: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sample_image(tmp_path, stub, generation=2)
    assert inspect(path) == 0
    assert ".sbatlvl     sbat 2; DISAGREES with .sbat\n" in capsys.readouterr().out
    assert inspect(path, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["generations"] == {"sbat": 2}
    assert facts["generations_agree"] is False


def test_disk_shows_its_image(
    tmp_path: Path, stub: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    image = sample_image(tmp_path, stub)
    disk = tmp_path / "zone.img"
    make_disk(disk, image, epoch=EPOCH)
    assert inspect(disk) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "BOOTX64.EFI" in text
    assert "unified kernel image" in text
    assert inspect(disk, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["image"]["sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()
    assert facts["partitions"][0]["type_guid"] == "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"


def test_initramfs_lists_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "initramfs.cpio"
    path.write_bytes(write_cpio([Entry("init", 0o100755, b"program")], epoch=EPOCH))
    assert inspect(path) == 0
    assert "-rwxr-xr-x            7 init" in capsys.readouterr().out
    assert inspect(path, "--json") == 0
    entry = json.loads(capsys.readouterr().out)["entries"][0]
    assert entry["sha256"] == hashlib.sha256(b"program").hexdigest()


def test_hostile_text_is_escaped(
    tmp_path: Path, stub: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sample_image(tmp_path, stub, "a\x1b]0;title\x07b\x9b31m\u202ec\rd")
    inspect(path)
    inspect(path, "--json")
    text = capsys.readouterr().out
    assert all(char.isprintable() or char == "\n" for char in text)
    assert printable("\x1b\u202e\r") == "\\x1b\\u202e\\r"


def test_truncated_files_are_refused(tmp_path: Path, stub: bytes) -> None:
    archive = tmp_path / "initramfs.cpio"
    archive.write_bytes(write_cpio([Entry("init", 0o100755, b"program")], epoch=EPOCH))
    for path in (sample_image(tmp_path, stub), archive):
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(SproutError, match=path.name):
            inspect(path)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x1f\x8b" + bytes(100), bytes(8192)])
def test_unknown_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "unknown"
    path.write_bytes(data)
    with pytest.raises(SproutError, match="no boot image"):
        inspect(path)


@pytest.mark.parametrize("name", ["missing", "."])
def test_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SproutError):
        inspect(tmp_path / name)


def test_starting_the_verb_does_not_load_the_reader_of_pe_files() -> None:
    import sys

    program = "import sys, sprout.cli.inspect; sys.exit('pefile' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
