"""The pictures: readable, bounded, the same bytes every time, whatever a function is called."""

from __future__ import annotations

import itertools
import random
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from drawn_boot import HOSTILE, KEY, PHASES, measurement

from sprout.cost.drawing import COLOURS, INK, OTHER, fit, share, text_width, tick_label, tick_step
from sprout.cost.history import History, PastPhase, PastRecord, Revision
from sprout.cost.icicle import MAX_BOXES, MAX_BYTES, MAX_DEPTH, icicle, phase_icicles
from sprout.cost.model import Frame, Phase
from sprout.cost.svg_timeline import timeline_svg
from sprout.cost.trend import points, trend_svg

SVG = "{http://www.w3.org/2000/svg}"
ELEMENTS = {"svg", "style", "g", "rect", "path", "text", "title", "circle"}


@dataclass(frozen=True)
class Area:
    """A rectangle on the canvas, in px, and what is in it."""

    left: float
    top: float
    right: float
    bottom: float
    what: str

    def crosses(self, other: Area) -> bool:
        slack = 0.02  # coordinates have two decimals
        return (
            self.left < other.right - slack
            and other.left < self.right - slack
            and self.top < other.bottom - slack
            and other.top < self.bottom - slack
        )


def parsed(svg: str) -> ET.Element:
    root = ET.fromstring(svg)  # noqa: S314 - our own output
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in ELEMENTS, element.tag
        assert not [name for name in element.attrib if name.startswith("on") or "href" in name]
    return root


def placed(element: ET.Element, x: float = 0, y: float = 0) -> Iterator[tuple[ET.Element, Area]]:
    """Give every rectangle and text with its place on the canvas."""
    moved = element.get("transform")
    if moved:
        dx, dy = moved.removeprefix("translate(").removesuffix(")").split(" ")
        x, y = x + float(dx), y + float(dy)
    left, top = x + float(element.get("x", 0)), y + float(element.get("y", 0))
    words = element.text or ""
    if element.tag == f"{SVG}rect":
        wide, high = float(element.get("width", 0)), float(element.get("height", 0))
        yield element, Area(left, top, left + wide, top + high, "")
    elif element.tag == f"{SVG}text" and words:
        size = 15 if "big" in element.get("class", "") else float(element.get("font-size", 11))
        wide = text_width(words, size)
        left -= {"middle": wide / 2, "end": wide}.get(element.get("text-anchor", ""), 0)
        yield element, Area(left, top - size * 0.75, left + wide, top + size * 0.2, words)
    for child in element:
        yield from placed(child, x, y)


def assert_inside(root: ET.Element) -> None:
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for element, area in placed(root):
        inside = area.left >= -0.02 and area.top >= -0.02
        inside = inside and area.right <= width + 0.02 and area.bottom <= height + 0.02
        assert inside, (element.tag, element.attrib, area)


def assert_texts_fit(root: ET.Element) -> None:
    for group in root.iter(f"{SVG}g"):
        rect, text = group.find(f"{SVG}rect"), group.find(f"{SVG}text")
        if "box" in group.get("class", "") and rect is not None and text is not None:
            begin = float(text.get("x", 0)) - float(rect.get("x", 0))
            for words in group.iter(f"{SVG}text"):
                end = begin + text_width(words.text or "")
                assert end <= float(rect.get("width", 0)) + 0.1, words.text


def lines_of(root: ET.Element) -> list[Area]:
    """Give the vertical parts of a timeline's leaders, as narrow areas."""
    found = []
    for path in root.iter(f"{SVG}path"):
        drawn = path.get("d", "")
        if "V" in drawn and "H" in drawn:
            start, rest = drawn[1:].split("V")
            x, y = (float(part) + 14 for part in start.split(" "))
            level = float(rest.split("H")[0]) + 14
            found.append(Area(x, min(y, level), x + 0.05, max(y, level), drawn))
    return found


