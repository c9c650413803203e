"""Exact mode: a boot under deterministic emulation, counted to the instruction.

What makes it repeat: one emulated CPU whose clock is the instructions executed (`-icount`), waits
that cost no host time, fixed random numbers and date, and no disk, whose completion would come
when the host pleases. So UEFI firmware gets the boot image through fw_cfg.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.format import ready as ready_line
from sprout.format.ready import HostReady, Ready, ZoneReady
from sprout.vm.console import Console, Failures
from sprout.vm.counted import MAX_BYTES, Counted, read_counted
from sprout.vm.firmware import find_bios, find_firmware
from sprout.vm.hypervisor import with_hypervisor
from sprout.vm.plugin import level_for, plugin_name
from sprout.vm.qemu import Counting, Direct, Machine, Qemu, data_directories, find_qemu
from sprout.vm.session import End, Verdict, run_machine, run_until_off
from sprout.vm.watch import Watch

# One instruction takes 4 virtual ns. A firmware that spins on a clock (OVMF looks 1.5 s for a TPM)
# then executes a quarter of the instructions that it would with 1 ns; with 8, more of the kernel's
# clock would fall between two of its own steps.
SHIFT = 2
_ENDING_S = 60.0
# Since then QEMU emulates it, and a hypervisor uses it; but reading its timer, which is an MSR, in
# the midst of translated code ends an instruction clock ("Bad icount read").
_X2APIC = (9, 0, 0)
_MACHINE_TYPE = "q35"


@dataclass(frozen=True)
class ExactBoot:
    """A boot in exact mode: what was counted, the readiness lines, and the machine.

    `zones` are a host's, in the order in which they were ready; a tick is a virtual nanosecond.
    """

    counted: Counted
    ready: Ready | HostReady
    machine: Machine
    qemu: Qemu
    zones: tuple[ZoneReady, ...] = ()


def exact_machine(
    direct: Direct, *, uefi: bool, memory_mib: int, cpus: int = 1, hypervisor: str | None = None
) -> tuple[Qemu, Machine]:
    """Give the machine that an exact boot runs on: UEFI firmware, or QEMU's BIOS for PVH.

    `hypervisor` is as in `sprout.vm.boot.boot`. One thread emulates all of several `cpus` in turn.
    Raises SproutError where QEMU or the firmware is missing.
    """
    qemu = find_qemu("x86_64")
    firmware = (
        find_firmware("x86_64", qemu.versioned(_MACHINE_TYPE))
        if uefi
        else find_bios(data_directories(qemu))
    )
    machine = Machine(firmware, memory_mib=memory_mib, direct=direct, cpus=cpus)
    if hypervisor is None:
        return qemu, machine
    machine = with_hypervisor(machine, hypervisor)
    if qemu.version >= _X2APIC:
        machine = replace(machine, cpu=f"{machine.cpu},-x2apic")
    return qemu, machine


def exact_boot(
    qemu: Qemu,
    machine: Machine,
    watch: Watch,
    *,
    plugins: Path,
    name: str,
    timeout_s: float,
    shift: int = SHIFT,
    console: Callable[[str], None] | None = None,
    is_host: bool = False,
) -> ExactBoot:
    """Boot `machine` until it is ready, counting what `watch` names.

    `plugins` is the directory of the plugins (see sprout.vm.plugin); `name` stands in messages;
    `is_host`: it is ready when a host says that it and its zones are.
    Raises SproutError when the machine does not get there within `timeout_s` seconds on the host,
    or what was counted is not whole.
    """
    plugin = plugins / plugin_name(level_for(qemu.version))
    if not plugin.is_file():
        raise SproutError(f"{plugin}: no such plugin", "Build it: sprout build counter.")
    found: list[Ready | HostReady] = []
    zones: list[ZoneReady] = []
    failures = Failures()

    def judge(line: str, _seconds: float) -> Verdict | None:
        ready = ready_line.parse_host(line) if is_host else ready_line.parse(line)
        if ready is not None:
            found.append(ready)
            return Verdict(End.REACHED)
        zone = ready_line.parse_zone(line) if is_host else None
        if zone is not None:
            zones.append(zone)
        why = failures.see(line) or (ready_line.unread_zone(line) if is_host else None)
        return Verdict(End.FAILED, why) if why is not None else None

    with tempfile.TemporaryFile() as config, tempfile.TemporaryFile() as out:
        config.write(watch.text().encode())
        config.flush()
        counting = Counting(plugin, _path_of(config.fileno()), _path_of(out.fileno()), shift)
        lines = Console(console)
        run = run_machine(
            qemu,
            replace(machine, counting=counting),
            console=lines,
            judge=judge,
            timeout_s=timeout_s,
            inherited=(config.fileno(), out.fileno()),
            ending_s=_ENDING_S,
        )
        size = os.fstat(out.fileno()).st_size
        if not found or run.end is not End.REACHED:
            why = run.text or run.end.value
            raise SproutError(
                f"{name}: not ready in exact mode: {why}",
                f"Look at it with `sprout boot {name} --console`.",
            )
        if size > MAX_BYTES:
            raise SproutError(f"{name}: the counter wrote {size:,} bytes", "Report this.")
        out.seek(0)
        counted = read_counted(out.read())
    return ExactBoot(counted, found[0], machine, qemu, tuple(zones))


def exact_console(
    qemu: Qemu, machine: Machine, *, name: str, timeout_s: float, shift: int = SHIFT
) -> tuple[str, ...]:
    """Run `machine` in exact mode until its guest powers off, and give the lines of its console.

    Nothing is counted from outside: the guest reads its time stamp counter. `name` stands in
    messages. Raises SproutError when the guest fails or does not end within `timeout_s` seconds.
    """
    lines = Console()
    exact = replace(machine, counting=None, shift=shift)
    run = run_until_off(qemu, exact, console=lines, timeout_s=timeout_s)
    if run.end is not End.POWERED_OFF:
        raise SproutError(
            f"{name}: did not power off in exact mode: {run.text or run.end.value}",
            "Boot it with the same command line, and look at its console.",
        )
    return tuple(lines.lines)


def _path_of(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}")
