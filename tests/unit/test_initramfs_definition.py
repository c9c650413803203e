"""The list that names what goes into an initramfs."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.initramfs.cpio import Entry
from sprout.initramfs.definition import Listed, Program, load_definition

_ROOT = Path(__file__).resolve().parents[2]


def write(directory: Path, text: str) -> Path:
    (directory / "a.c").write_text("int main(void) { return 0; }\n")
    path = directory / "list.toml"
    path.write_text(text)
    return path


def test_everything_that_a_list_can_say(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        [[program]]
        path = "init"
        sources = ["a.c"]
        [[file]]
        path = "etc/a"
        source = "a.c"
        mode = "0600"
        [[directory]]
        path = "run"
        mode = "1777"
        [[link]]
        path = "sbin/init"
        target = "/init"
        [[node]]
        path = "dev/console"
        type = "char"
        major = 5
        minor = 1
        """,
    )
    found = load_definition(path)
    assert found.base == tmp_path
    assert found.programs == (Program("init", stat.S_IFREG | 0o755, (tmp_path / "a.c",)),)
    assert found.files == (Listed("etc/a", stat.S_IFREG | 0o600, tmp_path / "a.c"),)
    assert found.entries == (
        Entry("run", stat.S_IFDIR | 0o1777),
        Entry("sbin/init", stat.S_IFLNK | 0o777, b"/init"),
        Entry("dev/console", stat.S_IFCHR | 0o600, major=5, minor=1),
    )


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ('[[programm]]\npath = "a"', "programm", "unknown key"),
        ('[[directory]]\npath = "a"\nowner = 1', "directory[0].owner", "unknown key"),
        ("[[directory]]", "directory[0].path", "is missing"),
        ('[[directory]]\npath = "/a"', "directory[0].path", "leading slash"),
        ('[[directory]]\npath = "a/../b"', "directory[0].path", "'..'"),
        ('[[directory]]\npath = "a"\nmode = "0999"', "directory[0].mode", "no file mode"),
        ('[[directory]]\npath = "a"\nmode = 493', "directory[0].mode", "is not a string"),
        ('[[directory]]\npath = "a"\n[[link]]\npath = "a"\ntarget = "b"', "link[0].path", "twice"),
        ('[[link]]\npath = "a"\ntarget = ""', "link[0].target", "is no path"),
        ('[[link]]\npath = "a"', "link[0].target", "is missing"),
        ('[[file]]\npath = "a"\nsource = "none"', "file[0].source", "is no file"),
        ('[[file]]\npath = "a"\nsource = "/etc/passwd"', "file[0].source", "elsewhere"),
        ('[[file]]\npath = "a"\nsource = "../a"', "file[0].source", "elsewhere"),
        ('[[program]]\npath = "a"\nsources = []', "program[0].sources", "is empty"),
        ('[[program]]\npath = "a"\nsources = ["none.c"]', "program[0].sources", "is no file"),
        ('[[program]]\npath = "a"\nsources = ["a.h"]', "program[0].sources", "no C file"),
        ('[[node]]\npath = "a"\ntype = "pipe"', "node[0].type", "no node type"),
        ('[[node]]\npath="a"\ntype="char"\nmajor=4096\nminor=0', "node[0].major", "device number"),
        ('[[node]]\npath="a"\ntype="char"\nmajor=1\nminor=-1', "node[0].minor", "device number"),
        ("[directory]", "directory", "array of tables"),
    ],
)
def test_a_fault_is_named_with_its_field(
    tmp_path: Path, text: str, field: str, problem: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SproutError) as caught:
        load_definition(path)
    assert caught.value.message.startswith(f"{path}: {field}: ")
    assert problem in caught.value.message
    assert caught.value.hint


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(SproutError, match=r"none\.toml"):
        load_definition(tmp_path / "none.toml")


def test_the_lists_of_this_tree_read_and_no_source_is_left_out() -> None:
    room = _ROOT / "initramfs"
    listed: set[Path] = set()
    lists = {
        "zone": ["init"],
        "host": ["init", "usr/sbin/launch"],
        "audit": ["usr/bin/audit"],
        "audit-init": ["init"],
        "bench": ["init"],
    }
    for name, programs in lists.items():
        found = load_definition(room / f"{name}.toml")
        assert [program.path for program in found.programs] == programs
        assert [program.linked for program in found.programs] == [False, True][: len(programs)]
        listed.update(source for program in found.programs for source in program.sources)
    assert listed == {path for path in room.rglob("*.c")}
