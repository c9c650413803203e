"""What terminal and Markdown reports have in common: the verdict's words, and rows of cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from sprout.cost.compare import Change
from sprout.cost.figures import BYTES, INSTRUCTIONS, MEMORY, WAIT, Figure, amount, figures, said
from sprout.cost.gate import Finding, Verdict, ordered
from sprout.cost.model import Cost, Measurement

NOTHING = "-"


@dataclass(frozen=True)
class Row:
    """One row's cells; `state` is "worse", "better", "over" (its budget) or ""."""

    cells: tuple[str, ...]
    state: str = ""
    used: float | None = None


@dataclass(frozen=True)
class FunctionRows:
    """The dearest functions of one unit in one phase; `left_out` counts the others."""

    phase: str
    unit: str
    instructions: int
    rows: tuple[tuple[str, Cost], ...]
    left_out: int


PHASE_HEAD = ("phase", "instructions", "change", "waits", "wall ms", "budget")
SIZE_HEAD = ("size", "amount", "change", "unit", "", "budget")


def first_line(verdicts: Sequence[Verdict]) -> str:
    """Give the line that a report begins with: what grew, or that nothing did."""
    findings = ordered(verdicts)
    if findings:
        return findings[0].headline
    if not verdicts:
        return "nothing was measured"
    names = ", ".join(
        f"{said(image)} ({' and '.join(verdict.measurement.boot for verdict in group)})"
        for image, group in groupby(verdicts, lambda verdict: verdict.measurement.image)
    )
    against = ", ".join(dict.fromkeys(verdict.against for verdict in verdicts))
    same = not any(change.delta for verdict in verdicts for change in verdict.changes)
    how = f"equal to {against}" if same else f"and no more than {against} by what counts"
    return f"nothing grew: {names} within budget, {how}"


def other_findings(verdicts: Sequence[Verdict]) -> tuple[tuple[str, ...], list[Finding]]:
    """Give the first finding's details, and the findings after it."""
    findings = ordered(verdicts)
    return (findings[0].details, findings[1:]) if findings else ((), [])


def title(measurement: Measurement) -> tuple[str, ...]:
    """Give the parts of a measurement's title: image, machine, firmware."""
    key = measurement.key
    return (
        f"{said(measurement.image)} ({measurement.boot})",
        f"{said(key.arch)}, QEMU {said(key.qemu)}",
        f"{said(key.machine)}, CPU {said(key.cpu)}",
        f"{key.memory_mib} MiB",
        said(key.firmware),
    )


def phase_rows(verdict: Verdict) -> list[Row]:
    """Give a row per phase, and their sum: name, instructions, change, waits, wall ms, budget."""
    changes = {change.figure: change for change in verdict.changes}
    rows = []
    for phase in verdict.measurement.phases:
        counted, waited = Figure(INSTRUCTIONS, phase.name), Figure(WAIT, phase.name)
        used = max(
            (_used(verdict, counted, phase.instructions), _used(verdict, waited, phase.wait_ns)),
            key=lambda share: -1 if share is None else share,
        )
        cells = (
            said(phase.name),
            f"{phase.instructions:,}",
            _changed(changes.get(counted)),
            amount(WAIT, phase.wait_ns) if phase.wait_ns else "0",
            f"{phase.wall_ms:,.1f}",
            percent(used),
        )
        rows.append(Row(cells, _state(used, changes.get(counted), changes.get(waited)), used))
    return [*rows, _sum_row(verdict, changes)]


def _sum_row(verdict: Verdict, changes: Mapping[Figure, Change]) -> Row:
    phases = verdict.measurement.phases
    deltas = [change.delta for figure, change in changes.items() if figure.kind == INSTRUCTIONS]
    waits = sum(phase.wait_ns for phase in phases)
    cells = (
        "all",
        f"{sum(phase.instructions for phase in phases):,}",
        _delta(INSTRUCTIONS, sum(deltas)) if changes else NOTHING,
        amount(WAIT, waits) if waits else "0",
        f"{sum(phase.wall_ms for phase in phases):,.1f}",
        "",
    )
    return Row(cells)


def size_rows(verdict: Verdict) -> list[Row]:
    """Give a row per size and one for memory, with as many cells as a phase has."""
    changes = {change.figure: change for change in verdict.changes}
    rows = []
    for figure, value in figures(verdict.measurement).items():
        if figure.kind not in (BYTES, MEMORY):
            continue
        used, change = _used(verdict, figure, value), changes.get(figure)
        unit = "bytes" if figure.kind == BYTES else "KiB"
        cells = (said(figure.name), f"{value:,}", _changed(change), unit, "", percent(used))
        rows.append(Row(cells, _state(used, change), used))
    return rows


def _used(verdict: Verdict, figure: Figure, value: int) -> float | None:
    """Give which part of its budget a figure uses, None without a budget."""
    limit = verdict.budget.limits.get(figure) if verdict.budget is not None else None
    if limit is None:
        return None
    if limit == 0:
        return 0.0 if value == 0 else float("inf")
    return value / limit


def percent(share: float | None) -> str:
    """Give a part of a budget for people; what is over it never rounds to 100 %."""
    if share is None:
        return NOTHING
    if share > 10:
        return "over"
    return ">100%" if 1 < share < 1.01 else f"{share:.0%}"


def _state(used: float | None, *changes: Change | None) -> str:
    if used is not None and used > 1:
        return "over"
    for change in changes:
        if change is not None and change.grew:
            return "worse"
    return "better" if any(change is not None and change.improved for change in changes) else ""


def _changed(change: Change | None) -> str:
    if change is None:
        return NOTHING
    if change.before is None:
        return "new"
    return _delta(change.figure.kind, change.delta)


def _delta(kind: str, delta: int) -> str:
    if delta == 0:
        return "="
    return amount(kind, delta, sign=True).removesuffix(" bytes").removesuffix(" KiB")


def function_rows(measurement: Measurement, phase: str | None, most: int) -> list[FunctionRows]:
    """Give the functions by phase and unit, those with the most instructions of their own first.

    `phase` leaves out the others; `most` bounds the rows of each.
    """
    found = []
    for name in [p.name for p in measurement.phases if phase in (None, p.name)]:
        units: dict[str, list[tuple[str, Cost]]] = {}
        for key, cost in measurement.functions.get(name, {}).items():
            unit, _, function = key.partition(":")
            units.setdefault(unit, []).append((function, cost))
        sums = {unit: sum(cost.own for _, cost in rows) for unit, rows in units.items()}
        for unit in sorted(units, key=lambda unit: (-sums[unit], unit)):
            if sums[unit] == 0:  # only callers from an earlier phase
                continue
            rows = sorted(units[unit], key=lambda row: (-row[1].own, -row[1].total, row[0]))
            kept = tuple(rows[:most])
            found.append(FunctionRows(name, unit, sums[unit], kept, len(rows) - len(kept)))
    return found


def initcall_rows(measurement: Measurement, most: int) -> tuple[list[tuple[str, int]], int]:
    """Give the dearest initcalls with their instructions, and how many are left out."""
    rows = sorted(measurement.initcalls.items(), key=lambda row: (-row[1], row[0]))
    return rows[:most], max(len(rows) - most, 0)
