"""The zones of a host as a part of the timeline's picture: a row each, on one axis."""

from __future__ import annotations

from sprout.cost.drawing import axis, clean, exact, fit, markup, px, text_width
from sprout.cost.model import Measurement
from sprout.vm.stages import ZoneTimes

_ROW = 18.0
_BAR = 12.0
_AXIS = 20.0
_SLIVER = 1.0
_TICK = 110
_STAGES = (("create", "init"), ("kernel", "kernel"), ("init", "calibration"))


def zone_rows(measurement: Measurement, top: float, width: float) -> tuple[list[str], float]:
    """Draw the rows of a host's zones from `top` on, `width` px wide; give them and their height.

    Each has a part for its creation, its kernel and its init, on an axis that begins at the stub's
    entry. Without zones there is nothing and no height.
    """
    zones = measurement.zones
    if not zones:
        return [], 0.0
    shift = measurement.key.icount_shift
    last = max(zone.ready for zone in zones) or 1
    words = fit("zones, since the stub's entry: create, kernel, init", width)
    parts = [f'<text class="ink" x="0" y="{px(top + 12)}">{markup(words)}</text>']
    begin = top + 18 + _AXIS
    parts += axis(last >> shift, 0, begin - 17, width, most=max(int(width / _TICK), 2))
    for row, zone in enumerate(zones):
        parts += _row(zone, begin + _ROW * row, width / last, width, shift)
    return parts, begin + _ROW * len(zones) + 8 - top


def _row(zone: ZoneTimes, top: float, scale: float, width: float, shift: int) -> list[str]:
    at = zone.ready - zone.init - zone.kernel - zone.create
    left = at * scale
    tip = f"{clean(zone.name)}: ready at {exact(zone.ready >> shift)}"
    parts = [f"<g><title>{markup(tip)}</title>"]
    for (name, unit), length in zip(_STAGES, (zone.create, zone.kernel, zone.init), strict=True):
        x = min(at * scale, width - _SLIVER)
        at += length
        drawn = max(min(at * scale, width) - x, _SLIVER)
        parts.append(
            f'<g class="box {unit}"><title>{name} {exact(length >> shift)}</title>'
            f'<rect x="{px(x)}" y="{px(top)}" width="{px(drawn)}" height="{px(_BAR)}"/></g>'
        )
    label = f"{clean(zone.name)} {exact(zone.ready >> shift)}"
    right = zone.ready * scale
    if right + text_width(label) + 6 <= width:
        anchor, x, room = "start", right + 6, width - right - 6
    else:
        anchor, x, room = "end", left - 6, left - 6
    return [
        *parts,
        f'<text class="ink" text-anchor="{anchor}" x="{px(x)}" y="{px(top + 10)}">'
        f"{markup(fit(label, room))}</text></g>",
    ]
