"""How much of a kernel can be executed: counted, held against Debian's, and kept by a budget."""

from __future__ import annotations

import gzip
import json
import lzma
import re
import struct
from pathlib import Path

import pytest
from commands import Sprout, assert_one_error

from sprout.base.errors import SproutError
from sprout.base.run import check
from sprout.cost.peers_surface import count_package
from sprout.kernel.modules import write_modules
from sprout.kernel.surface import count_built, executable_sections, extract_vmlinux


def compiled(folder: Path) -> bytes:
    """Give an object file with two executable sections of known sizes, and data."""
    (folder / "x.s").write_text(
        '.text\n.fill 100,1,0x90\n.section .init.text,"ax"\n.fill 28,1,0x90\n.data\n.fill 999\n'
    )
    check(["as", "-o", folder / "x.o", folder / "x.s"], "")
    return (folder / "x.o").read_bytes()


def bzimage(payload: bytes) -> bytes:
    """Give the parts of a bzImage that say where its payload is."""
    head = bytearray(2 * 512)
    head[0x1F1] = 1
    struct.pack_into("<II", head, 0x248, 16, len(payload))
    return bytes(head) + b"\0" * 16 + payload


def test_sections_are_counted(tmp_path: Path) -> None:
    assert executable_sections(compiled(tmp_path), "x") == {".text": 100, ".init.text": 28}
    for data in (b"", b"\x7fELF", compiled(tmp_path)[:100]):
        with pytest.raises(SproutError, match="x: is no ELF file"):
            executable_sections(data, "x")


def test_vmlinux_comes_out_of_an_image(tmp_path: Path, zone_kernel: Path) -> None:
    """Of ours, and out of what other kernels are compressed with."""
    inner = extract_vmlinux(zone_kernel.read_bytes(), "image")
    outer = zone_kernel.with_name("vmlinux").read_bytes()
    assert executable_sections(inner, "x") == executable_sections(outer, "x")
    elf, size = compiled(tmp_path), b"\0\0\0\0"
    for packed in (lzma.compress(elf), gzip.compress(elf)):
        assert extract_vmlinux(bzimage(packed + size), "x") == elf
    zstd = check(["zstd", "-qc"], "", data=elf)
    assert extract_vmlinux(bzimage(zstd + size), "x") == elf
    for data in (b"", bzimage(b"????" * 9), bzimage(lzma.compress(b"no kernel"))):
        with pytest.raises(SproutError, match=r"x: (?:is|holds|its)"):
            extract_vmlinux(data, "x")


def test_package_is_counted(tmp_path: Path) -> None:
    tree, elf = tmp_path / "tree", compiled(tmp_path)
    files = {
        "DEBIAN/control": b"Package: a\nVersion: 1\nArchitecture: all\nMaintainer: a\n"
        b"Description: a\n",
        "boot/vmlinuz-6.12": bzimage(lzma.compress(elf)),
        "usr/lib/modules/6.12/kernel/fs/a.ko.xz": lzma.compress(elf),
        "lib/modules/6.12/kernel/b.ko": elf,
        "usr/lib/modules/6.12/modules.order": b"x",
    }
    for name, data in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    check(["dpkg-deb", "-b", tree, tmp_path / "a.deb"], "")
    found = count_package(tmp_path / "a.deb")
    assert (found.sections, found.modules, found.count) == (
        {".text": 100, ".init.text": 28},
        256,
        2,
    )
    assert found.total == 384
    (tree / "boot/vmlinuz-6.12").unlink()
    check(["dpkg-deb", "-b", tree, tmp_path / "a.deb"], "")
    with pytest.raises(SproutError, match="no kernel"):
        count_package(tmp_path / "a.deb")


def test_modules_are_counted(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(compiled(tmp_path))
    write_modules(tmp_path / "modules.tar", {"a": compiled(tmp_path)}, {"a": ()}, epoch=0)
    found = count_built(tmp_path)
    assert (found.total, found.modules, found.count) == (256, 128, 1)


def test_host_keeps_its_budget(sprout: Sprout) -> None:
    output = sprout("audit", "host", "--surface", "--json")
    assert output.status == 0, output.stderr.decode()
    assert json.loads(output.stdout)["share"] < 0.15


def test_zone_beside_debian(sprout: Sprout, tree: Path, zone_kernel: Path) -> None:
    output = sprout("audit", "zone", "--surface", "--json")
    assert output.status == 0, output.stderr.decode()
    facts = json.loads(output.stdout)
    names = list(facts["surface"])
    assert names[0] == "zone"
    assert names[1].startswith("linux-image-6.12.")
    assert facts["surface"][names[1]]["count"] > 3000
    assert facts["share"] <= 0.05
    assert facts["image"] == zone_kernel.stat().st_size
    budget = tree / "ci/surface.toml"
    text = budget.read_text()
    for name in ("executable", "image", "vmlinux"):
        budget.write_text(re.sub(rf"^{name} = .*$", f"{name} = 9", text, flags=re.MULTILINE))
        output = sprout("--tree", tree, "audit", "zone", "--surface")
        assert_one_error(output, f"ci/surface.toml: zone: {name}: ", "above the budget of 9")
        assert "modules" in output.stdout.decode()
    budget.write_text("")
    assert_one_error(sprout("--tree", tree, "audit", "zone", "--surface"), "has no budget")
