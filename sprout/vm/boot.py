"""Boots a disk in a virtual machine until it is ready, and says what happened where it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sprout.base.errors import SproutError
from sprout.base.files import write_file
from sprout.base.progress import say
from sprout.format.ready import HostReady, Ready, ZoneReady
from sprout.vm.accel import choose
from sprout.vm.console import Console
from sprout.vm.firmware import find_firmware, find_secure_firmware
from sprout.vm.hypervisor import with_hypervisor
from sprout.vm.judge import GuestJudge
from sprout.vm.qemu import Machine, find_qemu
from sprout.vm.refusal import Refusal
from sprout.vm.session import End, Run, run_machine, run_until_off
from sprout.vm.timeline import Timeline, timeline

_MACHINE_TYPE = "q35"
_LINES_BEFORE = 12
_LINES_AFTER = 40
_REFUSED_HINTS = {
    "firmware": "Sign it with a key in db that dbx does not revoke; `sprout verify` tells more.",
    "stub": "Build the image again from sources that hold the fixes asked for, and sign that.",
}


class BootError(SproutError):
    """A machine that did not get there; `console_lines` are the lines around what went wrong."""

    def __init__(self, message: str, hint: str, console_lines: Sequence[str]) -> None:
        super().__init__(message, hint)
        self.console_lines = tuple(console_lines)


class RefusedError(BootError):
    """A boot image that firmware or stub would not run; ends the command with exit status 3."""

    exit_status = 3

    def __init__(self, image: str, refusal: Refusal, console_lines: Sequence[str]) -> None:
        super().__init__(f"{image}: {refusal.text()}", _REFUSED_HINTS[refusal.by], console_lines)
        self.by = refusal.by
        self.reason = refusal.reason


@dataclass(frozen=True)
class BootResult:
    """A boot that got there: its readiness line, timeline and console.

    `zones` is what a host said of each of its zones.
    """

    ready: Ready | HostReady
    timeline: Timeline
    machine: Machine
    console_lines: tuple[str, ...]
    zones: tuple[ZoneReady, ...] = ()


def boot(
    disk: Path,
    *,
    image: str,
    accel: str,
    timeout_s: float,
    arch: str = "x86_64",
    memory_mib: int = 512,
    cpus: int = 1,
    console: Callable[[str], None] | None = None,
    until: Literal["ready", "exit"] = "ready",
    log: Path | None = None,
    secure: Path | None = None,
    hypervisor: str | None = None,
) -> BootResult:
    """Boot `disk` (a raw disk, never written to) as any UEFI machine would.

    `image` is the name it has in messages; `accel` is one of `sprout.vm.accel.CHOICES`;
    `console` is given every line; `log` is where the console is written to when all is over.
    `secure` is a variable store, made from `secure_template`, of a machine with Secure Boot; it
    is not written to either. `hypervisor` is the command line of the hypervisor that is in the
    disk's image, None where there is none: with one the machine has what that needs, and is ready
    when host and zones are.
    The machine is ended once it is ready, or with until="exit" powers itself off.
    Raises RefusedError when firmware or stub will not run the image, BootError when the guest
    does not get there within `timeout_s` seconds, SproutError when there is no such disk, store,
    QEMU, firmware or accelerator.
    """
    for what, path in (("disk", disk), ("variable store", secure)):
        if path is not None and not path.is_file():
            raise SproutError(f"{path}: no such {what}", "Make it first, or mend the path.")
    qemu = find_qemu(arch)
    find = find_firmware if secure is None else find_secure_firmware
    firmware = find(arch, qemu.versioned(_MACHINE_TYPE))
    machine = Machine(
        firmware, disk, arch=arch, machine_type=_MACHINE_TYPE, cpus=cpus, memory_mib=memory_mib
    )
    # With the blank store: the application that tries an accelerator is not signed.
    machine = replace(machine, accelerator=choose(accel, qemu, machine))
    if hypervisor is not None:
        machine = with_hypervisor(machine, hypervisor)
    if secure is not None:
        machine = replace(
            machine, firmware=replace(firmware, nvram_template=secure, nvram_format="raw")
        )
    lines, guest = Console(console), GuestJudge(until, is_host=hypervisor is not None)
    try:
        run = run_machine(qemu, machine, console=lines, judge=guest.judge, timeout_s=timeout_s)
    finally:
        log = _written(log, lines)
    reached = run.end is End.REACHED or (until == "exit" and run.end is End.POWERED_OFF)
    if guest.refusal is not None:
        raise RefusedError(image, guest.refusal, _lines_around(lines, guest.failed_line))
    if guest.ready is None or not reached:
        raise BootError(
            f"{image}: {guest.told or _what_happened(run, guest, timeout_s)}",
            f"Read the console in {log}." if log else "Look at the console with --console.",
            _lines_around(lines, guest.failed_line),
        )
    zones = tuple(guest.zones.values())
    drawn = timeline(
        *(image, guest.ready),
        host_ms=guest.ready_s * 1000,
        qemu=qemu,
        machine=machine,
        zones=zones,
    )
    return BootResult(guest.ready, drawn, machine, tuple(lines.lines), zones)


def run_to_end(disk: Path, *, image: str, accel: str, timeout_s: float) -> tuple[str, ...]:
    """Boot `disk` until it powers itself off; give its console's lines.

    For a guest that says nothing of being ready. `image` is the name it has in messages. Raises
    BootError when it does not get there within `timeout_s` seconds, SproutError when there is no
    such disk, QEMU, firmware or accelerator.
    """
    if not disk.is_file():
        raise SproutError(f"{disk}: no such disk", "Make it first, or mend the path.")
    qemu = find_qemu("x86_64")
    firmware = find_firmware("x86_64", qemu.versioned(_MACHINE_TYPE))
    machine = Machine(firmware, disk, arch="x86_64", machine_type=_MACHINE_TYPE)
    machine = replace(machine, accelerator=choose(accel, qemu, machine))
    lines = Console()
    run = run_until_off(qemu, machine, console=lines, timeout_s=timeout_s)
    if run.end is not End.POWERED_OFF:
        why = run.text or run.end.value
        raise BootError(f"{image}: {why}", "Look at its last lines.", _lines_around(lines, None))
    return tuple(lines.lines)


def secure_template(arch: str = "x86_64") -> Path:
    """Give the blank variable store of the firmware that `boot` runs with `secure`.

    Raises SproutError when there is no QEMU or no such firmware.
    """
    firmware = find_secure_firmware(arch, find_qemu(arch).versioned(_MACHINE_TYPE))
    return firmware.nvram_template


def _written(log: Path | None, lines: Console) -> Path | None:
    """Write the console's lines to `log`; give where they are, None where that did not work."""
    if log is None:
        return None
    try:
        write_file(log, "".join(f"{line}\n" for line in lines.lines).encode())
    except SproutError as error:  # how the boot went matters more than its log
        say(f"the console is not kept: {error.message}")
        return None
    return log


def _what_happened(run: Run, guest: GuestJudge, timeout_s: float) -> str:
    stage = "before it was ready" if guest.ready is None else "after it was ready"
    return {
        End.REACHED: "the machine ended",
        End.FAILED: run.text,
        End.POWERED_OFF: f"the guest powered off {stage}",
        End.RESET: f"the guest reset the machine {stage}",
        End.STOPPED: f"QEMU stopped the machine {stage}: {run.text}",
        End.DIED: f"QEMU ended by itself {stage} ({run.text})",
        End.TIMED_OUT: f"not ready within {timeout_s:g} s"
        if guest.ready is None
        else f"did not power off within {timeout_s:g} s",
    }[run.end]


def _lines_around(console: Console, line: str | None) -> list[str]:
    lines = list(console.lines)
    if line is None or line not in lines:
        return lines[-(_LINES_BEFORE + _LINES_AFTER) // 2 :]
    at = len(lines) - 1 - lines[::-1].index(line)
    return lines[max(at - _LINES_BEFORE, 0) : at + _LINES_AFTER]
