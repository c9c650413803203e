"""The tables of the page, as text: figures against their limits, functions, initcalls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sprout.cost.drawing import clean, exact, milliseconds, share, short, unit_of_phase
from sprout.cost.figures import BYTES, INSTRUCTIONS, MEMORY, WAIT, Figure, improvement, tolerance
from sprout.cost.model import Measurement, Phase

MAX_ROWS = 40
_SIZES = {
    "kernel": "kernel file",
    "initramfs": "initramfs file",
    "image": "boot image file",
    "read": "read by the stub",
    "copied": "copied by the stub",
}


@dataclass(frozen=True)
class Limits:
    """What one measurement is held against, by figure (see `field_of`); it may lack either."""

    budget: Mapping[str, int] = field(default_factory=dict)
    baseline: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Held:
    """A figure beside its limits, as text; `tone` is "", "worse", "better" or "over"."""

    now: str
    budget: str
    use: str
    baseline: str
    change: str
    tone: str


@dataclass(frozen=True)
class Row:
    """A phase: what it executed and waited, and ms on the host."""

    name: str
    unit: str
    share: str
    held: Held
    waits: Held
    wall: str


@dataclass(frozen=True)
class Function:
    """A function or initcall; `bar` is its percentage of the biggest in its table."""

    name: str
    unit: str
    own: str
    own_share: str
    total: str
    calls: str
    bar: str


@dataclass(frozen=True)
class Functions:
    """The functions of a phase; `most` names the biggest."""

    phase: str
    unit: str
    count: str
    most: str
    left_out: int
    rows: tuple[Function, ...]


def field_of(figure: Figure) -> str:
    """Give a figure's name in limits: PHASE.instructions, PHASE.wait_ns, bytes.NAME, memory_kib."""
    if figure.kind == MEMORY:
        return MEMORY
    if figure.kind == BYTES:
        return f"{BYTES}.{figure.name}"
    return f"{figure.name}.{figure.kind}"


def phase_rows(measurement: Measurement, limits: Limits) -> tuple[Row, ...]:
    """Give a row per phase, in order."""
    whole = sum(phase.instructions for phase in measurement.phases)
    return tuple(
        Row(
            clean(phase.name),
            unit_of_phase(phase.name),
            share(phase.instructions, whole),
            _held(limits, Figure(INSTRUCTIONS, phase.name), phase.instructions),
            _held(limits, Figure(WAIT, phase.name), phase.wait_ns),
            f"{phase.wall_ms:,.0f}",
        )
        for phase in measurement.phases
    )


def sum_row(measurement: Measurement, limits: Limits) -> Row:
    """Give the row of the whole boot; it has a limit where every phase has one."""
    phases = measurement.phases
    return Row(
        "power-on to ready",
        "",
        "",
        _sum(limits, INSTRUCTIONS, phases, sum(phase.instructions for phase in phases)),
        _sum(limits, WAIT, phases, sum(phase.wait_ns for phase in phases)),
        f"{sum(phase.wall_ms for phase in phases):,.0f}",
    )


def size_rows(measurement: Measurement, limits: Limits) -> tuple[tuple[str, Held], ...]:
    """Give sizes and memory, each with its name for people."""
    sizes = [
        (_SIZES.get(name, clean(name)), _held(limits, Figure(BYTES, name), amount))
        for name, amount in sorted(measurement.bytes_of.items())
    ]
    memory = _held(limits, Figure(MEMORY, "memory"), measurement.memory_kib)
    return (*sizes, ("memory taken, KiB", memory))


def _sum(limits: Limits, kind: str, phases: Sequence[Phase], now: int) -> Held:
    figure, parts = Figure(kind, ""), [Figure(kind, phase.name) for phase in phases]
    return _held(
        Limits(_added(limits.budget, parts, figure), _added(limits.baseline, parts, figure)),
        figure,
        now,
    )


def _added(amounts: Mapping[str, int], parts: Sequence[Figure], figure: Figure) -> dict[str, int]:
    fields = [field_of(part) for part in parts]
    if not all(each in amounts for each in fields):
        return {}
    return {field_of(figure): sum(amounts[each] for each in fields)}


def _held(limits: Limits, figure: Figure, now: int) -> Held:
    budget, baseline = (each.get(field_of(figure)) for each in (limits.budget, limits.baseline))
    words = milliseconds if figure.kind == WAIT else exact
    change, tone = "", ""
    if baseline is not None and baseline != now:
        sign = "+" if now > baseline else "\N{MINUS SIGN}"
        by = abs(now - baseline)
        change = sign + (milliseconds(by) if figure.kind == WAIT else short(by))
        if baseline:
            change += f" ({sign}{100 * by / baseline:.1f}%)"
        if now > baseline + tolerance(figure, baseline):
            tone = "worse"
        elif by > improvement(baseline) and now < baseline:
            tone = "better"
    elif baseline is not None:
        change = "same"
    use = ""
    if budget is not None:
        use = f"{100 * now / budget:.0f}%" if budget else ("over" if now else "0%")
        if now > budget:
            tone = "over"
    return Held(
        words(now),
        words(budget) if budget is not None else "",
        use,
        words(baseline) if baseline is not None else "",
        change,
        tone,
    )


def initcall_rows(measurement: Measurement) -> tuple[tuple[Function, ...], int]:
    """Give the biggest initcalls, and how many are left out."""
    ranked = sorted(measurement.initcalls.items(), key=lambda item: (-item[1], item[0]))
    most = ranked[0][1] if ranked else 0
    rows = tuple(
        Function(clean(name), "kernel", "", "", exact(total), "", _percent(total, most))
        for name, total in ranked[:MAX_ROWS]
    )
    return rows, len(ranked) - len(rows)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "0"


def function_tables(measurement: Measurement) -> tuple[Functions, ...]:
    """Give a table for each phase that has functions: those with the most of their own."""
    tables = []
    for phase in measurement.phases:
        costs = measurement.functions.get(phase.name, {})
        ranked = sorted(costs.items(), key=lambda item: (-item[1].own, item[0]))
        if not ranked:
            continue
        most = ranked[0][1].own
        rows = []
        for full, cost in ranked[:MAX_ROWS]:
            unit, _, name = full.partition(":")
            rows.append(
                Function(
                    clean(name),
                    clean(unit),
                    exact(cost.own),
                    share(cost.own, phase.instructions),
                    exact(cost.total),
                    exact(cost.calls),
                    _percent(cost.own, most),
                )
            )
        tables.append(
            Functions(
                clean(phase.name),
                unit_of_phase(phase.name),
                exact(len(ranked)),
                f"{rows[0].name} {short(most)}",
                len(ranked) - len(rows),
                tuple(rows),
            )
        )
    return tuple(tables)
