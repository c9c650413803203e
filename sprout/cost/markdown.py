"""The report as Markdown for a pull request: what grew in the first line, then tables."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sprout.cost.figures import said
from sprout.cost.gate import Verdict
from sprout.cost.model import Measurement
from sprout.cost.rows import (
    PHASE_HEAD,
    SIZE_HEAD,
    Row,
    first_line,
    function_rows,
    initcall_rows,
    other_findings,
    phase_rows,
    size_rows,
    title,
)

_SPECIAL = re.compile(r"([\\<>&*_\[\]|~#@])")
_MARKS = {"worse": "**{}**", "over": "**{}**", "better": "_{}_"}


def report(verdicts: Sequence[Verdict]) -> str:
    """Give the whole report, ending with a newline."""
    lines = [f"**{escaped(first_line(verdicts))}**", ""]
    details, others = other_findings(verdicts)
    lines += [f"- {escaped(line)}" for line in details]
    for finding in others:
        lines.append(f"- {escaped(finding.headline)}")
        lines += [f"  - {escaped(line)}" for line in finding.details]
    for verdict in verdicts:
        lines += ["", *_figures(verdict)]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def functions_report(measurement: Measurement, phase: str | None, most: int) -> str:
    """Give a table of functions for each phase and unit, ending with a newline."""
    lines = [_heading(measurement)]
    for group in function_rows(measurement, phase, most):
        head = f"{said(group.phase)}: {said(group.unit)}, {group.instructions:,} instructions"
        lines += ["", f"#### {escaped(head)}", ""]
        lines += _table(
            ("function", "own", "total", "calls"),
            [(_code(n), f"{c.own:,}", f"{c.total:,}", f"{c.calls:,}") for n, c in group.rows],
        )
        if group.left_out:
            lines += ["", f"{group.left_out:,} more"]
    return "\n".join(lines) + "\n"


def initcalls_report(measurement: Measurement, most: int) -> str:
    """Give a table of initcalls, ending with a newline."""
    rows, left_out = initcall_rows(measurement, most)
    lines = [_heading(measurement), ""]
    lines += _table(("initcall", "instructions"), [(_code(n), f"{value:,}") for n, value in rows])
    if left_out:
        lines += ["", f"{left_out:,} more"]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Escape what Markdown would act on, outside of what stands between back quotes."""
    parts = text.split("`")
    for index in range(0, len(parts), 2):
        parts[index] = _SPECIAL.sub(r"\\\1", parts[index])
    return "`".join(parts)


def _figures(verdict: Verdict) -> list[str]:
    against = f"Change: against {verdict.against}." if verdict.against else "Nothing to compare."
    return [
        _heading(verdict.measurement),
        "",
        escaped(" · ".join(title(verdict.measurement)[1:])) + f". {escaped(against)}",
        "",
        *_table(PHASE_HEAD, [_marked(row) for row in phase_rows(verdict)]),
        "",
        *_table(SIZE_HEAD, [_marked(row) for row in size_rows(verdict)]),
    ]


def _heading(measurement: Measurement) -> str:
    return f"### {escaped(title(measurement)[0])}"


def _marked(row: Row) -> tuple[str, ...]:
    mark = _MARKS.get(row.state, "{}")
    name, *rest = (escaped(cell) for cell in row.cells)
    return (mark.format(name), *(mark.format(cell) if cell else "" for cell in rest))


def _code(name: str) -> str:
    # A bar ends a table's cell even between back quotes, unless it is escaped (GFM section 4.10).
    return f"`{said(name)}`".replace("|", "\\|")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Give a table's lines, without the columns that are empty in every row."""
    used = [n for n in range(len(head)) if head[n] or any(row[n] for row in rows)]
    lines = [_line([head[n] for n in used])]
    lines.append(_line(["---", *["---:"] * (len(used) - 1)]))
    return lines + [_line([row[n] for n in used]) for row in rows]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