@pytest.mark.parametrize("width", [1200, 600])
def test_icicle_is_readable_and_inside(width: int) -> None:
    svg = icicle(measurement(), width=width)
    root = parsed(svg)
    assert root.get("width") == str(width)
    assert_inside(root)
    assert_texts_fit(root)
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    for phase in PHASES:
        assert phase.name in texts
        assert any(f"{phase.instructions:,} instructions" in text for text in texts), phase.name
    tips = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert any(" of its own · " in tip and "of the boot" in tip for tip in tips)
    assert "<style>" in svg and "prefers-color-scheme" in svg and "url(" not in svg


def test_icicle_boxes_lie_within_their_callers_and_add_up() -> None:
    sample = measurement()
    for each in phase_icicles(sample, width=1200, narrowest=2):
        assert each.total == each.phase.instructions
        first = each.boxes[0]
        assert (first.start, first.amount, first.depth) == (0, each.total, 0)
        rows: dict[int, list[tuple[int, int]]] = {}
        for box in each.boxes:
            rows.setdefault(box.depth, []).append((box.start, box.start + box.amount))
        for depth, row in rows.items():
            row.sort()
            assert all(one[1] <= other[0] for one, other in itertools.pairwise(row))
            above = rows.get(depth - 1, [(0, each.total)])
            assert all(any(a <= b and e <= f for a, f in above) for b, e in row)
        assert all(box.amount * 1200 >= 2 * each.total for box in each.boxes)


def test_icicle_merges_what_is_too_narrow() -> None:
    root = Frame("kernel", "phase")
    root.children["kernel", "start_kernel"] = big = Frame("start_kernel", "kernel", 9000, 1)
    for number in range(100):
        big.children["kernel", f"f{number}"] = Frame(f"f{number}", "kernel", 10, 2)
    sample = replace(
        measurement(), phases=(Phase("kernel", 10_000, 0, 0.0),), frames={"kernel": root}
    )
    (only,) = phase_icicles(sample, width=100, narrowest=2)
    assert [box.name for box in only.boxes] == ["kernel 10,000", "start_kernel", "100 others"]
    assert only.boxes[2].amount == 1000
    assert "1,000 instructions" in only.boxes[2].tip and "200 calls" in only.boxes[2].tip


def test_icicle_is_bounded() -> None:
    deep = Frame("kernel", "phase")
    frame = deep
    for number in range(20_000):  # a stack that no recursion would survive
        child = Frame(HOSTILE[6] if number % 2 else HOSTILE[5], "kernel", 1, 1)
        frame.children["kernel", str(number)] = child
        frame = child
    wide = Frame("init", "phase")
    for number in range(8_000):
        one = Frame(HOSTILE[6] + str(number), "init", 1, 1)
        two = Frame(HOSTILE[6], "kernel", 1, 1)
        one.children["kernel", "x"] = two
        wide.children["init", str(number)] = one
    phases = (Phase("kernel", 20_000, 0, 0.0), Phase("init", 16_000, 0, 0.0))
    sample = replace(measurement(), phases=phases, frames={"kernel": deep, "init": wide})
    svg = icicle(sample, width=4000)
    assert len(svg.encode()) < MAX_BYTES
    assert parsed(svg).find(f"{SVG}g") is not None
    found = phase_icicles(sample, width=1e6, narrowest=0.5)
    assert sum(len(each.boxes) for each in found) <= MAX_BOXES
    assert max(box.depth for each in found for box in each.boxes) < MAX_DEPTH


def test_hostile_names_stay_text() -> None:
    sample = measurement(names=HOSTILE)
    sample = replace(sample, image=HOSTILE[0], boot=HOSTILE[1], key=replace(KEY, arch=HOSTILE[2]))
    for svg in (icicle(sample), timeline_svg(sample), timeline_svg(sample, width=344)):
        root = parsed(svg)
        assert_inside(root)
        assert_texts_fit(root)
        assert "<script" not in svg and "\x1b" not in svg and "\u202e" not in svg
        assert svg.isascii() or set(svg) - set(map(chr, range(128))) <= set("·…")
    named = replace(sample, phases=tuple(replace(p, name=HOSTILE[0]) for p in PHASES[:1]))
    assert_inside(parsed(timeline_svg(named)))
    assert_inside(parsed(icicle(replace(named, frames={}))))


