"""The report as one HTML file that needs nothing else: no network, no fonts, no other file.

Names in it come from programs and commits, so the template escapes everything but our own
pictures, and a Content-Security-Policy lets no script run but the one that belongs here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sprout.cost.drawing import (
    COLOURS,
    axis,
    clean,
    exact,
    heading,
    markup,
    milliseconds,
    px,
    share,
)
from sprout.cost.history import History, Revision
from sprout.cost.icicle import PhaseIcicle, draw_boxes, phase_icicles
from sprout.cost.model import Measurement
from sprout.cost.page_tables import (
    Function,
    Functions,
    Held,
    Limits,
    Row,
    function_tables,
    initcall_rows,
    phase_rows,
    size_rows,
    sum_row,
)
from sprout.cost.svg_timeline import timeline_svg
from sprout.cost.trend import points, trend_svg

if TYPE_CHECKING:
    from markupsafe import Markup

_ICICLE_WIDTH = 1100
_ICICLE_NARROWEST = 0.8
_ICICLE_BYTES = 800_000
_WIDE, _NARROW = 1100, 344
_HERE = Path(__file__).parent
_NO_HISTORY = History(())


@dataclass(frozen=True)
class _Picture:
    name: str
    words: str
    total: int
    svg: Markup | None


@dataclass(frozen=True)
class _Part:
    """One measurement as the template needs it."""

    title: str
    machine: tuple[tuple[str, str], ...]
    timelines: tuple[tuple[str, Markup], ...]
    rows: tuple[Row, ...]
    sum: Row
    sizes: tuple[tuple[str, Held], ...]
    pictures: tuple[_Picture, ...]
    functions: tuple[Functions, ...]
    initcalls: tuple[Function, ...]
    initcalls_left_out: int
    trends: tuple[Markup, ...]
    history: History


def page(
    measurements: Sequence[Measurement],
    verdicts: Sequence[str],
    history: Mapping[str, History],
    *,
    limits: Mapping[tuple[str, str], Limits] | None = None,
) -> str:
    """Give the report on `measurements` as one HTML document.

    `verdicts` is what the gate found, one line each, worst first: none is a pass. `history` is
    each image's baseline over time, `limits` the budgets and baseline figures by (image, boot).
    The same arguments give the same bytes.
    """
    # Imported late: the command line must start without it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415
    from markupsafe import Markup  # noqa: PLC0415

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    script = (_HERE / "page.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    fills = "".join(f".{unit}{{fill:{fill};background:{fill}}}" for unit, fill in COLOURS.items())
    names = dict.fromkeys(clean(measurement.image) for measurement in measurements)
    return environment.get_template("page.html.j2").render(
        images=", ".join(names),
        verdicts=[_line(verdict) for verdict in verdicts],
        parts=[
            _part(
                measurement,
                history.get(measurement.image, _NO_HISTORY),
                (limits or {}).get((measurement.image, measurement.boot), Limits()),
            )
            for measurement in measurements
        ],
        css=Markup(fills + (_HERE / "page.css").read_text()),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704
        script_digest=digest,
    )


def _line(text: str) -> str:
    """Give a line for people: the control characters in it escaped, its letters left alone."""
    return "".join(char if char.isprintable() else clean(char) for char in text[:1000])


def _shown(revision: Revision) -> Revision:
    """Give a revision as it may be shown: a commit's words may hold what turns a line around."""
    return replace(
        revision,
        subject=_line(revision.subject),
        problem=_line(revision.problem),
        records=tuple(replace(one, reason=_line(one.reason)) for one in revision.records),
    )


def _svg(text: str) -> Markup:
    from markupsafe import Markup  # noqa: PLC0415

    return Markup(text)  # noqa: S704 - drawn by us, names in it escaped


def _part(measurement: Measurement, history: History, limits: Limits) -> _Part:
    key = measurement.key
    initcalls, left_out = initcall_rows(measurement)
    trends = points(history, measurement) if history.revisions else {}
    return _Part(
        title=heading(measurement),
        machine=(
            ("QEMU", clean(key.qemu)),
            ("machine", clean(f"{key.machine}, {key.cpu} CPU, {key.memory_mib} MiB")),
            ("firmware", clean(f"{key.firmware} ({key.firmware_sha256[:12]})")),
            ("toolchain", clean(key.toolchain[:12])),
            ("QEMU's own count", f"{exact(measurement.emulator_instructions)} instructions"),
        ),
        timelines=tuple(
            (kind, _svg(timeline_svg(measurement, width=width)))
            for kind, width in (("wide", _WIDE), ("narrow", _NARROW))
        ),
        rows=phase_rows(measurement, limits),
        sum=sum_row(measurement, limits),
        sizes=size_rows(measurement, limits),
        pictures=tuple(
            _picture(each, measurement)
            for each in phase_icicles(
                measurement,
                width=_ICICLE_WIDTH,
                narrowest=_ICICLE_NARROWEST,
                max_bytes=_ICICLE_BYTES,
            )
        ),
        functions=function_tables(measurement),
        initcalls=initcalls,
        initcalls_left_out=left_out,
        trends=tuple(_svg(trend_svg(phase, line)) for phase, line in trends.items()),
        history=History(tuple(map(_shown, reversed(history.revisions))), history.cut),
    )


def _picture(each: PhaseIcicle, measurement: Measurement) -> _Picture:
    phase = each.phase
    whole = sum(phase.instructions for phase in measurement.phases)
    words = f"{exact(phase.instructions)} instructions · {share(phase.instructions, whole)}"
    if phase.wait_ns:
        words += f" · {milliseconds(phase.wait_ns)} waits"
    if not each.total:
        return _Picture(clean(phase.name), words, 0, None)
    height = px(each.height())
    scale = "".join(axis(each.total, 0, 0, _ICICLE_WIDTH))
    return _Picture(
        clean(phase.name),
        words,
        each.total,
        _svg(
            f'<svg class="axis" viewBox="0 0 {_ICICLE_WIDTH} 16" aria-hidden="true">{scale}</svg>'
            f'<svg class="icicle" viewBox="0 0 {_ICICLE_WIDTH} {height}" role="img" '
            f'aria-label="Icicle of {markup(clean(phase.name))}">'
            + "\n".join(draw_boxes(each.boxes, each.total, _ICICLE_WIDTH))
            + "</svg>"
        ),
    )
