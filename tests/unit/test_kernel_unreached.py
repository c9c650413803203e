"""What a patch has the kernel leave out because nothing refers to it, on objects made here."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from kernel_patches import brought_file

from sprout.base.run import Output, check, run

_SOURCE = Path(__file__).parent / "kernel" / "unreached.c"
_FLAGS = (
    "-O1",
    "-fno-pic",
    "-fno-inline",
    "-fno-asynchronous-unwind-tables",
    "-fcf-protection=none",
    "-ffunction-sections",
    "-fdata-sections",
)
_DEAD = {
    ".text.dead_leaf",
    ".text.dead_top",
    ".text.dead_other_way",
    ".text.helper_of_dead",
    ".data.dead_counter",
    ".bss.dead_zeroes",
    ".rodata.dead_operations",
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Take the program out of the patch."""
    path = tmp_path_factory.mktemp("unreached") / "drop-unreached.py"
    path.write_text(brought_file("drop-unreached-code.patch", "scripts/drop-unreached.py"))
    return path


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """The small kernel as one relocatable object."""
    check(["gcc", *_FLAGS, "-c", "-o", tmp_path / "a.o", _SOURCE], "")
    check(["ld", "-r", "-o", tmp_path / "whole.o", tmp_path / "a.o"], "")
    return tmp_path / "whole.o"


def drop(program: Path, path: Path) -> Output:
    return run([sys.executable, program, path], timeout=60)


def assemble(tmp_path: Path, text: str) -> Path:
    (tmp_path / "made.s").write_text(text)
    check(["as", "-o", tmp_path / "made.o", tmp_path / "made.s"], "")
    return tmp_path / "made.o"


def sizes(path: Path) -> dict[str, int]:
    with path.open("rb") as stream:
        sections = ELFFile(stream).iter_sections()
        return {section.name: section["sh_size"] for section in sections if section.name}


def body(path: Path, name: str) -> bytes:
    with path.open("rb") as stream:
        section = ELFFile(stream).get_section_by_name(name)
        assert section is not None
        return bytes(section.data())


def test_what_nothing_reaches_goes_and_the_rest_runs(program: Path, linked: Path) -> None:
    before = sizes(linked)
    output = drop(program, linked)
    assert output.status == 0, output.stderr.decode()
    after = sizes(linked)
    assert after.keys() == before.keys()
    gone = {name for name, size in after.items() if before[name] and not size}
    assert {name for name in gone if not name.startswith(".rela")} == _DEAD
    for name in before.keys() - gone - {"__ex_table", ".altinstructions", ".symtab"}:
        if not name.startswith(".rela"):
            assert after[name] == before[name], name
    check(["gcc", "-no-pie", "-o", linked.with_name("program"), linked], "")
    assert run([linked.with_name("program")]).status == 0


def test_entries_of_tables_go_with_their_sites(program: Path, linked: Path) -> None:
    assert drop(program, linked).status == 0
    check(["gcc", "-no-pie", "-o", linked.with_name("program"), linked], "")
    entries = list(struct.iter_unpack("<iii", body(linked.with_name("program"), "__ex_table")))
    assert sorted(number for _, _, number in entries) == [2, 3]
    (entry,) = struct.iter_unpack("<iiIBB", body(linked.with_name("program"), ".altinstructions"))
    assert entry[2:] == (7, 5, 5)


def test_what_only_an_alternative_calls_is_reached(program: Path, linked: Path) -> None:
    assert drop(program, linked).status == 0
    assert sizes(linked)[".text.other_way"] > 0
    # The dead site's alternative lies where it lay, and is nothing to run.
    assert sorted(body(linked, ".altinstr_replacement")[::5]) == [0xCC, 0xE8]


def test_every_entry_belongs_to_the_site_it_belonged_to(program: Path, linked: Path) -> None:
    assert drop(program, linked).status == 0
    check(["gcc", "-no-pie", "-o", linked.with_name("program"), linked], "")
    with linked.with_name("program").open("rb") as stream:
        elf = ELFFile(stream)
        table = elf.get_section_by_name("__ex_table")
        symbols = elf.get_section_by_name(".symtab")
        assert table is not None and isinstance(symbols, SymbolTableSection)
        functions = {
            symbol.name: range(symbol["st_value"], symbol["st_value"] + symbol["st_size"])
            for symbol in symbols.iter_symbols()
        }
        for at, (site, _, number) in enumerate(struct.iter_unpack("<iii", table.data())):
            name = {2: "reached", 3: "main"}[number]
            assert table["sh_addr"] + at * 12 + site in functions[name]
        assert not functions.keys() & {name.rpartition(".")[2] for name in _DEAD}