def test_pictures_are_deterministic() -> None:
    one, other = measurement(), measurement()
    for phase, frame in other.frames.items():  # the order of counting must not matter
        pending = [frame]
        while pending:
            each = pending.pop()
            each.children = dict(reversed(each.children.items()))
            pending.extend(each.children.values())
        assert frame.total() == one.frames[phase].total()
    slower = tuple(replace(phase, wall_ms=phase.wall_ms * 3) for phase in other.phases)
    other = replace(other, phases=slower)
    assert icicle(one) == icicle(other)
    assert timeline_svg(one) == timeline_svg(other)


def timelines() -> list[tuple[Phase, ...]]:
    chance = random.Random(1)  # noqa: S311 - has to repeat
    cases = [
        PHASES,
        (Phase("firmware", 1_300_000, 120_000, 0), Phase("kernel", 68_000_000, 52_000_000, 0)),
        (Phase("firmware", 0, 0, 0), Phase("kernel", 0, 0, 0)),
        (Phase("firmware", 1, 0, 0), *PHASES[1:], Phase("init", 10**12, 10**12, 0)),
        (Phase("kernel", 0, 5_000_000, 0),),
    ]
    for _ in range(60):
        cases.append(
            tuple(
                Phase(p.name, int(10 ** chance.uniform(0, 9)), int(10 ** chance.uniform(0, 9)), 0)
                for p in PHASES
            )
        )
    return cases


@pytest.mark.parametrize("width", [1000, 344])
def test_timeline_texts_never_touch(width: int) -> None:
    for phases in timelines():
        root = parsed(timeline_svg(replace(measurement(()), phases=phases), width=width))
        assert_inside(root)
        assert_texts_fit(root)
        texts = [area for _, area in placed(root) if area.what]
        for one, other in itertools.combinations(texts, 2):
            assert not one.crosses(other), (phases, one.what, other.what)
        leaders = lines_of(root)
        for line, text in itertools.product(leaders, texts):
            # The scale's numbers stand on a ground of their own.
            on_scale = text.what.replace(",", "").replace(".", "").rstrip(" Mk").isdigit()
            assert on_scale or not line.crosses(text), (phases, text.what)


