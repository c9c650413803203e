"""Programs of an initramfs that were not compiled for it, and the shared libraries they need."""

from __future__ import annotations

import random
import shutil
import stat
import tarfile
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.base.run import check, run
from sprout.format import zones
from sprout.initramfs.assemble import assemble, inputs, linked, needs_tools
from sprout.initramfs.cpio import Entry, read_cpio, write_cpio
from sprout.initramfs.elf import read_elf
from sprout.initramfs.reading import Row, explain

LIBRARIES = "usr/lib/x86_64-linux-gnu"
LIST = """
[[binary]]
path = "bin/p"
from = "xen-tools:usr/sbin/p"
also = ["libthree.so.3"]

[libraries]
machine = ["ld-linux-x86-64.so.2", "libc.so.6"]
"""


def compiled(directory: Path, name: str, text: str, *flags: str | Path) -> Path:
    source = directory / f"{name}.c"
    source.write_text(text)
    target = directory / name
    check(["gcc", "-o", target, source, *flags], "gcc compiles a small program.")
    return target


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A program that needs a library that needs another, and one that is loaded by name."""
    work = tmp_path_factory.mktemp("files")

    def library(name: str, text: str, *needs: Path) -> Path:
        return compiled(work, name, text, "-shared", "-fPIC", f"-Wl,-soname,{name}", *needs)

    two = library("libtwo.so.2", "int two(void) { return 2; }\n")
    one = library("libone.so.1", "int two(void); int one(void) { return two() + 1; }\n", two)
    three = library("libthree.so.3", "int three(void) { return 39; }\n")
    text = "#include <dlfcn.h>\nint one(void); int main(void) {\n"
    text += 'void *found = dlopen("libthree.so.3", RTLD_NOW);\n'
    text += 'return found ? one() + ((int (*)(void))dlsym(found, "three"))() : 1; }\n'
    within = f"-Wl,-rpath-link,{work}"
    program = compiled(work, "p", text, one, within)
    astray = compiled(work, "astray", text, one, within, "-Wl,-rpath,/opt/lib")
    static = compiled(work, "static", "int main(void) { return 0; }\n", "-static")
    return {
        "usr/sbin/p": program,
        "usr/sbin/astray": astray,
        "usr/sbin/static": static,
        **{f"{LIBRARIES}/{path.name}": path for path in (one, two, three)},
    }


def pack(target: Path, files: dict[str, Path]) -> Path:
    with tarfile.open(target, "w") as archive:
        for name, path in files.items():
            archive.add(path, name)
    return target


@pytest.fixture(scope="module")
def tools(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("tools") / "tools.tar", files)


def made(directory: Path, tools: Path | None, text: str = LIST) -> Path:
    """Assemble a list and give the archive."""
    listed = directory / "list.toml"
    listed.write_text(text)
    assemble(listed, directory / "out.cpio", epoch=1, tools=tools)
    return directory / "out.cpio"


def test_a_program_starts_with_what_came_with_it_and_nothing_else(
    tools: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    archive = made(tmp_path, tools)
    for entry in read_cpio(archive.read_bytes(), archive):
        path = root / entry.name
        if stat.S_ISDIR(entry.mode):
            path.mkdir(parents=True)
        else:
            path.write_bytes(entry.data)
            path.chmod(entry.mode & 0o777)
    assert run(["unshare", "-r", "-R", root, "/bin/p"], timeout=20).status == 42
    shutil.rmtree(root / LIBRARIES)
    assert run(["unshare", "-r", "-R", root, "/bin/p"], timeout=20).status == 127


def test_every_file_is_explained_from_the_archive_alone(tools: Path, tmp_path: Path) -> None:
    archive = made(tmp_path, tools)
    rows = {row.path: row.why for row in explain(archive.read_bytes(), archive)}
    assert rows == {
        "bin/p": "listed",
        "lib64/ld-linux-x86-64.so.2": "loader of p",
        f"{LIBRARIES}/libc.so.6": rows[f"{LIBRARIES}/libc.so.6"],
        f"{LIBRARIES}/libone.so.1": "needed by p",
        f"{LIBRARIES}/libthree.so.3": "listed: loaded by p",
        f"{LIBRARIES}/libtwo.so.2": "needed by libone.so.1",
    }
    assert rows[f"{LIBRARIES}/libc.so.6"].startswith("needed by p")


def test_zones_and_odd_files_are_explained() -> None:
    rows = [
        zones.Zone(name, "pv", 64, 1, "/zones/kernels/k", f"/zones/initramfs/{name}.cpio", "")
        for name in ("a", "b", "c", "d")
    ]
    file = stat.S_IFREG | 0o644
    entries = [
        Entry("zones/table", file, zones.pack(rows)),
        Entry("zones/kernels/k", file, b"\x7fELF\x02\x01 no kernel"),
        Entry("zones/kernels/old", file, b"k"),
        Entry("zones/initramfs/a.cpio", file, b"i"),
        Entry("lib/modules/6/m.ko", file, b"m"),
        Entry("sbin/x", stat.S_IFLNK | 0o777, b"/init\x1b"),
        Entry("dev/null", stat.S_IFCHR | 0o666, major=1, minor=3),
    ]
    assert explain(write_cpio(entries, epoch=1)) == [
        Row("dev/null", 0, "listed: the device 1:3"),
        Row("lib/modules/6/m.ko", 1, "a module of the kernel, or what one needs"),
        Row("sbin/x", 6, "listed: a link to '/init\\x1b'"),
        Row("zones/initramfs/a.cpio", 1, "initramfs of a"),
        Row("zones/kernels/k", 16, "kernel of a, b, c and 1 more"),
        Row("zones/kernels/old", 1, "listed"),
        Row("zones/table", 8 + 4 * 1936, "the table of the zones: a, b, c and 1 more"),
    ]
    entries[0] = Entry("zones/table", file, b"x")
    assert explain(write_cpio(entries, epoch=1))[-1].why == "the table of zones, which is damaged"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LIST.replace(', "libc.so.6"', ""), "needs libc.so.6, which the tools do not have"),
        (LIST.replace('"ld-linux-x86-64.so.2", ', ""), "bin/p needs ld-linux-x86-64.so.2"),
        (LIST.replace('"libc', '"libz.so.1", "libc'), "no program needs libz.so.1"),
        (LIST.replace("sbin/p", "sbin/none"), "has no usr/sbin/none"),
        (LIST.replace("sbin/p", "sbin/astray"), "looks for libraries in /opt/lib"),
        (LIST.replace("sbin/p", "sbin/static"), "no program that a loader starts"),
        (LIST.replace("libthree", "libnone"), "bin/p needs libnone.so.3, which the tools"),
        (LIST.replace("libthree.so.3", "../x"), "'../x' is no library"),
        (LIST.replace("xen-tools:", "other:"), "binary[0].from: names no program"),
        (LIST.replace("xen-tools:usr", "xen-tools:../usr"), "binary[0].from: names no program"),
        (LIST.replace("also", "libraries"), "binary[0].libraries: is an unknown key"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_left(
    tools: Path, tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(SproutError) as caught:
        made(tmp_path, tools, text)
    assert problem in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["list.toml"]


def test_tools_have_to_be_there_and_to_be_a_tar(tmp_path: Path) -> None:
    with pytest.raises(SproutError, match="there are no tools"):
        made(tmp_path, None)
    (tmp_path / "tools.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(SproutError, match="is no tar"):
        made(tmp_path, tmp_path / "tools.tar")


def test_links_in_the_tools_are_followed_within_them(
    files: dict[str, Path], tmp_path: Path
) -> None:
    long = dict(files)
    long[f"{LIBRARIES}/libtwo.so.2.0"] = long.pop(f"{LIBRARIES}/libtwo.so.2")
    (tmp_path / "link").symlink_to("libtwo.so.2.0")
    long[f"{LIBRARIES}/libtwo.so.2"] = tmp_path / "link"
    (tmp_path / "out").symlink_to("/etc/passwd")
    long["usr/sbin/out"] = tmp_path / "out"
    archive = pack(tmp_path / "tools.tar", long)
    work = tmp_path / "work"
    work.mkdir()
    names = [entry.name for entry in read_cpio(made(work, archive).read_bytes(), work)]
    assert f"{LIBRARIES}/libtwo.so.2" in names
    with pytest.raises(SproutError, match=r"has no usr/sbin/out"):
        made(work, archive, LIST.replace("sbin/p", "sbin/out"))


def test_a_key_knows_this_machines_libraries_before_the_tools_are_built(tmp_path: Path) -> None:
    listed = tmp_path / "list.toml"
    listed.write_text(LIST)
    assert needs_tools(listed)
    assert [path.name for path in inputs(listed)] == ["list.toml"]
    names = [path.name for path in linked(listed)]
    assert names[-2:] == ["ld-linux-x86-64.so.2", "libc.so.6"]
    listed.write_text(LIST.replace("libc.so.6", "libabsent.so.6"))
    with pytest.raises(SproutError, match=r"libabsent.so.6: this machine has no such library"):
        linked(listed)


def test_altered_elf_files_are_refused_or_read(files: dict[str, Path]) -> None:
    chance = random.Random(20260101)  # noqa: S311 - the same bytes every time
    good = files[f"{LIBRARIES}/libone.so.1"].read_bytes()
    assert read_elf(good, "x").needed == ("libtwo.so.2",)
    assert read_elf(good, "x").soname == "libone.so.1"
    heads = range(64 + 56 * 16)
    refused = 0
    for _ in range(1500):
        data = bytearray(good)
        for _change in range(chance.randrange(1, 4)):
            data[chance.choice(heads)] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
        try:
            read_elf(bytes(data[: chance.choice([len(good), chance.randrange(len(good))])]), "x")
        except SproutError:
            refused += 1
    assert refused > 100
