"""Boots a disk in a virtual machine until it is ready, and says what happened where it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sprout.base.errors import SproutError
from sprout.base.files import write_file
from sprout.base.progress import say
from sprout.format import ready as ready_line
from sprout.format.ready import Ready
from sprout.vm.accel import choose
from sprout.vm.console import Console, failure
from sprout.vm.firmware import find_firmware
from sprout.vm.qemu import Machine, find_qemu
from sprout.vm.session import End, Run, Verdict, run_machine
from sprout.vm.timeline import Timeline, timeline

_MACHINE_TYPE = "q35"
_LINES_BEFORE = 12
_LINES_AFTER = 40
_PROGRAM_DONE = "exited with status 0"


class BootError(SproutError):
    """A machine that did not get there; `console_lines` are the lines around what went wrong."""

    def __init__(self, message: str, hint: str, console_lines: Sequence[str]) -> None:
        super().__init__(message, hint)
        self.console_lines = tuple(console_lines)


@dataclass(frozen=True)
class BootResult:
    """A boot that got there: its readiness line, timeline and console."""

    ready: Ready
    timeline: Timeline
    machine: Machine
    console_lines: tuple[str, ...]


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
) -> BootResult:
    """Boot `disk` (a raw disk, never written to) as any UEFI machine would.

    `image` is the name it has in messages; `accel` is one of `sprout.vm.accel.CHOICES`;
    `console` is given every line; `log` is where the console is written to when all is over.
    The machine is ended once it is ready, or with until="exit" powers itself off.
    Raises BootError when the guest does not get there within `timeout_s` seconds, SproutError
    when there is no such disk, QEMU, firmware or accelerator.
    """
    if not disk.is_file():
        raise SproutError(f"{disk}: no such disk", "Build it first, or mend the path.")
    qemu = find_qemu(arch)
    firmware = find_firmware(arch, qemu.versioned(_MACHINE_TYPE))
    machine = Machine(
        firmware, disk, arch=arch, machine_type=_MACHINE_TYPE, cpus=cpus, memory_mib=memory_mib
    )
    machine = replace(machine, accelerator=choose(accel, qemu, machine))
    lines, guest = Console(console), _Guest(until)
    try:
        run = run_machine(qemu, machine, console=lines, judge=guest.judge, timeout_s=timeout_s)
    finally:
        log = _written(log, lines)
    reached = run.end is End.REACHED or (until == "exit" and run.end is End.POWERED_OFF)
    if guest.ready is None or not reached:
        raise BootError(
            f"{image}: {_what_happened(run, guest, timeout_s)}",
            f"Read the console in {log}." if log else "Look at the console with --console.",
            _lines_around(lines, guest.failed_line),
        )
    drawn = timeline(image, guest.ready, host_ms=guest.ready_s * 1000, qemu=qemu, machine=machine)
    return BootResult(guest.ready, drawn, machine, tuple(lines.lines))


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


class _Guest:
    """Judges the console's lines, and remembers the readiness line and where a failure stood."""

    def __init__(self, until: Literal["ready", "exit"]) -> None:
        self.until = until
        self.ready: Ready | None = None
        self.ready_s = 0.0
        self.failed_line: str | None = None

    def judge(self, line: str, seconds: float) -> Verdict | None:
        """Give the verdict on one line that came `seconds` after QEMU was started."""
        found = ready_line.parse(line) if self.ready is None else None
        if found is not None:
            self.ready, self.ready_s = found, seconds
            return Verdict(End.REACHED) if self.until == "ready" else None
        if self.ready is not None and line.endswith(_PROGRAM_DONE):
            return None
        why = failure(line)
        if why is None:
            return None
        self.failed_line = line
        return Verdict(End.FAILED, why)


def _what_happened(run: Run, guest: _Guest, timeout_s: float) -> str:
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
