"""The file system of a kernel's modules: other people's tools read it, and it repeats."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.base.run import check
from sprout.kernel.addons import make_addons
from sprout.kernel.modules import write_modules

_EPOCH = 1767225600
_INFO = """
static const char info[] __attribute__((section(".modinfo"), used)) =
    "license=GPL\\0alias=pci:v00001AF4d*";
"""
# What EXPORT_SYMBOL leaves for depmod to find, and who uses the symbol.
_CODE = {
    "upper": "void lower_does(void);\nvoid upper(void) { lower_does(); }\n",
    "lower": """
static const char names[] __attribute__((section("__ksymtab_strings"), used)) = "lower_does";
void lower_does(void) {}
""",
}


def kernel(directory: Path, release: str = "6.12.1-test") -> Path:
    """Make what a kernel's step leaves of two modules, of which one needs the other."""
    directory.mkdir(parents=True)
    modules = {}
    for name, code in _CODE.items():
        (directory / f"{name}.c").write_text(_INFO + code)
        check(["gcc", "-c", "-o", f"{name}.ko", f"{name}.c"], "", cwd=directory)
        modules[name] = (directory / f"{name}.ko").read_bytes()
    needed = {"upper": ["lower"], "lower": []}
    write_modules(directory / "modules.tar", modules, needed, epoch=1)
    (directory / "metadata.json").write_text(json.dumps({"release": release}))
    (directory / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    (directory / "modules.builtin.modinfo").write_bytes(b"ext4.license=GPL\0")
    return directory


def listing(archive: Path) -> list[str]:
    output = check(["unsquashfs", "-llnumeric", archive], "").decode()
    return [line for line in output.splitlines() if "squashfs-root" in line]


def test_holds_the_modules_and_depmods_lists(tmp_path: Path) -> None:
    archive = tmp_path / "addons.squashfs"
    made = kernel(tmp_path / "kernel")
    make_addons(made, archive, epoch=_EPOCH)
    check(["unsquashfs", "-no-progress", "-d", tmp_path / "got", archive], "")
    found = tmp_path / "got/lib/modules/6.12.1-test"
    for name in ("upper", "lower"):
        assert (found / f"{name}.ko").read_bytes() == (made / f"{name}.ko").read_bytes()
    dependencies = (found / "modules.dep").read_text().splitlines()
    assert sorted(dependencies) == ["lower.ko:", "upper.ko: lower.ko"]
    assert (found / "modules.order").read_text() == "lower.ko\nupper.ko\n"
    assert "kernel/fs/ext4/ext4.ko" in (found / "modules.builtin").read_text()
    assert {path.name for path in found.iterdir()} >= {"modules.dep.bin", "modules.alias.bin"}
    assert (tmp_path / "got/modules/upper.ko").is_file()
    rows = listing(archive)
    assert all(row.split()[1] == "0/0" and "2026-01-01 00:00" in row for row in rows), rows
    assert {row.split()[0] for row in rows} == {"drwxr-xr-x", "-rw-r--r--", "lrwxrwxrwx"}


def test_same_modules_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [tmp_path / name / "addons.squashfs" for name in ("a", "b")]
    for path in made:
        make_addons(kernel(path.parent / "kernel"), path, epoch=_EPOCH)
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
        os.umask(0o077)
    os.umask(0o022)
    assert made[0].read_bytes() == made[1].read_bytes()
    assert not [path for path in (tmp_path / "a").iterdir() if path.name.startswith("addons-")]


@pytest.mark.parametrize("release", ["../../etc", "..", ""])
def test_release_that_is_a_path_is_refused(tmp_path: Path, release: str) -> None:
    with pytest.raises(SproutError, match="release: is no name"):
        make_addons(kernel(tmp_path / "kernel", release), tmp_path / "a", epoch=1)
    assert not (tmp_path / "a").exists()
