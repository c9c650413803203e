"""The timeline of one boot: contiguous phases from power-on to readiness."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sprout.base.errors import SproutError
from sprout.base.files import write_file
from sprout.format.ready import Ready
from sprout.vm.qemu import Machine, Qemu

_BAR = 24
_COLOURS = ("36", "32", "33", "35")  # one per phase, in turn: ECMA-48 section 8.3.117


@dataclass(frozen=True)
class Phase:
    """One phase: time stamp counter ticks, and milliseconds where the frequency is known."""

    name: str
    ticks: int
    wall_ms: float | None


@dataclass(frozen=True)
class Timeline:
    """One boot's phases, contiguous from power-on to readiness, and the machine they ran on.

    `tsc_hz` is ticks per second (0: unknown); `host_ms` is the host's own clock from QEMU's
    start to the readiness line, so it also holds QEMU's start and the way through the console.
    """

    image: str
    arch: str
    accelerator: str
    tsc_hz: int
    phases: tuple[Phase, ...]
    host_ms: float
    machine: dict[str, str | int]

    def to_json(self) -> dict[str, Any]:
        """Give the timeline as JSON's types; ticks are whole numbers, never rounded."""
        return {
            "image": self.image,
            "arch": self.arch,
            "accelerator": self.accelerator,
            "exact": False,
            "tsc_hz": self.tsc_hz or None,
            "host_wall_ms": self.host_ms,
            "phases": [
                {"name": phase.name, "ticks": phase.ticks, "wall_ms": phase.wall_ms}
                for phase in self.phases
            ],
            "machine": self.machine,
        }

    def json_text(self) -> str:
        """Give the timeline as a JSON document that ends with a newline."""
        return json.dumps(self.to_json(), indent=2) + "\n"

    def table(self, columns: int = 80, *, colour: bool = False) -> str:
        """Give the timeline as text of at most `columns` columns (at least 60)."""
        total = sum(phase.ticks for phase in self.phases)
        unit = "ms" if self.tsc_hz else "ticks"
        host = f"{self.host_ms:,.1f}" + ("" if self.tsc_hz else " ms")
        names = [phase.name for phase in self.phases] + ["power-on to ready"]
        amounts = [self._amount(phase.ticks) for phase in self.phases] + [self._amount(total)]
        name = max(map(len, names))
        amount = max(map(len, [*amounts, host, unit])) + 2
        bar = min(_BAR, columns - name - amount - 10)
        rows = [f"{'phase':<{name}}{unit:>{amount}}   share"]
        end = 0
        for index, phase in enumerate(self.phases):
            first = end * bar // (total or 1)
            end += phase.ticks
            last = end * bar // (total or 1)
            drawn = " " * min(first, bar - 1) + "█" * max(last - first, 1)
            if colour:
                drawn = f"\x1b[{_COLOURS[index % len(_COLOURS)]}m{drawn}\x1b[0m"
            share = phase.ticks / (total or 1)
            rows.append(f"{phase.name:<{name}}{amounts[index]:>{amount}}{share:>8.1%}  {drawn}")
        rows.append(f"{names[-1]:<{name}}{amounts[-1]:>{amount}}")
        rows.append(f"{'on the host clock':<{name}}{host:>{amount}}")
        return "\n".join([*self._title(columns), *rows]) + "\n"

    def _amount(self, ticks: int) -> str:
        return f"{ticks * 1000 / self.tsc_hz:,.1f}" if self.tsc_hz else f"{ticks:,}"

    def _title(self, columns: int) -> list[str]:
        machine = self.machine
        parts = (
            f"{self.image} ({self.arch})",
            f"{self.accelerator.upper()}, QEMU {machine['qemu']}",
            f"{machine['type']}, {machine['cpus']} CPU ({machine['cpu']})",
            f"{machine['memory_mib']} MiB",
        )
        lines = [""]
        for part in parts:
            joined = f"{lines[-1]} · {part}" if lines[-1] else part
            if len(joined) <= columns:
                lines[-1] = joined
            else:
                lines.append(part[:columns])
        return lines


def timeline(image: str, ready: Ready, *, host_ms: float, qemu: Qemu, machine: Machine) -> Timeline:
    """Draw the timeline of a boot that said `ready`, `host_ms` after QEMU was started.

    A stamp of 0 is unknown, so its phase is one with the next; without a stub's stamps the
    first phase is "firmware + kernel". Raises SproutError when the stamps run backwards.
    """
    return Timeline(
        image=image,
        arch=machine.arch,
        accelerator=machine.accelerator,
        tsc_hz=ready.hz,
        phases=tuple(_phases(ready)),
        host_ms=round(host_ms, 3),
        machine={
            "qemu": qemu.version_text(),
            "type": qemu.versioned(machine.machine_type),
            "cpu": machine.cpu,
            "cpus": machine.cpus,
            "memory_mib": machine.memory_mib,
            "firmware": machine.firmware.executable.name,
            "firmware_sha256": machine.firmware.sha256(),
        },
    )


def _phases(ready: Ready) -> list[Phase]:
    ends = [("firmware", ready.entry), ("kernel", ready.init), ("init", ready.ready)]
    if ready.entry or ready.handover:
        ends.insert(1, ("stub", ready.handover))
    phases: list[Phase] = []
    begin, names = 0, []
    for name, end in ends:
        names.append(name)
        if end == 0:
            continue
        if end < begin:
            raise SproutError(
                f"the readiness line's stamps run backwards: {' + '.join(names)} ends at "
                f"{end:,} ticks and begins at {begin:,}",
                "Use stub and init of one version, and one CPU if the host's counters differ.",
            )
        ticks = end - begin
        wall_ms = round(ticks * 1000 / ready.hz, 3) if ready.hz else None
        phases.append(Phase(" + ".join(names), ticks, wall_ms))
        begin, names = end, []
    return phases


def write_json(target: Path, drawn: Timeline) -> None:
    """Write the timeline as JSON to `target`, whole or not at all."""
    write_file(target, drawn.json_text().encode())
