"""The phases of one measurement as a table for the terminal, without any judgement."""

from __future__ import annotations

from sprout.cost.figures import said
from sprout.cost.model import Measurement

_BAR = 20
_NAME = 15
_COLOURS = ("36", "32", "33", "35")  # one per phase, in turn: ECMA-48 section 8.3.117


def phase_table(measured: Measurement, *, columns: int = 80, colour: bool = False) -> str:
    """Give the table, at most `columns` wide (at least 72), ending with a newline.

    Instructions are exact; so are waits, in virtual ms; the host's ms inform only.
    """
    whole = sum(phase.instructions for phase in measured.phases)
    name = max(_NAME, *(len(said(phase.name)) + 1 for phase in measured.phases))
    bar = max(min(_BAR, columns - 45 - name), 8)
    rows = [f"{'phase':<{name}}{'instructions':>15}{'wait ms':>10}{'host ms':>10}{'share':>8}"]
    end = 0
    for index, phase in enumerate(measured.phases):
        first = end * bar // (whole or 1)
        end += phase.instructions
        drawn = "█" * max(end * bar // (whole or 1) - first, 1)
        drawn = " " * min(first, bar - 1) + _painted(drawn, index, colour)
        share = phase.instructions / (whole or 1)
        rows.append(
            f"{said(phase.name):<{name}}{phase.instructions:>15,}{phase.wait_ns / 1e6:>10,.3f}"
            f"{phase.wall_ms:>10,.1f}{share:>8.1%}  {drawn}"
        )
    waits = sum(phase.wait_ns for phase in measured.phases) / 1e6
    wall = sum(phase.wall_ms for phase in measured.phases)
    rows.append(f"{'sum':<{name}}{whole:>15,}{waits:>10,.3f}{wall:>10,.1f}")
    rows.append(f"{'emulator':<{name}}{measured.emulator_instructions:>15,}")
    rows += _zones(measured, columns)
    return "\n".join([*_title(measured, columns), *rows]) + "\n"


def _zones(measured: Measurement, columns: int) -> list[str]:
    """Give a row for each zone of a host, in the time that instructions take."""
    if not measured.zones:
        return []
    shift = measured.key.icount_shift
    head = ("zone", "create", "kernel", "init", "ready at")
    table: list[tuple[str, ...]] = [head]
    for zone in measured.zones:
        times = (zone.create, zone.kernel, zone.init, zone.ready)
        table.append((said(zone.name), *(f"{time >> shift:,}" for time in times)))
    widths = [max(map(len, column)) + 2 for column in zip(*table, strict=True)]
    name = max(min(widths[0], columns - sum(widths[1:])), 4)
    rows = [
        row[0][: name - 1].ljust(name)
        + "".join(f"{text:>{width}}" for text, width in zip(row[1:], widths[1:], strict=True))
        for row in table
    ]
    ready = [zone.ready >> shift for zone in measured.zones]
    return [
        "",
        f"zones, in the instructions that fit into each time ({1 << shift} ns each);",
        "ready at: since the stub's entry",
        *rows,
        f"first zone ready {min(ready):,}, last zone ready {max(ready):,}",
    ]


def _painted(text: str, index: int, colour: bool) -> str:
    return f"\x1b[{_COLOURS[index % len(_COLOURS)]}m{text}\x1b[0m" if colour else text


def _title(measured: Measurement, columns: int) -> list[str]:
    key = measured.key
    parts = (
        f"{said(measured.image)} ({said(key.arch)}, {measured.boot})",
        f"exact, QEMU {said(key.qemu)}",
        f"{said(key.machine)}, CPU {said(key.cpu)}",
        f"{key.memory_mib} MiB",
        said(key.firmware),
    )
    lines = [""]
    for part in parts:
        joined = f"{lines[-1]} · {part}" if lines[-1] else part
        if len(joined) <= columns:
            lines[-1] = joined
        else:
            lines.append(part[:columns])
    return lines