def test_object_where_all_is_reached_stays_as_it_is(program: Path, tmp_path: Path) -> None:
    path = assemble(tmp_path, '.text\ncall one\n.section .text.one,"ax"\none: ret\n')
    before = path.read_bytes()
    output = drop(program, path)
    assert output.status == 0, output.stderr.decode()
    assert path.read_bytes() == before


def test_sections_that_the_kernel_named_itself_are_kept(program: Path, tmp_path: Path) -> None:
    names = [".text..own", ".text.fixup", ".data..own", ".init.text", ".noinstr.text", ".text"]
    parts = [f'.section {name},"a{"w" if "data" in name else "x"}"\n.byte 1\n' for name in names]
    path = assemble(tmp_path, "symbol:\n" + "".join(parts))
    assert drop(program, path).status == 0
    assert all(sizes(path)[name] == 1 for name in names)


def test_more_sections_than_a_header_can_count(program: Path, tmp_path: Path) -> None:
    """Their numbers stand in a section of their own (ELF, "Extended section numbering")."""
    many = 65_300
    parts = [f'.section .text.f{i},"ax"\nf{i}: ret\n' for i in range(many)]
    parts.append(f".text\ncall f{many - 1}\ncall f3\n")
    path = assemble(tmp_path, "".join(parts))
    output = drop(program, path)
    assert output.status == 0, output.stderr.decode()
    check(["ld", "-e", "0", "-o", tmp_path / "whole", path], "")
    symbols = check(["nm", "-j", "--defined-only", tmp_path / "whole"], "").split()
    assert [name for name in symbols if name.startswith(b"f")] == [b"f3", f"f{many - 1}".encode()]
    assert struct.unpack("<6xH", path.read_bytes()[54:62]) == (0,)


def test_what_a_reached_site_names_in_a_table_is_reached(program: Path, tmp_path: Path) -> None:
    """A fault is mended in a part of the function that lies elsewhere; nothing else names it."""
    text = ".text\nsymbol: call site\n"
    for name in ("site", "dead", "mend", "dead_mend"):
        text += f'.section .text.{name},"ax"\n{name}: ret\n'
    text += '.section __ex_table,"a"\n'
    text += ".long dead-.\n.long dead_mend-.\n.long 1\n.long site-.\n.long mend-.\n.long 2\n"
    path = assemble(tmp_path, text)
    assert drop(program, path).status == 0
    left = {name for name, size in sizes(path).items() if size and name.startswith(".text.")}
    assert left == {".text.site", ".text.mend"}
    assert struct.unpack("<iii", body(path, "__ex_table"))[2] == 2


def test_functions_are_named_for_a_place_up_to_its_size(program: Path, tmp_path: Path) -> None:
    text = '.text\nsymbol: call cold\n.section .text.unlikely.cold,"ax"\ncold: ret\n'
    for i in range(10):
        size = {5: 16, 6: 1}.get(i, 20)
        text += f".text\ncall f{i}\n"
        text += f'.section .text.f{i},"ax"\n.p2align 4\nf{i}: .fill {size}, 1, 0x90\n'
    path = assemble(tmp_path, text)
    output = run([sys.executable, program, path, ".text..place", "112"], timeout=60)
    assert output.status == 0, output.stderr.decode()
    with path.open("rb") as stream:
        names = [section.name for section in ELFFile(stream).iter_sections()]
    # Each takes 32 bytes but the last, which takes what it has: 32 + 32 + 32 + 16.
    assert names.count(".text..place") == 4
    assert [i for i in range(10) if f".text.f{i}" not in names] == [0, 1, 2, 5]
    check(["ld", "-e", "0", "-o", tmp_path / "whole", path], "")


KEPT = (
    # What starts the kernel's parts, and what it is told on its command line.
    (".initcall6.init", "a", ".long one-."),
    (".init.setup", "aw", ".quad one"),
    ("__param", "a", ".quad one"),
    (".init.data", "aw", ".quad one"),
    # What its own code does at boot.
    (".init.text", "ax", "call one"),
    (".noinstr.text", "ax", "call one"),
    (".altinstr_aux", "ax", "jmp one"),
    (".note.Own", "a", ".quad one"),
    (".data..percpu", "aw", ".quad one"),
)
NOT_KEPT = (
    (".export_symbol", "a", ".quad one"),
    (".discard.addressable", "aw", ".quad one"),
    ("_kprobe_blacklist", "aw", ".quad one"),
    ("__mcount_loc", "a", ".quad one"),
    (".smp_locks", "a", ".long one-."),
    ("__bug_table", "aw", ".long one-.\n.word 0\n.word 0"),
    ("__jump_table", "aw", ".long one-.\n.long one-.\n.quad one-."),
    (".debug_info", "", ".quad one"),
)


