"""The archive that modules are built with: what kbuild needs, and no trace of where that was."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.base.run import check
from sprout.kernel.kbuild import Kbuild
from sprout.kernel.sdk import pack_sdk

SOURCE = {
    "Makefile": "all:\n",
    "arch/x86/Makefile": "",
    "arch/x86/Makefile_32.cpu": "",
    "arch/x86/include/asm/io.h": "#define IO\n",
    "arch/x86/boot/main.c": "",
    "arch/x86/um/asm/include/a.h": "",
    "arch/arm/include/asm/io.h": "",
    "drivers/a.c": "",
    "include/linux/io.h": "",
    "scripts/Makefile.build": "",
    "scripts/kconfig/conf.c": "",
    "scripts/mod/modpost.c": "",
}
BUILT = {
    ".config": "CONFIG_MODULES=y\n",
    "Module.symvers": "",
    "arch/x86/include/generated/asm/a.h": "",
    "include/config/auto.conf": "",
    "include/config/kernel.release": "1\n",
    "include/generated/autoconf.h": "",
    "scripts/mod/modpost.o": "",
    "scripts/mod/.modpost.cmd": "",
    "vmlinux": "",
}


def build(top: Path) -> Kbuild:
    for tree, files in (("source", SOURCE), ("out", BUILT)):
        for name, text in files.items():
            write(top / tree / name, text)
    (top / "source/include/link.h").symlink_to("linux/io.h")
    program = write(top / "program.c", "int main(void) { return 0; }\n")
    for name in ("scripts/mod/modpost", "tools/objtool/objtool"):
        (top / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        check(["gcc", "-g", "-Wl,--build-id", "-o", top / "out" / name, program], "")
    return Kbuild(top / "source", top / "out", "x86_64", 1767225600, top / "log")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_holds_what_builds_a_module(tmp_path: Path) -> None:
    target = tmp_path / "sdk.tar.gz"
    pack_sdk(build(tmp_path), {"CONFIG_OBJTOOL": "y"}, target)
    with tarfile.open(target) as archive:
        members = archive.getmembers()
    assert {member.name.removeprefix("sdk/") for member in members} == {
        *(".config", "Makefile", "Module.symvers", "arch/x86/Makefile", "arch/x86/Makefile_32.cpu"),
        *("arch/x86/include/asm/io.h", "arch/x86/include/generated/asm/a.h"),
        *("arch/x86/um/asm/include/a.h", "include/config/auto.conf"),
        *("include/config/kernel.release", "include/generated/autoconf.h", "include/link.h"),
        *("include/linux/io.h", "scripts/Makefile.build", "scripts/mod/modpost"),
        *("scripts/mod/modpost.c", "tools/objtool/objtool"),
    }
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {
        (0, 0, "", "", 1767225600)
    }
    programs = {member.name for member in members if member.mode == 0o755}
    assert programs == {"sdk/scripts/mod/modpost", "sdk/tools/objtool/objtool"}


def test_same_bytes_wherever_it_was_built(tmp_path: Path) -> None:
    made = []
    for name in ("a", "a-much-longer-name"):
        target = tmp_path / name / "sdk.tar.gz"
        pack_sdk(build(tmp_path / name), {"CONFIG_OBJTOOL": "y"}, target)
        made.append(target.read_bytes())
    assert made[0] == made[1]
    assert str(tmp_path).encode() not in gzip.decompress(made[0])


def test_missing_part_is_an_error(tmp_path: Path) -> None:
    config = {"CONFIG_DEBUG_INFO_BTF_MODULES": "y"}
    with pytest.raises(SproutError, match="resolve_btfids: was not built"):
        pack_sdk(build(tmp_path), config, tmp_path / "sdk.tar.gz")


@pytest.mark.parametrize("link", ["/etc/passwd", "../../passwd"])
def test_link_out_of_the_tree_is_refused(tmp_path: Path, link: str) -> None:
    kbuild = build(tmp_path)
    (tmp_path / "source/include/evil.h").symlink_to(link)
    with pytest.raises(SproutError, match=r"evil\.h: leads out of the source tree"):
        pack_sdk(kbuild, {}, tmp_path / "sdk.tar.gz")
