"""Where the kernel runs on real firmware: in place wherever its pages can be protected."""

from __future__ import annotations

import re
from pathlib import Path

from sprout.vm.boot import boot
from sprout.vm.console import Console
from sprout.vm.firmware import find_firmware
from sprout.vm.probe import compile_application, make_floppy
from sprout.vm.qemu import Machine, find_qemu
from sprout.vm.session import End, Verdict, run_machine

SOURCE = Path(__file__).with_name("machine") / "attributes.c"


def offers_attributes(tmp_path: Path) -> bool:
    """Tell whether this machine's firmware has EFI_MEMORY_ATTRIBUTE_PROTOCOL."""
    compile_application(SOURCE, tmp_path / "attributes.efi")
    make_floppy(tmp_path / "attributes.img", tmp_path / "attributes.efi")
    qemu, console = find_qemu("x86_64"), Console()
    firmware = find_firmware("x86_64", qemu.versioned("q35"))

    def judge(line: str, _seconds: float) -> Verdict | None:
        return Verdict(End.REACHED) if line.startswith("attributes: ") else None

    machine = Machine(firmware, tmp_path / "attributes.img")
    run = run_machine(qemu, machine, console=console, judge=judge, timeout_s=60)
    assert run.end is End.REACHED, console.lines
    said = re.search("attributes: (offered|absent)", "\n".join(console.lines))
    assert said is not None
    return said[1] == "offered"


def test_kernel_runs_in_place_where_its_pages_can_be_protected(
    zone_disk: Path, zone_kernel: Path, tmp_path: Path
) -> None:
    result = boot(zone_disk, image="zone", accel="tcg", timeout_s=120)
    copied = 0 if offers_attributes(tmp_path) else zone_kernel.stat().st_size
    assert result.ready.copied == copied
