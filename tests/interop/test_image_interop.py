"""Other people's tools accept our boot image, and we read theirs."""

from __future__ import annotations

import hashlib
import random
import subprocess
from pathlib import Path

import pytest

from sprout.format import pe
from sprout.image.reading import UKI, read_image
from sprout.image.stub import build_stub
from sprout.image.uki import Section, lay_out

SYSTEMD_STUB = Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
INPUTS = {
    ".osrel": b"ID=sprout\n",
    ".cmdline": b"console=ttyS0 quiet",
    ".uname": b"6.12.117",
    ".sbat": b"sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n",
    ".initrd": random.Random(1).randbytes(300_001),  # noqa: S311 - content without a pattern
    ".linux": random.Random(2).randbytes(512 * 1024),  # noqa: S311
}


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image on the real stub, with a kernel that wants more memory than it has bytes."""
    folder = tmp_path_factory.mktemp("image")
    build_stub(folder / "stub.efi", version="0.1.0")
    sections = [
        Section(name, data, 0x90000 if name == ".linux" else 0) for name, data in INPUTS.items()
    ]
    path = folder / "image.efi"
    path.write_bytes(lay_out((folder / "stub.efi").read_bytes(), sections, epoch=1767225600))
    return path


def test_objdump_sees_every_section(image: Path) -> None:
    text = output("objdump", "-h", "-p", image)
    rows = [line.split() for line in text.splitlines()]
    sizes = {row[1]: int(row[2], 16) for row in rows if len(row) == 7 and row[0].isdigit()}
    for name, data in INPUTS.items():
        assert sizes[name] == len(data)
    assert "NX_COMPAT" in text
    assert "DYNAMIC_BASE" in text
    assert "EFI application" in text


def test_objcopy_gives_the_inputs_back(image: Path, tmp_path: Path) -> None:
    for name, data in INPUTS.items():
        dumped = tmp_path / "dumped"
        output("objcopy", "-O", "binary", "--dump-section", f"{name}={dumped}", image, "/dev/null")
        assert dumped.read_bytes() == data


def test_pefile_has_nothing_to_say(image: Path) -> None:
    import pefile

    headers = pefile.PE(image)
    assert headers.get_warnings() == []
    assert headers.verify_checksum()
    for row in headers.sections:
        assert row.VirtualAddress % 4096 == 0
        assert row.Characteristics & (pe.MEM_WRITE | pe.MEM_EXECUTE) != (
            pe.MEM_WRITE | pe.MEM_EXECUTE
        )


def test_sbverify_finds_no_signature_and_then_one(image: Path, tmp_path: Path) -> None:
    unsigned = subprocess.run(
        ["sbverify", "--list", image], check=True, capture_output=True, text=True
    )
    assert unsigned.stdout + unsigned.stderr == "No signature table present\n"
    assert not read_image(image).signed

    key, certificate, signed = (tmp_path / name for name in ("key", "certificate", "signed.efi"))
    output(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Sprout test"),
        *("-keyout", key, "-out", certificate),
    )
    output("sbsign", "--key", key, "--cert", certificate, "--output", signed, image)
    output("sbverify", "--cert", certificate, signed)
    assert "Sprout test" in output("sbverify", "--list", signed)
    found = read_image(signed)
    assert found.certificates == 1
    assert [row.sha256 for row in found.sections] == [
        row.sha256 for row in read_image(image).sections
    ]


def test_image_made_by_objcopy_on_the_stub_of_systemd_is_read(tmp_path: Path) -> None:
    target = tmp_path / "other.efi"
    options: list[str | Path] = []
    for index, (name, data) in enumerate(INPUTS.items()):
        if name == ".sbat":
            continue  # that stub brings its own
        (tmp_path / name).write_bytes(data)
        options += ["--add-section", f"{name}={tmp_path / name}"]
        options += ["--change-section-vma", f"{name}={0x1000000 * (index + 1):#x}"]
    output("objcopy", *options, SYSTEMD_STUB, target)
    image = read_image(target)
    assert image.kind == UKI
    assert image.cmdline == "console=ttyS0 quiet"
    assert image.kernel_version == "6.12.117"
    first, second, *_ = [row.component for row in image.sbat]
    # Called systemd in Debian 12 and systemd-stub in Debian 13.
    assert (first, second.split("-")[0]) == ("sbat", "systemd")
    digests = {row.name: row.sha256 for row in image.sections}
    for name in set(INPUTS) - {".sbat"}:
        assert digests[name] == hashlib.sha256(INPUTS[name]).hexdigest()


def test_boot_loader_of_systemd_is_no_kernel_image() -> None:
    image = read_image(SYSTEMD_STUB.with_name("systemd-bootx64.efi"))
    assert (image.kind, image.kernel_version) == ("EFI application", None)


def test_zone_image_holds_the_real_kernel(zone_image: Path, zone_kernel: Path) -> None:
    kernel = zone_kernel.read_bytes()
    wanted = pe.parse_headers(kernel, zone_kernel).size_of_image
    image = read_image(zone_image)
    linux = next(row for row in image.sections if row.name == ".linux")
    assert linux.memory_size == wanted > linux.size
    data = zone_image.read_bytes()
    assert data[linux.offset :][: len(kernel)] == kernel
    assert image.kernel_version == image.uname == read_image(zone_kernel).kernel_version
    assert {row.component for row in image.sbat} >= {"sbat", "sprout-stub", "linux"}
    output("objdump", "-h", "-p", zone_image)
    output("sbverify", "--list", zone_image)
