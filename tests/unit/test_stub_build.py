"""The stub as it is compiled: a small, clean and repeatable PE."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pefile
import pytest

from sprout.base.errors import SproutError
from sprout.image import stub as module
from sprout.image.stub import MAX_STUB_BYTES, PROGRAMS, build_stub, stub_sources

WRITE = 0x80000000
EXECUTE = 0x20000000


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("built") / "stub.efi"
    build_stub(target, version="1.2.3")
    return target


def test_is_small(stub: Path) -> None:
    assert stub.stat().st_size <= MAX_STUB_BYTES


def test_is_an_efi_application_for_protected_memory(stub: Path) -> None:
    with pefile.PE(data=stub.read_bytes()) as pe:
        header = pe.OPTIONAL_HEADER
        assert pe.FILE_HEADER.Machine == 0x8664
        assert pe.FILE_HEADER.TimeDateStamp == 0
        assert not pe.FILE_HEADER.Characteristics & 1  # RELOCS_STRIPPED
        assert header.Subsystem == 10
        assert header.SectionAlignment == 4096
        assert header.DllCharacteristics & 0x140 == 0x140  # NX_COMPAT, DYNAMIC_BASE
        assert pe.get_warnings() == []
        for section in pe.sections:
            assert section.Characteristics & (WRITE | EXECUTE) != WRITE | EXECUTE
            assert section.VirtualAddress % 4096 == 0


def test_has_nothing_to_import_and_nothing_to_debug(stub: Path) -> None:
    with pefile.PE(data=stub.read_bytes()) as pe:
        for name in ("IMPORT", "EXPORT", "DEBUG", "TLS", "SECURITY", "IAT", "DELAY_IMPORT"):
            number = pefile.DIRECTORY_ENTRY[f"IMAGE_DIRECTORY_ENTRY_{name}"]
            assert pe.OPTIONAL_HEADER.DATA_DIRECTORY[number].Size == 0, name


def test_leaves_room_for_the_sections_of_a_boot_image(stub: Path) -> None:
    with pefile.PE(data=stub.read_bytes()) as pe:
        end = pe.sections[-1].get_file_offset() + 40
        assert pe.OPTIONAL_HEADER.SizeOfHeaders - end >= 9 * 40


def test_names_its_version_and_no_place(stub: Path) -> None:
    data = stub.read_bytes()
    assert "sprout-stub 1.2.3\0".encode("utf-16-le") in data
    assert str(Path(module.__file__).parents[1]).encode() not in data
    assert b"/tmp" not in data


def test_same_bytes_from_another_place(stub: Path, tmp_path: Path) -> None:
    """A copy of the package elsewhere, another working directory, and a disturbing environment."""
    elsewhere = tmp_path / "another place"
    package = Path(module.__file__).parents[1]
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("base", "format", "image", "stub"):
        shutil.copytree(package / name, elsewhere / "sprout" / name, ignore=ignore)
    shutil.copy(package / "__init__.py", elsewhere / "sprout")
    code = (
        "from pathlib import Path; from sprout.image.stub import build_stub;"
        "build_stub(Path('stub.efi'), version='1.2.3')"
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(elsewhere),
        "TMPDIR": str(temporary),
        "LINK": "/debug",
        "CPATH": "/nowhere",
        "TZ": "Asia/Tokyo",
    }
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True)
    assert (tmp_path / "stub.efi").read_bytes() == stub.read_bytes()
    assert list(temporary.iterdir()) == []


def test_sources_are_all_of_it() -> None:
    names = {path.name for path in stub_sources()}
    assert {"main.c", "cpu.h", "clock.c", "boot_services.h"} <= names
    assert stub_sources() == sorted(stub_sources())
    assert PROGRAMS == ("clang", "lld-link")


@pytest.mark.parametrize("version", ["", '1"', "1\n2", "1 2", "\u00fc", "x" * 65])
def test_odd_versions_are_refused(version: str, tmp_path: Path) -> None:
    with pytest.raises(SproutError, match="is not a version"):
        build_stub(tmp_path / "stub.efi", version=version)
    assert list(tmp_path.iterdir()) == []


def test_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SproutError, match="clang: no such program"):
        build_stub(tmp_path / "out" / "stub.efi", version="1")
    assert list((tmp_path / "out").iterdir()) == []
