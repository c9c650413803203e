"""Which files a kernel was compiled from: what was linked counts, and nothing beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.base.run import check
from sprout.kernel.cmdfiles import note_of, read_note
from sprout.kernel.kbuild import Kbuild
from sprout.kernel.linked import linked_notes, links
from sprout.kernel.source_list import list_linux, list_xen

CODE = {
    "core.c": '#include "core.h"\n#include "part.c"\nint core(void) { return from_library(); }\n',
    "part.c": "int part;\n",
    "core.h": "int from_library(void);\n",
    "used.c": "int from_library(void) { return 1; }\n",
    "unused.c": "int nobody_calls(void) { return 1; }\n",
    "module.c": "int module;\n",
    "boot.S": ".globl boot\nboot: nop\n",
    "host.c": "int main(void) { return 0; }\n",
}
# For each source: its object, and what it includes.
OBJECTS = {
    "core.c": ("kernel/core.o", ("core.h", "part.c")),
    "used.c": ("lib/used.o", ()),
    "unused.c": ("lib/unused.o", ()),
    "module.c": ("drivers/module.o", ()),
    "boot.S": ("boot/boot.o", ()),
    "host.c": ("scripts/host.o", ()),
}


class Tree:
    """A source tree and a build of it, with what kbuild notes of one."""

    def __init__(self, top: Path) -> None:
        self.source, self.out = top / "source", top / "out"
        for name, text in CODE.items():
            self.write(self.source / name, text)
        for name, (target, includes) in OBJECTS.items():
            self.compile(self.source / name, target, includes)
        self.compile(self.write(self.out / "made.c", "int made;\n"), "kernel/made.o")
        self.run("vmlinux.a", "ar cDPrST vmlinux.a kernel/core.o kernel/made.o")
        self.run("lib/lib.a", "ar cDPrsT lib/lib.a lib/used.o lib/unused.o")
        whole = "--whole-archive vmlinux.a --no-whole-archive"
        self.run("vmlinux.o", f"ld -r -o vmlinux.o {whole} --start-group ./lib/lib.a --end-group")
        self.write(self.out / "drivers/module.mod", "drivers/module.o\n\n")
        self.run("drivers/whole.o", "ld -r -o drivers/whole.o @drivers/module.mod ; true")
        self.run("drivers/whole.ko", "ld -r -o drivers/whole.ko drivers/whole.o;  true")
        self.run("boot/copy.o", "objcopy boot/boot.o boot/copy.o")
        self.run("boot/boot.elf", "ld -e boot -o boot/boot.elf boot/copy.o && true")

    def write(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def compile(self, source: Path, target: str, includes: tuple[str, ...] = ()) -> None:
        self.write(self.out / target, "")
        check(["gcc", "-c", "-o", target, source], "", cwd=self.out)
        deps = [f"  {self.source / name} \\\n" for name in includes]
        deps += ["    $(wildcard include/config/SMP) \\\n", "  /usr/include/compiler.h \\\n"]
        self.note(
            target,
            f"gcc -D'A=\"x\"' -c -o {target} {source} ; ./tools/objtool {target}",
            f"\nsource_{target} := {source}\n\ndeps_{target} := \\\n{''.join(deps)}"
            f"\n{target}: $(deps_{target})\n\n$(deps_{target}):\n",
        )

    def run(self, target: str, command: str) -> None:
        check(["sh", "-c", command], "", cwd=self.out)
        self.note(target, command)

    def note(self, target: str, command: str, rest: str = "") -> Path:
        return self.write(self.out / note_of(target), f"savedcmd_{target} := {command}\n{rest}")

    def listed(self) -> dict[str, list[str]]:
        """Write the list and give the paths in it, once the digests are seen to be right."""
        target = self.out / "sources.json"
        list_linux(Kbuild(self.source, self.out, "x86_64", 1, self.out / "log"), target)
        found = json.loads(target.read_bytes())
        for name in ("sources", "headers"):
            for row in found[name]:
                data = (self.source / row["path"]).read_bytes()
                assert row["sha256"] == hashlib.sha256(data).hexdigest()
            found[name] = [row["path"] for row in found[name]]
        return dict(found)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_what_was_linked_is_listed_and_nothing_else(tree: Tree) -> None:
    assert tree.listed() == {
        "sources": ["boot.S", "core.c", "module.c", "part.c", "used.c"],
        "headers": ["core.h"],
        "generated": ["made.c"],
    }


def test_list_is_the_same_elsewhere_and_without_links_on_the_way(tmp_path: Path) -> None:
    lists = []
    for name in ("a", "b"):
        (tmp_path / name / "real").mkdir(parents=True)
        (tmp_path / name / "link").symlink_to("real")
        tree = Tree(tmp_path / name / "real")
        tree.source, tree.out = tmp_path / name / "link/source", tmp_path / name / "link/out"
        tree.listed()
        lists.append((tree.out / "sources.json").read_bytes())
    assert lists[0] == lists[1]


def test_changed_source_has_another_digest(tree: Tree) -> None:
    tree.listed()
    before = (tree.out / "sources.json").read_text()
    (tree.source / "core.c").write_text("int core; // patched\n")
    tree.listed()
    after = (tree.out / "sources.json").read_text()
    assert len(set(before.splitlines()) ^ set(after.splitlines())) == 2


def test_links_of_the_build_itself_do_not_count(tree: Tree) -> None:
    tree.run("scripts/host", "ld -e main -o scripts/host scripts/host.o")
    assert links(tree.out) == ["boot/boot.elf", "drivers/whole.ko"]
    assert "host.c" not in tree.listed()["sources"]


def test_archive_with_its_members_inside(tree: Tree) -> None:
    # As Xen's makefiles make one; its notes say cmd_ where Linux's say savedcmd_.
    tree.run("lib/fat.a", "ar cr lib/fat.a lib/used.o lib/unused.o")
    tree.run("prelink.o", "ld -r -o prelink.o kernel/core.o --start-group lib/fat.a --end-group")
    for note in tree.out.rglob(".*.cmd"):
        note.write_text(note.read_text().removeprefix("saved"))
    make = Kbuild(tree.source, tree.out, "x86_64", 1, tree.out / "log")
    target = tree.out / "sources.json"
    list_xen(make, tree.source.parent, target)
    found = [row["path"] for row in json.loads(target.read_bytes())["sources"]]
    assert found == [f"source/{name}" for name in ("core.c", "part.c", "used.c")]


@pytest.mark.parametrize(
    ("target", "text", "problem"),
    [
        ("boot/boot.o", None, "boot.o.cmd: cannot be read"),
        ("boot/boot.o", "", "does not say how boot/boot.o was made"),
        ("boot/boot.o", "savedcmd_boot/else.o := ld\n", "does not say how boot/boot.o was made"),
        ("boot/boot.o", "savedcmd_boot/boot.o := gcc\nsource_boot/boot.o := a.S\n", "includes"),
        (
            "boot/boot.o",
            "savedcmd_boot/boot.o := gcc\nsource_a := a.S\ndeps_a := \\\n  $(shell x) \\\n",
            "names no file",
        ),
        ("vmlinux.o", "savedcmd_vmlinux.o := ld -o vmlinux.o $$(ls) lib/lib.a\n", "no plain link"),
        ("vmlinux.o", "savedcmd_vmlinux.o := sh -o vmlinux.o lib/lib.a\n", "no plain link"),
        ("vmlinux.o", "savedcmd_vmlinux.o := ld -o vmlinux.o lib/none.a\n", "ld failed"),
    ],
)
def test_note_that_says_something_else_is_refused(
    tree: Tree, target: str, text: str | None, problem: str
) -> None:
    note = tree.out / note_of(target)
    if text is None:
        note.unlink()
    else:
        note.write_text(text)
    with pytest.raises(SproutError, match=problem):
        tree.listed()


def test_source_behind_a_link_in_the_build_is_no_generated_one(tree: Tree) -> None:
    link = tree.out / "kernel/linked.c"
    link.symlink_to(tree.write(tree.source / "common/linked.c", "int linked;\n"))
    tree.compile(link, "boot/boot.o")
    found = tree.listed()
    assert "common/linked.c" in found["sources"]
    assert found["generated"] == ["made.c"]


def test_source_that_is_gone_is_an_error(tree: Tree) -> None:
    (tree.source / "part.c").unlink()
    with pytest.raises(SproutError, match=r"part\.c: cannot be read"):
        tree.listed()


def test_note_is_read_within_bounds(tree: Tree) -> None:
    note = tree.note("boot/boot.o", "gcc " + "x" * (4 << 20))
    with pytest.raises(SproutError, match="longer than"):
        read_note(tree.out, "boot/boot.o")
    note.unlink()


def test_objects_that_go_round_in_a_circle_end(tree: Tree) -> None:
    tree.note("a.o", "ld -r -o a.o b.o")
    tree.note("b.o", "ld -r -o b.o a.o boot/boot.o")
    notes = linked_notes(tree.out, ["a.o"], tree.out / "traced")
    assert [note.target for note in notes] == ["boot/boot.o"]
