"""Compiles the EFI program that meddles with a boot image: tests/boot/machine/meddler.c."""

from __future__ import annotations

import tempfile
from pathlib import Path

from commands import ROOT

from sprout.base.run import check

IMAGE_PATH = "EFI/sprout/zone.efi"
"""Where on its own partition the meddler looks for the boot image."""

_HINT = "Mend the C that does not compile."
_COMPILE = (
    *("-target", "x86_64-unknown-windows", "-std=c11", "-Os", "-Wall", "-Wextra", "-Werror"),
    *("-ffreestanding", "-nostdlibinc", "-fno-stack-protector", "-mno-stack-arg-probe"),
    *("-mno-red-zone", "-mgeneral-regs-only", f"-I{ROOT / 'sprout' / 'stub'}"),
)
_LINK = (
    *("/subsystem:efi_application", "/entry:efi_main", "/nodefaultlib"),
    *("/dynamicbase", "/nxcompat", "/timestamp:0"),
)


def build_meddler(target: Path) -> None:
    """Write the meddler, an unsigned EFI application, to `target`."""
    source = ROOT / "tests" / "boot" / "machine" / "meddler.c"
    with tempfile.TemporaryDirectory() as work:
        program = Path(work) / "meddler.obj"
        check(["clang", *_COMPILE, "-c", source, "-o", program], _HINT, timeout=120)
        check(["lld-link", *_LINK, f"/out:{target}", program], _HINT, timeout=120)
