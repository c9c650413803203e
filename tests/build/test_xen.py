"""Xen's Kconfig under the same contract as Linux's, and the hypervisor and tools that come out."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest
from commands import built

from sprout.base.errors import SproutError
from sprout.base.run import check
from sprout.build.cache import cache_root
from sprout.image.elf import check_hypervisor
from sprout.kernel.configure import configure
from sprout.kernel.fetch import Store, obtain, resolve
from sprout.kernel.flavor import load_flavor
from sprout.kernel.order import Order
from sprout.kernel.sources import load_sources
from sprout.kernel.xen import build_hypervisor
from sprout.kernel.xen_make import XenMake
from sprout.kernel.xen_tools import check_interfaces


def xen_make(tree: Path, out: Path) -> XenMake:
    """Give a build of this tree's Xen in `out`, from the sources that are in the cache."""
    source = load_sources(tree)["xen"]
    store = Store(cache_root())
    pin = resolve(tree, store, source, locked=True)
    unpacked = obtain(store, source, pin)
    return XenMake(unpacked / "xen", out, "x86_64", 1767225600, out / "log", pin.version)


def test_option_that_is_not_got_names_its_dependency(tree: Path, tmp_path: Path) -> None:
    with (tree / "kernels/fragments/xen/core.config").open("a") as fragment:
        fragment.write("CONFIG_NO_SUCH_OPTION=y\nCONFIG_HYPFS_CONFIG=y\nCONFIG_HVM_FEP=y\n")
        fragment.write("# CONFIG_COMPAT is not set\n")
    with pytest.raises(SproutError) as caught:
        configure(xen_make(tree, tmp_path / "out"), load_flavor(tree, "xen"), "4.17.5")
    for words in (
        "CONFIG_NO_SUCH_OPTION was asked to be y and came out not set: this kernel has no such",
        "CONFIG_HYPFS_CONFIG was asked to be y and came out not set; unmet: HYPFS [=n]",
        "CONFIG_HVM_FEP was asked to be y and came out not set; unmet: UNSUPPORTED [=n] in `if",
        "CONFIG_COMPAT was asked to be not set and came out y; selected by",
    ):
        assert words in caught.value.message


def test_hypervisor_is_what_a_multiboot2_loader_starts() -> None:
    image = built("xen-kernel", "image")
    check_hypervisor(image.read_bytes(), image)
    symbols = (image.parent / "System.map").read_text()
    assert " efi_multiboot2\n" in symbols
    metadata = json.loads((image.parent / "metadata.json").read_bytes())
    assert metadata["hypervisor"] == "built"
    assert str(cache_root()).encode() not in image.read_bytes()


def test_tools_are_all_there_and_of_the_same_interface() -> None:
    archive = built("xen-tools", "tools.tar")
    metadata = json.loads((archive.parent / "metadata.json").read_bytes())
    hypervisor = json.loads((built("xen-kernel", "image").parent / "metadata.json").read_bytes())
    check_interfaces(hypervisor, metadata)
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == metadata["files"]
        assert all((m.uid, m.mode, m.isreg()) == (0, 0o755, True) for m in members)
        contents = {m.name: taken.read() for m in members if (taken := tar.extractfile(m))}
    for name in ("xl", "xenstored", "xenconsoled", "xen-init-dom0"):
        assert contents[f"usr/sbin/{name}"].startswith(b"\x7fELF\x02")
    assert any("/libxenctrl.so.4." in name for name in contents)
    for data in contents.values():
        assert str(cache_root()).encode() not in data


def test_no_header_or_archive_says_where_it_was_built() -> None:
    with tarfile.open(built("xen-tools", "sdk.tar")) as tar:
        contents = {m.name: taken.read() for m in tar.getmembers() if (taken := tar.extractfile(m))}
    assert b"xen/tools/gen-cpuid.py" in contents["include/xen/lib/x86/cpuid-autogen.h"]
    for name, data in contents.items():
        assert not re.search(rb"/kernel-[0-9]+-", data), name


def test_tools_find_every_library_and_symbol(tmp_path: Path) -> None:
    check(["tar", "-xf", built("xen-tools", "tools.tar"), "-C", tmp_path], "Install tar.")
    libraries = tmp_path / "usr/lib/x86_64-linux-gnu"
    for program in sorted((tmp_path / "usr/sbin").iterdir()):
        text = check(["env", f"LD_LIBRARY_PATH={libraries}", "ldd", "-r", program], "ldd").decode()
        assert "not found" not in text, text
        assert "undefined symbol" not in text, text


def test_packaged_hypervisor_instead(tree: Path, tmp_path: Path) -> None:
    path = tree / "kernels/flavors/xen.toml"
    path.write_text(path.read_text().replace('"built"', '"packaged"'))
    flavor = load_flavor(tree, "xen")
    source, store = load_sources(tree)[flavor.source], Store(tmp_path / "store")
    order = Order(flavor, source, resolve(tree, store, source, locked=False), 1767225600)
    target = tmp_path / "out"
    target.mkdir()
    build_hypervisor(order, store, target, jobs=1, log=tmp_path / "log")
    assert (target / "image").read_bytes()[:6] == b"\x7fELF\x01\x01"
    assert "CONFIG_HVM=y" in (target / "config").read_text()
    metadata = json.loads((target / "metadata.json").read_bytes())
    assert metadata["hypervisor"] == "packaged"
    tools = json.loads((built("xen-tools", "tools.tar").parent / "metadata.json").read_bytes())
    check_interfaces(metadata, tools)
