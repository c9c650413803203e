"""The timeline as a picture: phases side by side, as long as their instructions and waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sprout.cost.drawing import (
    axis,
    clean,
    exact,
    fit,
    heading,
    markup,
    milliseconds,
    px,
    share,
    short,
    style,
    text_width,
    unit_of_phase,
)
from sprout.cost.model import Measurement, Phase
from sprout.cost.svg_zones import zone_rows

_SCOPE = "timeline"
_MARGIN = 14.0
_BAR = 46.0
_ROW = 18.0
_AXIS = 20.0
_HATCH = 6.0
_TITLE_SIZE = 15.0
_SLIVER = 1.0


@dataclass(frozen=True)
class _Bar:
    """One phase: from `left` to `right` px, the part from `idle` on was waited."""

    phase: Phase
    left: float
    idle: float
    right: float

    def middle(self) -> float:
        return (self.left + self.right) / 2


def timeline_svg(measurement: Measurement, *, width: int = 1000) -> str:
    """Draw the phases of a boot, in order, as one SVG document `width` px wide (at least 320).

    A phase is as long as the instructions it executed and those it could have executed while it
    waited; waits are hatched. What is too narrow for its words gets them at the end of a line.
    The same figures give the same bytes; the host's clock is not among them.
    """
    inner = width - 2 * _MARGIN
    phases = measurement.phases
    whole = sum(phase.instructions for phase in phases)
    shift = measurement.key.icount_shift
    bars = _bars(phases, shift, inner)
    outside = [bar for bar in bars if not _inside(bar, whole)]
    # Lines go up from bars in the left half and down from the others, each set ordered so that
    # no line passes through a text.
    above = [bar for bar in outside if bar.middle() < inner / 2]
    below = [bar for bar in outside if bar.middle() >= inner / 2]
    head = _title(measurement, whole, inner)
    top = 22.0 * len(head) + 4
    bar_top = top + _ROW * len(above) + _AXIS
    parts = [*head]
    for row, bar in enumerate(above):
        parts += _leader(bar, bar_top, top + _ROW * row + 11, whole, inner)
    parts += [
        *axis(sum(_length(p, shift) for p in phases), 0, bar_top - 17, inner, most=_ticks(inner)),
    ]
    for bar in bars:
        parts += _draw(bar, bar_top, whole)
    bottom = bar_top + _BAR + 6
    for row, bar in enumerate(below):
        parts += _leader(bar, bar_top + _BAR, bottom + _ROW * row + 15, whole, inner)
    bottom += _ROW * len(below) + 8
    if any(phase.wait_ns for phase in phases):
        parts += _legend(shift, bottom, inner)
        bottom += 20
    rows, rows_height = zone_rows(measurement, bottom + 4, inner)
    parts += rows
    bottom += rows_height
    height = px(bottom + 2 * _MARGIN)
    name = markup(clean(measurement.image))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{_SCOPE}" role="img" '
        f'aria-label="Timeline of the boot of {name}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">{style(_SCOPE)}'
        f'<rect class="paper" width="{width}" height="{height}"/>'
        f'<g transform="translate({px(_MARGIN)} {px(_MARGIN)})">'
        + "\n".join(parts)
        + "</g></svg>\n"
    )


def _length(phase: Phase, shift: int) -> int:
    """Give how long a phase was, in instructions: a wait lasts as long as those it takes up."""
    return phase.instructions + (phase.wait_ns >> shift)


def _ticks(width: float) -> int:
    return max(int(width / 110), 2)


def _bars(phases: Sequence[Phase], shift: int, width: float) -> list[_Bar]:
    whole = sum(_length(phase, shift) for phase in phases) or 1
    bars, passed = [], 0
    for phase in phases:
        left = width * passed / whole
        idle = width * (passed + phase.instructions) / whole
        passed += _length(phase, shift)
        right = width * passed / whole
        if right - left < _SLIVER:  # it still has to be seen, without leaving the picture
            left = min(left, width - _SLIVER)
            right = idle = left + _SLIVER
        bars.append(_Bar(phase, left, idle, right))
    return bars


def _texts(phase: Phase, whole: int) -> list[str]:
    """Give what a label says, from the fullest wording to the shortest."""
    name, part = clean(phase.name), share(phase.instructions, whole)
    waits = f" + {milliseconds(phase.wait_ns)} waits" if phase.wait_ns else ""
    return [
        f"{name} {exact(phase.instructions)} · {part}{waits}",
        f"{name} {short(phase.instructions)} · {part}{waits}",
        f"{name} {short(phase.instructions)} · {part}",
        f"{name} {part}",
    ]


def _lines(phase: Phase, whole: int) -> list[str]:
    """Give what stands inside a bar, line by line."""
    lines = [clean(phase.name), f"{exact(phase.instructions)} · {share(phase.instructions, whole)}"]
    if phase.wait_ns:
        lines.append(f"+ {milliseconds(phase.wait_ns)} waits")
    return lines


def _inside(bar: _Bar, whole: int) -> bool:
    room = bar.idle - bar.left  # a text on a hatched ground is hard to read
    return all(fit(line, room) == line for line in _lines(bar.phase, whole))


def _draw(bar: _Bar, top: float, whole: int) -> list[str]:
    phase, unit = bar.phase, unit_of_phase(bar.phase.name)
    tip = f"{clean(phase.name)}\n{exact(phase.instructions)} instructions"
    if phase.wait_ns:
        tip += f"\n{milliseconds(phase.wait_ns)} waits ({exact(phase.wait_ns)} ns)"
    parts = [
        f'<g class="box {unit}"><title>{markup(tip)}</title>'
        f'<rect x="{px(bar.left)}" y="{px(top)}" width="{px(bar.right - bar.left)}" '
        f'height="{px(_BAR)}"/>'
    ]
    if bar.right > bar.idle:
        parts.append(
            f'<path class="hatch" d="{_hatch(bar.idle, top, bar.right - bar.idle, _BAR)}"/>'
        )
    if _inside(bar, whole):
        lines = _lines(phase, whole)
        first = top + _BAR / 2 + 4 - 6.5 * (len(lines) - 1)
        parts += [
            f"<text{' class=' + chr(34) + 'bold' + chr(34) if row == 0 else ''} "
            f'x="{px(bar.left + 4)}" y="{px(first + 13 * row)}">{markup(line)}</text>'
            for row, line in enumerate(lines)
        ]
    return [*parts, "</g>"]


def _hatch(left: float, top: float, width: float, height: float) -> str:
    """Draw lines at 45 degrees, cut at the edges: a pattern would need a name of its own."""
    steps = []
    reach = _HATCH / 2
    while reach < width + height:
        x1, y1 = (reach, 0.0) if reach <= width else (width, reach - width)
        x2, y2 = (0.0, reach) if reach <= height else (reach - height, height)
        steps.append(f"M{px(left + x1)} {px(top + y1)}L{px(left + x2)} {px(top + y2)}")
        reach += _HATCH
    return "".join(steps)


def _leader(bar: _Bar, start: float, baseline: float, whole: int, width: float) -> list[str]:
    """Draw a line from a bar's edge to its words: right of it in the left half, else left."""
    x, level = bar.middle(), baseline - 4
    leftwards = x >= width / 2
    room = (x if leftwards else width - x) - 14
    texts = _texts(bar.phase, whole)
    text = next((text for text in texts if text_width(text) <= room), fit(texts[-1], room))
    end = x - 10 if leftwards else x + 10
    anchor, at = ("end", end - 4) if leftwards else ("start", end + 4)
    return [
        f'<path class="line" d="M{px(x)} {px(start)}V{px(level)}H{px(end)}"/>',
        f'<text class="ink" text-anchor="{anchor}" x="{px(at)}" y="{px(baseline)}">'
        f"{markup(text)}</text>",
    ]