def test_timeline_is_contiguous_and_to_scale() -> None:
    sample = measurement()
    root = parsed(timeline_svg(sample, width=1000))
    bars = []
    for group in root.iter(f"{SVG}g"):
        rect, title = group.find(f"{SVG}rect"), group.find(f"{SVG}title")
        if rect is not None and title is not None:
            left, wide = float(rect.get("x", 0)), float(rect.get("width", 0))
            bars.append((left, left + wide, (title.text or "").split("\n")[0]))
    assert [bar[2] for bar in bars] == [phase.name for phase in PHASES]
    assert all(abs(one[1] - other[0]) <= 1 for one, other in itertools.pairwise(bars))
    whole = sum(phase.instructions + phase.wait_ns // 8 for phase in PHASES)
    for (left, right, _), phase in zip(bars, PHASES, strict=True):
        length = 972 * (phase.instructions + phase.wait_ns // 8) / whole
        assert right - left == pytest.approx(max(length, 1), abs=0.02)
    texts = " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
    assert "kernel 140,951,068 · 11.0% + 9.25 ms waits" in texts
    assert "1 ms = 125,000 instructions" in texts
    assert 'class="hatch"' in timeline_svg(sample)
    assert 'class="hatch"' not in timeline_svg(measurement(PHASES[:2]))


def test_timeline_and_icicle_without_any_figure() -> None:
    empty = replace(measurement(()), frames={})
    assert_inside(parsed(icicle(empty)))
    assert_inside(parsed(timeline_svg(empty)))


def luminance(colour: tuple[float, float, float]) -> float:
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]


def linear(code: str) -> tuple[float, float, float]:
    parts = [int(code[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return r, g, b


def lab(colour: tuple[float, float, float]) -> tuple[float, float, float]:
    r, g, b = (min(max(part, 0.0), 1.0) for part in colour)
    xyz = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
    )
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


# Machado, Oliveira, Fernandes: A Physiologically-based Model for Simulation of Color Vision
# Deficiency (2009), severity 1.0; applied to linear RGB.
EYES = {
    "all colours": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


@pytest.mark.parametrize("eyes", EYES)
def test_colours_differ_for_all_eyes(eyes: str) -> None:
    seen = {}
    for unit, code in COLOURS.items():
        colour = linear(code)
        r, g, b = (sum(f * p for f, p in zip(row, colour, strict=True)) for row in EYES[eyes])
        seen[unit] = lab((r, g, b))
    for one, other in itertools.combinations(seen, 2):
        apart = sum((a - b) ** 2 for a, b in zip(seen[one], seen[other], strict=True)) ** 0.5
        assert apart >= 12, (eyes, one, other, apart)


def test_colours_differ_in_print_and_carry_text() -> None:
    lightness = sorted(lab(linear(code))[0] for code in COLOURS.values())
    assert all(b - a >= 4 for a, b in itertools.pairwise(lightness)), lightness
    ink = luminance(linear(INK))
    for code in [*COLOURS.values(), OTHER]:  # WCAG 2.1, 1.4.3: 4.5 to 1
        assert (luminance(linear(code)) + 0.05) / (ink + 0.05) >= 4.5, code


def test_words_and_numbers() -> None:
    assert fit("start_kernel", 200) == "start_kernel"
    assert fit("start_kernel", 60) == "start_…"
    assert fit("start_kernel", 20) == ""
    assert fit("", 1) == ""
    assert share(1, 10**9) == "<0.1%" and share(0, 5) == "0.0%" and share(0, 0) == "0.0%"
    for whole in (1, 9, 10, 999, 2_123_413, 10**12):
        step = tick_step(whole, 6)
        assert 1 <= whole // step <= 6
    assert tick_label(1_500_000) == "1.5 M" and tick_label(20_000) == "20 k"
    assert tick_label(0) == "0"


def history() -> History:
    def revision(commit: str, instructions: int, qemu: str) -> Revision:
        key = {"qemu": qemu, "cpu": "max"}
        phases = (PastPhase("kernel", instructions, 0),)
        return Revision(
            commit,
            HOSTILE[0],
            (
                PastRecord("pvh", {"qemu": "7.2.22"}, (PastPhase("kernel", 1, 0),), ""),
                PastRecord("uefi", key, phases, "asked for"),
            ),
        )

    return History(
        (
            revision("aaaaaaa", 200_000_000, "7.2.19"),
            revision("bbbbbbb", 190_000_000, "7.2.19"),
            Revision("ccccccc", "broken", (), "is no baseline"),
            revision("ddddddd", 150_000_000, "7.2.22"),
        )
    )


def test_trend_follows_one_kind_of_boot_and_breaks_where_the_key_changed() -> None:
    line = points(history(), measurement())["kernel"]
    assert [(p.commit, p.instructions, p.joined) for p in line] == [
        ("aaaaaaa", 200_000_000, False),
        ("bbbbbbb", 190_000_000, True),
        ("ddddddd", 150_000_000, False),
        ("now", 140_951_068, True),
    ]
    svg = trend_svg("kernel", line)
    root = parsed(svg)
    assert_inside(root)
    assert "9.0 M (\N{MINUS SIGN}6.0%) since ddddddd" in svg
    assert [circle.get("r") for circle in root.iter(f"{SVG}circle")] == ["3", "3", "3", "4.5"]
    assert svg.count("stroke-dasharray") == 2  # one in the style, one where the key changed


def test_trend_of_a_phase_that_is_new() -> None:
    lines = points(history(), measurement())
    assert [point.commit for point in lines["init"]] == ["now"]
    for phase, line in lines.items():
        assert_inside(parsed(trend_svg(HOSTILE[0] if phase == "stub" else phase, line)))