@pytest.mark.parametrize(("name", "flags", "words"), [*KEPT, *NOT_KEPT], ids=lambda word: word)
def test_who_keeps_a_function(
    program: Path, tmp_path: Path, name: str, flags: str, words: str
) -> None:
    text = f'.text\nsymbol: ret\n.section {name},"{flags}"\n{words}\n'
    path = assemble(tmp_path, text + '.section .text.one,"ax"\none: ret\n')
    output = drop(program, path)
    assert output.status == 0, output.stderr.decode()
    is_kept = (name, flags, words) in KEPT
    assert (sizes(path)[".text.one"] > 0) == is_kept
    if not is_kept and flags:
        assert sizes(path)[name] == 0
    check(["ld", "-e", "0", "-o", tmp_path / "whole", path], "")


@pytest.mark.parametrize("flags", ["axR", "aMS"])
def test_section_that_is_to_stay_stays(program: Path, tmp_path: Path, flags: str) -> None:
    name, kind = (".text.one", "") if "x" in flags else (".rodata.one", ",@progbits,1")
    path = assemble(tmp_path, f'.text\nsymbol: ret\n.section {name},"{flags}"{kind}\n.byte 0\n')
    assert drop(program, path).status == 0
    assert sizes(path)[name] == 1


def test_alternative_of_code_that_runs_once_reaches(program: Path, tmp_path: Path) -> None:
    """Two of them, one behind the other; and the tables are not in the order of their entries."""
    text = '.section .init.text,"ax"\nsymbol: nop\n'
    for name in ("once", "dead"):
        text += f'.section .text.{name},"ax"\n{name}: ret\n'
    text += '.section .text.gone,"ax"\ngone: nop\n'
    text += '.section .altinstr_replacement,"ax"\nfirst: call dead\nsecond: call once\n'
    text += '.section .altinstructions,"a"\n'
    for site, other in (("gone", "first"), ("symbol", "second")):
        text += f".long {site}-.\n.long {other}-.\n.long 7\n.byte 1\n.byte 5\n"
    path = assemble(tmp_path, text)
    assert drop(program, path).status == 0
    left = {name for name, size in sizes(path).items() if size and name.startswith(".text.")}
    assert left == {".text.once"}
    assert sizes(path)[".altinstructions"] == 14
    assert body(path, ".altinstr_replacement")[:5] == b"\xcc" * 5
    check(["ld", "-e", "0", "-o", tmp_path / "whole", path], "")


def test_same_object_always(program: Path, linked: Path) -> None:
    again = linked.with_name("again.o")
    again.write_bytes(linked.read_bytes())
    for path, seed in ((linked, "1"), (again, "2")):
        env = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": seed}
        assert run([sys.executable, program, path], timeout=60, env=env).status == 0
    assert linked.read_bytes() == again.read_bytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('.section .text.a,"ax"\na: ret\n.section __ex_table,"a"\n'
         + "".join(f".long a-.\n.fill {gap}, 1, 0\n" for gap in (0, 4, 0, 8, 3)),
         "are no table"),
        (
            '.text\nsymbol: lea entry(%rip), %rax\n.section .text.a,"ax"\na: ret\n'
            '.section .smp_locks,"a"\n.long a-.\nentry: .long symbol-.\n',
            ".text refers to .smp_locks, which is changed",
        ),
        ('.section .text.a,"ax"\na: ret\n.section .smp_locks,"a"\n.quad a\n', "of 8 bytes"),
        (".data\n.byte 1\n", "has no symbols"),
        ('symbol: .section .group_of_one,"axG",@progbits,one,comdat\n.byte 1\n', "or groups"),
    ],
)  # fmt: skip
def test_object_that_it_does_not_understand_ends_the_build(
    program: Path, tmp_path: Path, text: str, words: str
) -> None:
    path = assemble(tmp_path, text)
    before = path.read_bytes()
    output = drop(program, path)
    assert output.status == 1
    assert words in output.stderr.decode()
    assert path.read_bytes() == before


def test_other_file_ends_the_build(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"\x7fELF\x01 of 32 bits, and more of it than the header has" + bytes(64))
    output = drop(program, path)
    assert output.status == 1
    assert "is no relocatable x86-64 object" in output.stderr.decode()
