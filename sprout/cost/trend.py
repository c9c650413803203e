"""The history of a baseline as line charts, one small picture per phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sprout.cost.drawing import clean, exact, markup, px, short, style, text_width, unit_of_phase
from sprout.cost.history import History, PastRecord
from sprout.cost.model import Measurement

WIDTH, HEIGHT = 340, 132
_SCOPE = "trend"
_LEFT, _RIGHT, _TOP, _BOTTOM = 10.0, 12.0, 44.0, 26.0
_SMALLEST_SPAN = 0.02  # of the figure: less would make a hill of every ripple


@dataclass(frozen=True)
class Point:
    """One figure in time: its commit (or "now") and words for a tooltip.

    `joined` is False where it cannot be compared with the one before: another machine or key.
    """

    commit: str
    words: str
    instructions: int
    joined: bool


def points(history: History, measurement: Measurement) -> dict[str, tuple[Point, ...]]:
    """Give the points of each of the measurement's phases, oldest first; it is itself the last.

    Of each revision's records for this kind of boot, the one with the measurement's key is taken,
    else the one with the key of the revision before, else the first.
    """
    key = {name: str(value) for name, value in asdict(measurement.key).items()}
    found: dict[str, list[Point]] = {phase.name: [] for phase in measurement.phases}
    before: dict[str, str] | None = None
    for revision in history.revisions:
        record = _chosen(
            [record for record in revision.records if record.boot == measurement.boot], key, before
        )
        if record is None:
            continue
        for phase in record.phases:
            if phase.name in found:
                found[phase.name].append(
                    Point(
                        revision.commit,
                        record.reason or revision.subject,
                        phase.instructions,
                        before is not None and _same(record.key, before),
                    )
                )
        before = record.key
    for now in measurement.phases:
        joined = before is not None and _same(before, key)
        found[now.name].append(Point("now", "this measurement", now.instructions, joined))
    return {name: tuple(each) for name, each in found.items()}


def _chosen(
    records: Sequence[PastRecord], key: dict[str, str], before: dict[str, str] | None
) -> PastRecord | None:
    for wanted in (key, before):
        for record in records:
            if wanted is not None and _same(record.key, wanted):
                return record
    return records[0] if records else None


def _same(one: dict[str, str], other: dict[str, str]) -> bool:
    """Compare keys by the fields that both have: an older record may lack a newer field."""
    fields = one.keys() & other.keys()
    return bool(fields) and all(one[field] == other[field] for field in fields)


def trend_svg(phase: str, line: Sequence[Point]) -> str:
    """Draw one phase's points, at least one, as an SVG document of WIDTH x HEIGHT px."""
    amounts = [point.instructions for point in line]
    low, high = min(amounts), max(amounts)
    room = max(high - low, int(high * _SMALLEST_SPAN), 1)
    middle = (low + high) / 2
    wide, tall = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    places = [
        (
            _LEFT + wide * (index / (len(line) - 1) if len(line) > 1 else 1.0),
            _TOP + tall * (0.5 - (point.instructions - middle) / room),
        )
        for index, point in enumerate(line)
    ]
    steps, parts = "", []
    for index, (x, y) in enumerate(places):
        steps += f"{'L' if line[index].joined and index else 'M'}{px(x)} {px(y)}"
        if index and not line[index].joined:
            cut = (places[index - 1][0] + x) / 2
            parts.append(
                f'<path class="line" stroke-dasharray="2 3" d="M{px(cut)} {px(_TOP - 6)}'
                f'V{px(HEIGHT - _BOTTOM + 6)}"><title>another key: the figures on the two sides '
                f"hold for different machines</title></path>"
            )
    parts.append(f'<path class="line" stroke-width="1.5" d="{steps}"/>')
    for point, (x, y) in zip(line, places, strict=True):
        tip = f"{point.commit}  {exact(point.instructions)} instructions\n{point.words}"
        radius = 4.5 if point.commit == "now" else 3
        parts.append(
            f'<circle class="line dot {unit_of_phase(phase)}" cx="{px(x)}" cy="{px(y)}" '
            f'r="{radius}"><title>{markup(clean_lines(tip))}</title></circle>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{_SCOPE}" role="img" '
        f'aria-label="History of {markup(clean(phase))}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}">{style(_SCOPE)}'
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>'
        + "".join([*_words(phase, line), *parts])
        + "</svg>"
    )


def clean_lines(text: str) -> str:
    """Clean a text line by line, so that it keeps its lines."""
    return "\n".join(clean(line) for line in text.split("\n"))


def _words(phase: str, line: Sequence[Point]) -> list[str]:
    last = line[-1].instructions
    parts = [
        f'<text class="ink bold" x="{px(_LEFT)}" y="16">{markup(clean(phase)[:24])}</text>',
        f'<text class="ink" text-anchor="end" x="{px(WIDTH - _RIGHT)}" y="16">{short(last)}</text>',
    ]
    joined = [index for index, point in enumerate(line) if index == 0 or not point.joined]
    first = line[joined[-1]]
    if first is not line[-1]:
        change = last - first.instructions
        percent = 100 * change / first.instructions if first.instructions else 0.0
        sign = "+" if change > 0 else "\N{MINUS SIGN}"
        words = (
            f"{sign}{short(abs(change))} ({sign}{abs(percent):.1f}%) since "
            f"{clean(first.commit)[:12]}"
            if change
            else f"as since {clean(first.commit)[:12]}"
        )
        parts.append(
            f'<text class="dim" text-anchor="end" x="{px(WIDTH - _RIGHT)}" y="30">'
            f"{markup(words)}</text>"
        )
    ends = (clean(line[0].commit)[:12], clean(line[-1].commit)[:12])
    parts.append(f'<text class="dim" x="{px(_LEFT)}" y="{HEIGHT - 6}">{markup(ends[0])}</text>')
    if len(line) > 1 and text_width("".join(ends)) < WIDTH:
        parts.append(
            f'<text class="dim" text-anchor="end" x="{px(WIDTH - _RIGHT)}" y="{HEIGHT - 6}">'
            f"{markup(ends[1])}</text>"
        )
    return parts
