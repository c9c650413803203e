"""Compiling for, and assembling, an initramfs."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.base.run import check, run
from sprout.initramfs.assemble import assemble, inputs, linked
from sprout.initramfs.compile import (
    MAX_PROGRAM_BYTES,
    check_program,
    compile_program,
    find_musl,
)
from sprout.initramfs.cpio import read_cpio

_ROOT = Path(__file__).resolve().parents[2]
_LIST = _ROOT / "initramfs" / "zone.toml"


def build(directory: Path, text: str) -> Path:
    """Compile one source and give the program."""
    directory.mkdir(exist_ok=True)
    source = directory / "a.c"
    source.write_text(text)
    compile_program([source], directory / "a", base=directory, include=directory)
    return directory / "a"


@pytest.fixture(scope="module")
def zone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("out") / "zone.cpio"
    assemble(_LIST, target, epoch=1_700_000_000)
    return target


def test_the_zone_has_what_the_kernel_needs_first(zone: Path) -> None:
    entries = {entry.name: entry for entry in read_cpio(zone.read_bytes(), zone)}
    init, console = entries["init"], entries["dev/console"]
    assert init.mode == stat.S_IFREG | 0o755
    assert len(init.data) <= MAX_PROGRAM_BYTES
    assert (console.mode, console.major, console.minor) == (stat.S_IFCHR | 0o600, 5, 1)
    assert entries["sbin/poweroff"].data == entries["sbin/reboot"].data == b"/init"


def test_a_copy_elsewhere_gives_the_same_bytes(
    zone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "a longer" / "directory name"
    shutil.copytree(_LIST.parent, elsewhere)
    monkeypatch.setenv("CPATH", str(tmp_path))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(elsewhere)
    assemble(Path("zone.toml"), tmp_path / "zone.cpio", epoch=1_700_000_000)
    assert (tmp_path / "zone.cpio").read_bytes() == zone.read_bytes()
    assert str(_ROOT).encode() not in zone.read_bytes()


def test_the_epoch_changes_times_alone(zone: Path, tmp_path: Path) -> None:
    assemble(_LIST, tmp_path / "zone.cpio", epoch=1)
    other = tmp_path / "zone.cpio"
    assert other.read_bytes() != zone.read_bytes()
    assert read_cpio(other.read_bytes(), other) == read_cpio(zone.read_bytes(), zone)


def test_init_refuses_to_run_beside_another_init(zone: Path, tmp_path: Path) -> None:
    (init,) = (entry for entry in read_cpio(zone.read_bytes(), zone) if entry.name == "init")
    program = tmp_path / "init"
    program.write_bytes(init.data)
    program.chmod(0o755)
    output = run([program], timeout=10)
    assert (output.status, output.stderr) == (1, b"sprout-init: runs as PID 1 only\n")


def test_inputs_are_all_files_that_decide_the_archive(tmp_path: Path) -> None:
    for name in ("a.c", "b.h", "c.txt", "unlisted.txt", "unlisted.c"):
        (tmp_path / name).write_text("")
    listed = tmp_path / "list.toml"
    listed.write_text(
        '[[program]]\npath = "p"\nsources = ["a.c"]\n[[file]]\npath = "f"\nsource = "c.txt"\n'
    )
    assert [path.name for path in inputs(listed)] == ["a.c", "b.h", "c.txt", "list.toml"]
    assert [path.name for path in linked()] == ["rcrt1.o", "crti.o", "libc.a", "crtn.o"]


def test_a_program_runs_and_has_a_stack_canary(tmp_path: Path) -> None:
    text = '#include <stdio.h>\nint main(void) { return puts("hello") < 0; }\n'
    program = build(tmp_path, text)
    assert run([program], timeout=10).stdout == b"hello\n"
    smash = "#include <string.h>\nint main(int c, char **v) "
    smash += "{ char b[8]; strcpy(b, v[c - 1]); return b[0]; }\n"
    smashed = run([build(tmp_path, smash), "x" * 400], timeout=10)
    assert smashed.status < 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("int main(void) { return x; }", "a.c:1:25: error: use of undeclared identifier 'x'"),
        ("int main(void) { int x; return 0; }", "error: unused variable 'x'"),
        ("int absent(void); int main(void) { return absent(); }", "undefined symbol: absent"),
        ("#include <absent.h>\n", "'absent.h' file not found"),
    ],
)
def test_a_fault_in_a_source_is_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(SproutError) as caught:
        build(tmp_path, text)
    assert problem in caught.value.message


def test_a_fault_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int main(void) { return x; }")
    listed = tmp_path / "list.toml"
    listed.write_text('[[program]]\npath = "init"\nsources = ["a.c"]\n')
    with pytest.raises(SproutError, match="clang"):
        assemble(listed, tmp_path / "out" / "zone.cpio", epoch=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.c", "list.toml"]


def test_a_program_that_is_too_long_is_refused(tmp_path: Path) -> None:
    text = "const char many[70000] = {1};\nint main(int c, char **v) { return many[c] + !v; }\n"
    with pytest.raises(SproutError, match="more than the 65,536"):
        build(tmp_path, text)


def test_a_dynamic_program_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "a.c"
    source.write_text("int main(void) { return 0; }\n")
    check(["clang", "-o", tmp_path / "dynamic", source], "Mend it.")
    with pytest.raises(SproutError, match="dynamic loader"):
        check_program(tmp_path / "dynamic")


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    good = build(tmp_path / "good", "int main(void) { return 0; }\n").read_bytes()
    for data in (b"", b"#!/bin/sh\n", good[:63]):
        path.write_bytes(data)
        with pytest.raises(SproutError, match="no 64-bit ELF"):
            check_program(path)
    path.write_bytes(good[:32] + b"\xff" * 8 + good[40:])
    with pytest.raises(SproutError, match="damaged"):
        check_program(path)


def test_a_missing_libc_is_named(tmp_path: Path) -> None:
    with pytest.raises(SproutError, match=r"x86_64-linux-musl/features.h: missing") as caught:
        find_musl("x86_64", tmp_path)
    assert "musl-dev" in caught.value.hint
