"""Boots a contestant in exact mode and tells its phases, by marks that need no symbols of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.cost.measure import Subject
from sprout.cost.model import Phase
from sprout.cost.peers_result import DECOMPRESSION, FIRMWARE, INIT, KERNEL, LOADER
from sprout.cost.symbols import KERNEL_TEXT, read_system_map, read_table
from sprout.format import pe
from sprout.image.uki import MAX_IMAGE_BYTES
from sprout.vm.exact import exact_boot, exact_machine
from sprout.vm.qemu import Direct, Machine, Qemu
from sprout.vm.watch import (
    Watch,
    at_code,
    at_image,
    at_kernel,
    at_physical,
    at_user,
    until,
)

MEMORY_MIB = 512
# Where QEMU's option ROM enters a bzImage: real_addr 0x10000, its setup code 0x200 behind that
# (Documentation/arch/x86/boot.rst, "Running the Kernel").
_SETUP_ENTRY = 0x10200
_SETUP_SECTORS = 0x1F1
_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Track:
    """What all boots share: the plugins, and where in init readiness lies, from its entry."""

    plugins: Path
    ready: int


def track_of(subject: Subject) -> Track:
    """Give the track for boots of `subject`'s init."""
    where = subject.initramfs / "init.symbols"
    symbols = read_table(where)
    ready = symbols.needed("announce", where) - symbols.needed("_start", where)
    return Track(subject.plugins, ready)


def boot_disk(track: Track, name: str, disk: Path, app: Path, kernel: Path) -> tuple[Phase, ...]:
    """Boot `disk` through UEFI; `app` is the application on it, `kernel` the bzImage it starts.

    Raises SproutError when it is not ready in time, or a phase was not seen.
    """
    marks = [_at_pe(LOADER, app), _at_pe(DECOMPRESSION, kernel)]
    # A loader that leaves boot services itself enters the 32-bit code behind the setup code,
    # wherever it has put it.
    marks.append(at_code(DECOMPRESSION, protected_mode_code(kernel)))
    phases = (FIRMWARE, LOADER, DECOMPRESSION, KERNEL, INIT)
    return _boot(track, name, disk_machine(disk), phases, marks)


def boot_bzimage(
    track: Track, name: str, kernel: Path, initrd: Path, cmdline: str
) -> tuple[Phase, ...]:
    """Boot a bzImage by QEMU's BIOS, without any disk; raises as `boot_disk`."""
    on = direct_machine(Direct(kernel, initrd, cmdline))
    marks = [at_physical(DECOMPRESSION, _SETUP_ENTRY)]
    return _boot(track, name, on, (FIRMWARE, DECOMPRESSION, KERNEL, INIT), marks)


def boot_pvh(track: Track, name: str, subject: Subject, initrd: Path) -> tuple[Phase, ...]:
    """Boot `subject`'s vmlinux by its PVH note, without any disk; raises as `boot_disk`."""
    symbols = subject.kernel / "System.map"
    entry = read_system_map(symbols).needed("pvh_start_xen", symbols)
    direct = Direct(subject.kernel / "vmlinux", initrd, subject.cmdline)
    marks = [at_physical(KERNEL, entry - KERNEL_TEXT)]
    return _boot(track, name, direct_machine(direct), (FIRMWARE, KERNEL, INIT), marks)


def disk_machine(disk: Path) -> tuple[Qemu, Machine]:
    """Give the machine that boots `disk` through UEFI firmware."""
    qemu, machine = exact_machine(Direct(disk), uefi=True, memory_mib=MEMORY_MIB)
    return qemu, replace(machine, direct=None, disk=disk)


def direct_machine(direct: Direct) -> tuple[Qemu, Machine]:
    """Give the machine that boots a kernel by QEMU's BIOS."""
    return exact_machine(direct, uefi=False, memory_mib=MEMORY_MIB)


def _boot(
    track: Track, name: str, on: tuple[Qemu, Machine], phases: tuple[str, ...], marks: list[str]
) -> tuple[Phase, ...]:
    """Boot what `on` gives; `marks` are where the phases before the kernel begin."""
    qemu, machine = on
    watch = Watch(phases, (*marks, at_kernel(KERNEL), at_user(INIT), until(track.ready)))
    try:
        result = exact_boot(
            qemu, machine, watch, plugins=track.plugins, name=name, timeout_s=_TIMEOUT_S
        )
    except SproutError as error:  # whose hint is for images of a tree
        raise SproutError(error.message, "Run it again; if it persists, report it.") from error
    for phase in result.counted.phases:
        if phase.instructions == 0:
            raise SproutError(
                f"{name}: the beginning of the phase {phase.name!r} was not seen",
                "This version enters its kernel in a way that is not known here: report it.",
            )
    return tuple(
        Phase(phase.name, phase.instructions, phase.wait_ns, round(phase.host_ns / 1e6, 3))
        for phase in result.counted.phases
    )


def _at_pe(phase: str, file: Path) -> str:
    data = read_bounded(file, MAX_IMAGE_BYTES)
    headers = pe.parse_headers(data, file)
    stamp = pe.COFF.unpack_from(data, headers.coff_offset)[2]
    return at_image(phase, stamp=stamp, size=headers.size_of_image, entry=headers.entry_point)


def protected_mode_code(kernel: Path) -> bytes:
    """Give the first 8 bytes of a bzImage's 32-bit code, which follow its setup code."""
    data = read_bounded(kernel, MAX_IMAGE_BYTES)
    (sectors,) = struct.unpack_from("B", data, _SETUP_SECTORS)
    start = (sectors + 1) * 512
    return data[start : start + 8]
