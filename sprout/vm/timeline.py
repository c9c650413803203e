"""The timeline of one boot: contiguous phases from power-on to readiness."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sprout.base.files import write_file
from sprout.format.ready import HostReady, Ready, ZoneReady
from sprout.vm.qemu import Machine, Qemu
from sprout.vm.stages import (
    Phase,
    ZoneTimes,
    boot_phases,
    host_begin,
    host_phases,
    zone_times,
)

_BAR = 24
_LEAST_BAR = 4
_LEAST_NAME = 4
_SHARE = 10  # columns, with the space in front of the bar
_COLOURS = ("36", "32", "33", "35")  # one per phase, in turn: ECMA-48 section 8.3.117


@dataclass(frozen=True)
class Timeline:
    """One boot's phases, contiguous from `begins` to readiness, and the machine they ran on.

    `tsc_hz` is ticks per second (0: unknown); `host_ms` is the host's own clock from QEMU's
    start to the readiness line, so it also holds QEMU's start and the way through the console.
    `zones` are a host's; `copied` is the bytes that the stub copied.
    """

    image: str
    arch: str
    accelerator: str
    tsc_hz: int
    phases: tuple[Phase, ...]
    host_ms: float
    machine: dict[str, str | int]
    zones: tuple[ZoneTimes, ...] = ()
    begins: str = "power-on"
    copied: int = 0

    def to_json(self) -> dict[str, Any]:
        """Give the timeline as JSON's types; ticks are whole numbers, never rounded."""
        return {
            "image": self.image,
            "arch": self.arch,
            "accelerator": self.accelerator,
            "exact": False,
            "tsc_hz": self.tsc_hz or None,
            "host_wall_ms": self.host_ms,
            "begins": self.begins,
            "bytes_copied": self.copied,
            "phases": [
                {"name": phase.name, "ticks": phase.ticks, "wall_ms": phase.wall_ms}
                for phase in self.phases
            ],
            "zones": [asdict(zone) for zone in self.zones],
            "machine": self.machine,
        }

    def json_text(self) -> str:
        """Give the timeline as a JSON document that ends with a newline."""
        return json.dumps(self.to_json(), indent=2) + "\n"

    def table(self, columns: int = 80, *, colour: bool = False) -> str:
        """Give the timeline as text of at most `columns` columns (at least 60)."""
        total = sum(phase.ticks for phase in self.phases)
        unit = self._unit()
        host = f"{self.host_ms:,.1f}" + ("" if self.tsc_hz else " ms")
        amounts = [self._amount(phase.ticks) for phase in self.phases] + [self._amount(total)]
        amount = max(map(len, [*amounts, host, unit])) + 2
        room = columns - amount - _SHARE - _LEAST_BAR
        names = [_fit(phase.name, room) for phase in self.phases] + [f"{self.begins} to ready"]
        name = max(map(len, names))
        bar = min(_BAR, columns - name - amount - _SHARE)
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
            rows.append(f"{names[index]:<{name}}{amounts[index]:>{amount}}{share:>8.1%}  {drawn}")
        rows.append(f"{names[-1]:<{name}}{amounts[-1]:>{amount}}")
        if self.copied:
            rows.append(f"{'copied by stub':<{name}}{self.copied:>{amount},} bytes")
        rows.append(f"{'on the host clock':<{name}}{host:>{amount}}")
        return "\n".join([*self._title(columns), *rows, *self._zones(columns)]) + "\n"

    def _zones(self, columns: int) -> list[str]:
        """Give a row for each zone where there are several: the table shows one's way only."""
        if len(self.zones) < 2:
            return []
        table: list[tuple[str, ...]] = [
            ("zone", "create", "kernel", "init", f"ready at {self._unit()}")
        ]
        for zone in self.zones:
            times = (zone.create, zone.kernel, zone.init, zone.ready)
            table.append((zone.name, *map(self._amount, times)))
        kept = range(1, 5)
        widths = [max(map(len, column)) + 2 for column in zip(*table, strict=True)]
        if sum(widths[1:]) + _LEAST_NAME > columns:
            kept = range(4, 5)  # when each was ready matters most
        name = min(widths[0], columns - sum(widths[index] for index in kept))
        return [
            "",
            *(
                f"{_fit(row[0], name):<{name}}"
                + "".join(f"{row[index]:>{widths[index]}}" for index in kept)
                for row in table
            ),
        ]

    def _unit(self) -> str:
        return "ms" if self.tsc_hz else "ticks"

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


def timeline(
    image: str,
    ready: Ready | HostReady,
    *,
    host_ms: float,
    qemu: Qemu,
    machine: Machine,
    zones: Sequence[ZoneReady] = (),
) -> Timeline:
    """Draw the timeline of a boot that said `ready`, `host_ms` after QEMU was started.

    `zones` is what a host said of its zones. Raises SproutError when the stamps run backwards.
    """
    if isinstance(ready, HostReady):
        phases, begin = host_phases(ready, zones), host_begin(ready)
    else:
        phases, begin = boot_phases(ready), 0
    return Timeline(
        image=image,
        arch=machine.arch,
        accelerator=machine.accelerator,
        tsc_hz=ready.hz,
        copied=ready.copied,
        phases=phases,
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
        zones=zone_times(zones, begin),
        begins="host kernel" if begin else "power-on",
    )


def _fit(text: str, columns: int) -> str:
    """Cut `text` to at most `columns` columns, visibly."""
    return text if len(text) <= columns else text[: max(columns - 1, 0)] + "…"


def write_json(target: Path, drawn: Timeline) -> None:
    """Write the timeline as JSON to `target`, whole or not at all."""
    write_file(target, drawn.json_text().encode())
