"""The icicle picture: where the instructions of a boot went, function below function.

The phases differ by three orders of magnitude, so each one has its own icicle over the whole
width, with its own scale; a strip above shows the phases to one scale.
"""

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
    unit_of_phase,
)
from sprout.cost.model import Frame, Measurement, Phase

MAX_BOXES = 4000
MAX_BYTES = 1_000_000
MAX_DEPTH = 48
ROW = 17.0
_MARGIN = 14.0
_NARROWEST = 3.0
_SCOPE = "icicle"


@dataclass(frozen=True)
class Box:
    """One frame as drawn: where it begins and how much it holds, in instructions.

    `unit` is a key of COLOURS or "other"; `tip` what a tooltip says, the name in its first line.
    """

    depth: int
    start: int
    amount: int
    unit: str
    name: str
    tip: str


@dataclass(frozen=True)
class PhaseIcicle:
    """One phase's boxes, its root first; `total` instructions are as wide as the picture."""

    phase: Phase
    total: int
    boxes: tuple[Box, ...]

    def height(self) -> float:
        """Give the height of the boxes in px."""
        return ROW * (1 + max((box.depth for box in self.boxes), default=-1))


@dataclass(frozen=True)
class _Whole:
    """What shares are of: a phase, its instructions, and those of the whole boot."""

    phase: str
    total: int
    boot: int


def icicle(measurement: Measurement, *, width: int = 1200) -> str:
    """Draw the whole boot as one SVG document, `width` px wide.

    It has at most MAX_BOXES boxes and MAX_BYTES bytes: what is too narrow is merged, the more the
    bigger the picture would be. The same measurement gives the same bytes.
    """
    inner = width - 2 * _MARGIN
    whole = sum(phase.instructions for phase in measurement.phases)
    phases = phase_icicles(measurement, width=inner, narrowest=_NARROWEST)
    top = _MARGIN
    parts: list[str] = []
    for drawn, height in (
        (_title(measurement, whole, inner), 42.0),
        (_legend(measurement.phases, inner), 26.0),
        (_strip(measurement.phases, whole, inner), 56.0),
    ):
        parts += [f'<g transform="translate({px(_MARGIN)} {px(top)})">', *drawn, "</g>"]
        top += height
    for each in phases:
        parts += [f'<g transform="translate({px(_MARGIN)} {px(top)})">']
        parts += _section(each, whole, inner)
        parts += ["</g>"]
        top += 56.0 + each.height()
    height = top + _MARGIN - 14
    name = markup(clean(measurement.image))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{_SCOPE}" role="img" '
        f'aria-label="Icicle of the boot of {name}" width="{width}" height="{px(height)}" '
        f'viewBox="0 0 {width} {px(height)}">{style(_SCOPE)}'
        f'<rect class="paper" width="{width}" height="{px(height)}"/>'
        + "\n".join(parts)
        + "</svg>\n"
    )


def phase_icicles(
    measurement: Measurement, *, width: float, narrowest: float, max_bytes: int = MAX_BYTES
) -> tuple[PhaseIcicle, ...]:
    """Give the boxes of each phase for a picture `width` px wide.

    Frames narrower than `narrowest` px are merged into one box of their caller; the limit is
    raised until the boxes of all phases are at most MAX_BOXES and, drawn, `max_bytes` bytes.
    """
    whole = sum(phase.instructions for phase in measurement.phases)
    totals: dict[int, int] = {}
    for frame in measurement.frames.values():
        _sum(frame, totals)
    while True:
        found = tuple(
            _phase(phase, measurement.frames.get(phase.name), totals, whole, narrowest / width)
            for phase in measurement.phases
        )
        count = sum(len(each.boxes) for each in found)
        # 90 % because title, legend and headers need room too.
        if count <= MAX_BOXES and _size(found, width) <= max_bytes * 0.9:
            return found
        if narrowest > width:  # nothing but one box a level is left
            return tuple(PhaseIcicle(each.phase, each.total, each.boxes[:1]) for each in found)
        narrowest *= 1.5


def draw_boxes(boxes: Sequence[Box], total: int, width: float) -> list[str]:
    """Draw boxes as SVG groups, the first level at y = 0, `total` instructions `width` px wide."""
    parts = []
    for box in boxes:
        x, y, wide = width * box.start / total, ROW * box.depth, width * box.amount / total
        text = fit(box.name, wide)
        shown = f'<text x="{px(x + 3)}" y="{px(y + 12.5)}">{markup(text)}</text>' if text else ""
        parts.append(
            f'<g class="box {box.unit}"><title>{markup(box.tip)}</title>'
            f'<rect x="{px(x)}" y="{px(y)}" width="{px(wide)}" height="{px(ROW)}"/>{shown}</g>'
        )
    return parts


def _size(phases: Sequence[PhaseIcicle], width: float) -> int:
    return sum(
        len(part.encode()) + 1
        for each in phases
        if each.total
        for part in draw_boxes(each.boxes, each.total, width)
    )


def _sum(root: Frame, totals: dict[int, int]) -> None:
    """Remember the total of every frame below `root`, by identity: callees before callers."""
    order, pending = [], [root]
    while pending:
        frame = pending.pop()
        order.append(frame)
        pending.extend(frame.children.values())
    for frame in reversed(order):
        totals[id(frame)] = frame.own + sum(totals[id(c)] for c in frame.children.values())


