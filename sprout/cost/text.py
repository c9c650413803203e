"""The report for a terminal: what grew in the first line, then the figures, at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from sprout.cost.figures import said
from sprout.cost.gate import Verdict
from sprout.cost.model import Measurement
from sprout.cost.rows import (
    PHASE_HEAD,
    SIZE_HEAD,
    FunctionRows,
    Row,
    first_line,
    function_rows,
    initcall_rows,
    other_findings,
    phase_rows,
    size_rows,
    title,
)

COLUMNS = 80
_WIDTHS = (13, 15, 12, 10, 10, 8)  # and a bar of _BAR behind a space
_BAR = COLUMNS - sum(_WIDTHS) - 1
_RED, _YELLOW, _GREEN, _BOLD, _DIM, _PLAIN = (
    "\x1b[31m",
    "\x1b[33m",
    "\x1b[32m",
    "\x1b[1m",
    "\x1b[2m",
    "\x1b[0m",
)
_STATES = {"worse": _RED, "over": _RED, "better": _YELLOW}


def report(verdicts: Sequence[Verdict], *, colour: bool = False) -> str:
    """Give the whole report, ending with a newline; colours are for terminals only."""
    failed = any(verdict.findings for verdict in verdicts) or not verdicts
    lines = [
        _paint(line, (_RED if failed else _GREEN) + _BOLD, colour)
        for line in _wrapped(first_line(verdicts), "", "  ")
    ]
    details, others = other_findings(verdicts)
    lines += _indented(details)
    for finding in others:
        lines += _wrapped(finding.headline, "", "  ")
        lines += _indented(finding.details)
    for verdict in verdicts:
        lines += ["", *_figures(verdict, colour)]
    return "\n".join(lines) + "\n"


def functions_report(
    measurement: Measurement, phase: str | None, most: int, *, colour: bool = False
) -> str:
    """Give a table of functions for each phase and unit, ending with a newline."""
    lines = _title(measurement, colour)
    for group in function_rows(measurement, phase, most):
        lines += ["", *_functions(group, colour)]
    return "\n".join(lines) + "\n"


def initcalls_report(measurement: Measurement, most: int, *, colour: bool = False) -> str:
    """Give a table of initcalls, ending with a newline."""
    rows, left_out = initcall_rows(measurement, most)
    whole = sum(measurement.initcalls.values())
    head = f"{len(measurement.initcalls)} initcalls, {whole:,} instructions"
    lines = [*_title(measurement, colour), "", _paint(head, _BOLD, colour)]
    lines.append(f"{'instructions':>15}{'share':>8}  initcall")
    lines += [
        f"{_count(value, 15)}{value / (whole or 1):>8.1%}  {_fit(name, 55)}".rstrip()
        for name, value in rows
    ]
    if left_out:
        lines.append(f"{'':>25}{left_out} more")
    return "\n".join(lines) + "\n"


def _figures(verdict: Verdict, colour: bool) -> list[str]:
    against = (
        f"change: against {said(verdict.against)}" if verdict.against else "nothing to compare"
    )
    lines = [*_title(verdict.measurement, colour), _paint(against, _DIM, colour)]
    lines.append(_paint(_cells(PHASE_HEAD), _BOLD, colour))
    *phases, whole = phase_rows(verdict)
    lines += [_row(row, colour) for row in phases]
    lines.append(_paint(_cells(whole.cells), _BOLD, colour))
    lines += ["", _paint(_cells(SIZE_HEAD), _BOLD, colour)]
    lines += [_row(row, colour) for row in size_rows(verdict)]
    return lines


def _title(measurement: Measurement, colour: bool) -> list[str]:
    lines = [""]
    for part in title(measurement):
        joined = f"{lines[-1]} · {part}" if lines[-1] else part
        if len(joined) <= COLUMNS:
            lines[-1] = joined
        else:
            lines.append(part[:COLUMNS])
    return [_paint(lines[0], _BOLD, colour), *lines[1:]]


def _row(row: Row, colour: bool) -> str:
    text = _cells(row.cells)
    if row.used is not None:
        text = f"{text} {_bar(row.used)}".rstrip()
    return _paint(text, _STATES[row.state], colour) if row.state else text


def _cells(cells: Sequence[str]) -> str:
    first, *rest = cells
    text = f"{_fit(first, _WIDTHS[0]):<{_WIDTHS[0]}}"
    for cell, width in zip(rest, _WIDTHS[1:], strict=True):
        text += f"{_fit(cell, width - 1):>{width}}"
    return text.rstrip()


def _bar(used: float) -> str:
    """Draw how much of a budget is used; a full bar is for what is over it."""
    filled = _BAR if used > 1 else min(int(used * _BAR + 0.5), _BAR - 1)
    return "█" * filled + "░" * (_BAR - filled)


def _functions(group: FunctionRows, colour: bool) -> list[str]:
    head = f"{said(group.phase)}: {said(group.unit)}, {group.instructions:,} instructions"
    lines = [_paint(line, _BOLD, colour) for line in _wrapped(head, "", "  ")]
    lines.append(f"{'own':>15}{'total':>15}{'calls':>12}  function")
    for name, cost in group.rows:
        row = f"{_count(cost.own, 15)}{_count(cost.total, 15)}{_count(cost.calls, 12)}"
        lines.append(f"{row}  {_fit(name, 36)}".rstrip())
    if group.left_out:
        lines.append(f"{'':>44}{group.left_out:,} more")
    return lines


def _count(value: int, width: int) -> str:
    """Give a number of at most `width` columns, a space before it included."""
    return f"{_fit(f'{value:,}', width - 1):>{width}}"


def _fit(text: str, width: int) -> str:
    text = said(text)
    return text if len(text) <= width else text[: width - 1] + "…"


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        COLUMNS,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
    )


def _indented(lines: Sequence[str]) -> list[str]:
    return [part for line in lines for part in _wrapped(line, "  ", "    ")]


def _paint(text: str, code: str, colour: bool) -> str:
    return f"{code}{text}{_PLAIN}" if colour else text
