"""What a kernel does for programs, measured for real: it repeats to the instruction."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import ROOT

from sprout.base.errors import SproutError
from sprout.build.driver import build
from sprout.build.graph import Settings
from sprout.build.tree import load_tree
from sprout.cost.guest import Kernel, Measured, measure_kernels
from sprout.cost.guest_lines import BENCHES
from sprout.initramfs.assemble import assemble

CMDLINE = "console=ttyS0 quiet"


@pytest.fixture(scope="module")
def image() -> Path:
    """The zone's kernel, built."""
    tree = load_tree(ROOT)
    assert build(tree, ["zone-kernel"], Settings()) == 0
    return tree.build / "zone-kernel/image"


@pytest.fixture(scope="module")
def initramfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The measuring program, as an initramfs."""
    target = tmp_path_factory.mktemp("guest") / "initramfs.cpio"
    assemble(ROOT / "initramfs/bench.toml", target, epoch=0)
    return target


def test_measuring_twice_gives_the_same_instructions(image: Path, initramfs: Path) -> None:
    kernels = [Kernel(name, "6.12", image) for name in ("once", "again")]
    once, again = measure_kernels(kernels, initramfs=initramfs, cmdline=CMDLINE)
    assert once.guest == again.guest
    assert once.mean(again) == 1
    each = {bench: once.guest.figures[bench].each() for bench in BENCHES}
    assert 100 < each["syscall"] < 500
    assert each["syscall"] < each["file-read"] < each["pipe"] < each["tcp"] < each["fork-exec"]
    # Clearing a page, and copying one, take an instruction for each byte in this emulator.
    assert min(each["page-fault"], each["file-read"]) > 4096
    assert once.guest.vulnerabilities.keys() >= {"meltdown", "spectre_v1", "spectre_v2"}


def test_what_hardening_takes_is_seen(image: Path, initramfs: Path) -> None:
    """System calls draw an offset of the stack, unless the command line says otherwise."""
    found: list[Measured] = []
    for words in ("", "randomize_kstack_offset=0"):
        kernel = Kernel("zone", "6.12", image, words)
        found += measure_kernels([kernel], initramfs=initramfs, cmdline=CMDLINE)
    hardened, plain = found
    assert hardened.ratio(plain, "syscall") > 1.02
    assert hardened.guest.vulnerabilities == plain.guest.vulnerabilities


def test_kernel_that_cannot_run_it_is_an_error(image: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.cpio"
    empty.write_bytes(b"")
    with pytest.raises(SproutError, match="broken: did not power off in exact mode: kernel panic"):
        measure_kernels([Kernel("broken", "6.12", image)], initramfs=empty, cmdline=CMDLINE)