def _legend(shift: int, top: float, width: float) -> list[str]:
    text = f"waits; 1 ms = {exact(1_000_000 >> shift)} instructions"
    return [
        f'<g class="box other"><rect x="0.5" y="{px(top)}" width="22" height="12"/>'
        f'<path class="hatch" d="{_hatch(0.5, top, 22, 12)}"/></g>'
        f'<text class="dim" x="30" y="{px(top + 10)}">{markup(fit(text, width - 30))}</text>'
    ]


def _title(measurement: Measurement, whole: int, width: float) -> list[str]:
    words = [f"{exact(whole)} instructions", "power-on to ready"]
    waits = sum(phase.wait_ns for phase in measurement.phases)
    if waits:
        words.insert(1, f"{milliseconds(waits)} waits")
    name = fit(heading(measurement), width, _TITLE_SIZE)
    left = text_width(name, _TITLE_SIZE) + 14
    text = " · ".join(words)
    title = f'<text class="ink big bold" x="0" y="14">{markup(name)}</text>'
    if left + text_width(text) + 6 <= width:
        return [
            title + f'<text class="dim" x="{px(left)}" y="14">{markup(text)}</text>',
        ]
    while len(words) > 1 and text_width(text) + 6 > width:
        words.pop()
        text = " · ".join(words)
    return [title, f'<text class="dim" x="0" y="34">{markup(fit(text, width))}</text>']