def _phase(
    phase: Phase, root: Frame | None, totals: dict[int, int], whole: int, narrowest: float
) -> PhaseIcicle:
    total = totals[id(root)] if root is not None else 0
    if root is None or total <= 0:
        return PhaseIcicle(phase, 0, ())
    least = max(narrowest * total, 1.0)
    of = _Whole(phase.name, total, whole)
    boxes: list[Box] = []
    pending = [(root, 0, 0)]
    while pending and len(boxes) <= MAX_BOXES:  # beyond it, the caller tries a higher limit
        frame, start, depth = pending.pop()
        boxes.append(_box(frame, totals[id(frame)], start, depth, of))
        children = sorted(frame.children.values(), key=lambda c: (-totals[id(c)], c.unit, c.name))
        deepest = depth + 1 >= MAX_DEPTH - 1
        wide = [] if deepest else [child for child in children if totals[id(child)] >= least]
        begin, below = start, []
        for child in wide:
            below.append((child, begin, depth + 1))
            begin += totals[id(child)]
        pending.extend(reversed(below))
        rest = [child for child in children[len(wide) :] if totals[id(child)]]
        amount = sum(totals[id(child)] for child in rest)
        if amount >= least:
            boxes.append(_others(rest, amount, begin, depth + 1, of))
    return PhaseIcicle(phase, total, tuple(boxes))


def _box(frame: Frame, amount: int, start: int, depth: int, of: _Whole) -> Box:
    name = clean(frame.name)
    if depth == 0:
        unit, label = unit_of_phase(of.phase), f"{name} {exact(amount)}"
        where = "phase"
    else:
        unit, label = _unit(frame.unit, of.phase), name
        where = clean(frame.unit)
    tip = (
        f"{name}\n{where} · {exact(amount)} instructions · {_shares(amount, of)}\n"
        f"{exact(frame.own)} of its own"
    )
    if depth:
        tip += f" · {exact(frame.calls)} call{'' if frame.calls == 1 else 's'}"
    return Box(depth, start, amount, unit, label, tip)


def _others(rest: Sequence[Frame], amount: int, start: int, depth: int, of: _Whole) -> Box:
    name = f"{len(rest)} other{'' if len(rest) == 1 else 's'}"
    few = ", ".join(clean(frame.name)[:40] for frame in rest[:3]) + (", …" if rest[3:] else "")
    calls = sum(frame.calls for frame in rest)
    tip = (
        f"{name}\n{exact(amount)} instructions · {_shares(amount, of)}\n"
        f"{exact(calls)} calls · {few}"
    )
    return Box(depth, start, amount, "other", name, tip)


def _shares(amount: int, of: _Whole) -> str:
    return f"{share(amount, of.total)} of {clean(of.phase)}, {share(amount, of.boot)} of the boot"


def _unit(unit: str, phase: str) -> str:
    """Give a frame's colour: the kernel's functions that calibrate have one of their own."""
    if phase == "calibration" and unit == "kernel":
        return phase
    return unit_of_phase(unit)


def _title(measurement: Measurement, whole: int, width: float) -> list[str]:
    title = heading(measurement)
    words = (
        f"{exact(whole)} instructions from power-on to ready. A box is a function, below the one "
        "that called it; as wide as what it and all below it executed."
    )
    return [
        f'<text class="ink big bold" x="0" y="14">{markup(fit(title, width, 15))}</text>',
        f'<text class="dim" x="0" y="32">{markup(fit(words, width))}</text>',
    ]


def _legend(phases: Sequence[Phase], width: float) -> list[str]:
    units = dict.fromkeys(unit_of_phase(phase.name) for phase in phases)
    parts, x = [], 0.0
    for unit in [unit for unit in units if unit != "other"] + ["other"]:
        label = "merged, too narrow to draw" if unit == "other" else unit
        step = 34 + len(label) * 7
        if x + step > width:
            break
        parts.append(
            f'<g class="box {unit}"><rect x="{px(x + 0.5)}" y="2" width="16" height="12"/></g>'
            f'<text class="ink" x="{px(x + 22)}" y="12">{label}</text>'
        )
        x += step
    return parts


def _strip(phases: Sequence[Phase], whole: int, width: float) -> list[str]:
    parts = [*axis(whole, 0, 0, width)]
    start = 0
    for phase in phases:
        if not phase.instructions:
            continue
        x, wide = width * start / whole, width * phase.instructions / whole
        start += phase.instructions
        name = clean(phase.name)
        text = fit(f"{name} {share(phase.instructions, whole)}", wide) or fit(name, wide)
        shown = f'<text x="{px(x + 3)}" y="31">{markup(text)}</text>' if text else ""
        parts.append(
            f'<g class="box {unit_of_phase(phase.name)}">'
            f"<title>{markup(name)}\n{exact(phase.instructions)} instructions</title>"
            f'<rect x="{px(x)}" y="17" width="{px(wide)}" height="20"/>{shown}</g>'
        )
    return parts


def _section(each: PhaseIcicle, whole: int, width: float) -> list[str]:
    phase = each.phase
    name = fit(clean(phase.name), width / 2, 15)
    rest = f"{exact(phase.instructions)} instructions · {share(phase.instructions, whole)}"
    if phase.wait_ns:
        rest += f" · waits {milliseconds(phase.wait_ns)}"
    if each.total and short(each.total) != short(phase.instructions):
        rest += f" · attributed {short(each.total)}"
    left = len(name) * 15 * 0.62 + 12
    parts = [
        f'<text class="ink big bold" x="0" y="14">{markup(name)}</text>',
        f'<text class="ink" x="{px(left)}" y="14">{markup(fit(rest, width - left))}</text>',
    ]
    if each.total:
        parts += axis(each.total, 0, 18, width)
        parts.append('<g transform="translate(0 35)">')
        parts += draw_boxes(each.boxes, each.total, width)
        parts.append("</g>")
    return parts
