"""Makes the disk of the tiny boot that proves an accelerator; its program is `probe.c`."""

from __future__ import annotations

from pathlib import Path

from sprout.base.run import check

SOURCE = Path(__file__).with_name("probe.c")
LINE = "sprout-probe: alive"
PROGRAMS = ("clang", "lld-link", "mformat", "mmd", "mcopy")
_FLOPPY_KIB = 1440  # the smallest size that mformat knows by name and that holds one sector of code
_HINT = "Run ./sprout.sh, which installs what is missing."


def compile_application(source: Path, target: Path, *defines: str) -> None:
    """Compile one freestanding C file to an x86_64 UEFI application whose entry is `efi_main`.

    Raises SproutError with the compiler's complaint.
    """
    # No red zone: the firmware's interrupt handlers run on the same stack.
    arguments: list[str | Path] = [
        *("clang", "-target", "x86_64-unknown-windows", "-std=c17", "-O2"),
        *("-Wall", "-Wextra", "-Werror", "-ffreestanding", "-mno-red-zone"),
        *("-fno-stack-protector", "-nostdlib", "-fuse-ld=lld"),
        *("-Wl,-subsystem:efi_application", "-Wl,-entry:efi_main", "-Wl,-timestamp:0"),
        *(f"-D{define}" for define in defines),
        *("-o", target, source),
    ]
    check(arguments, _HINT, timeout=60)


def make_floppy(target: Path, application: Path) -> None:
    """Make a FAT disk without partitions whose only file is `\\EFI\\BOOT\\BOOTX64.EFI`."""
    with target.open("wb") as stream:
        stream.truncate(_FLOPPY_KIB << 10)
    boot = "::/EFI/BOOT"
    commands: tuple[tuple[str | Path, ...], ...] = (
        ("mformat", "-i", target, "-f", str(_FLOPPY_KIB), "::"),
        ("mmd", "-i", target, "::/EFI", boot),
        ("mcopy", "-i", target, application, f"{boot}/BOOTX64.EFI"),
    )
    for command in commands:
        check(command, _HINT, timeout=60)


def make_probe_disk(directory: Path) -> Path:
    """Compile the probe and give the path of its disk, both in `directory`."""
    application = directory / "probe.efi"
    disk = directory / "probe.img"
    compile_application(SOURCE, application)
    make_floppy(disk, application)
    return disk
