"""The machine that peers are compared on, for a reader: versions, and QEMU's command lines."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

from sprout.base.run import run
from sprout.cost.measure import Subject
from sprout.cost.peers_boot import direct_machine, disk_machine
from sprout.vm.exact import SHIFT
from sprout.vm.firmware import Bios, Firmware
from sprout.vm.plugin import level_for, plugin_name
from sprout.vm.qemu import Counting, Direct, Machine, Qemu, arguments

_COLUMNS = 92
# Stands for any directory; what is shown are names in it.
_HERE = Path("/here")


def described() -> tuple[tuple[str, str], ...]:
    """Give what the figures depend on besides the contestants, as (what, text).

    Raises SproutError where QEMU or a firmware is missing.
    """
    qemu, machine = disk_machine(_HERE)
    _, direct = direct_machine(Direct(_HERE))
    return (
        ("emulator", f"QEMU {qemu.version_text()} (TCG)"),
        ("machine", f"{qemu.versioned(machine.machine_type)}, 1 CPU ({machine.cpu})"),
        ("memory", f"{machine.memory_mib} MiB"),
        ("clock", f"an instruction takes {1 << SHIFT} virtual ns"),
        ("UEFI firmware", _firmware(machine.firmware)),
        ("BIOS", _firmware(direct.firmware)),
    )


def commands(subject: Subject) -> tuple[tuple[str, str], ...]:
    """Give how QEMU is called, as (for what, command line)."""
    kernel = Direct(_HERE / "vmlinuz", _HERE / "initramfs.cpio", subject.cmdline)
    return (
        ("a loader", _command(*disk_machine(_HERE / "disk.img"))),
        ("a kernel", _command(*direct_machine(kernel))),
    )


def _command(qemu: Qemu, machine: Machine) -> str:
    plugin = _HERE / plugin_name(level_for(qemu.version))
    counting = Counting(plugin, _HERE / "marks", _HERE / "counts", SHIFT)
    counted = replace(machine, counting=counting)
    words = arguments(qemu, counted, variables=_HERE / "OVMF_VARS.fd")
    # Without what only ties QEMU to this program's life.
    words = words[words.index(str(qemu.program)) :]
    words[0] = qemu.program.name
    options: list[str] = []
    for word in words:
        text = shlex.quote(word.replace(f"{_HERE}/", ""))
        if options and not word.startswith("-"):
            options[-1] += f" {text}"
        else:
            options.append(text)
    lines = [""]
    for option in options:
        if lines[-1] and len(lines[-1]) + len(option) >= _COLUMNS:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {option}" if lines[-1] else option
    return "\n".join(lines)


def _firmware(firmware: Firmware | Bios) -> str:
    path = firmware.executable
    return f"{path.name}, {_package(path)}, SHA-256 {firmware.sha256()}"


def _package(file: Path) -> str:
    """Give the package that a file is of with its version, as far as dpkg knows."""
    if shutil.which("dpkg-query") is not None:
        owner = run(["dpkg-query", "-S", file], timeout=60)
        name = owner.stdout.decode(errors="replace").split(":", 1)[0]
        if owner.status == 0 and name:
            version = run(["dpkg-query", "-W", "-f", "${Version}", name], timeout=60)
            if version.status == 0:
                return f"{name} {version.stdout.decode(errors='replace')}"
    return "of no package"
