"""What the pictures share: colours, numbers, and text whose width is known before it is drawn."""

from __future__ import annotations

from html import escape

from sprout.base.errors import printable
from sprout.cost.model import Measurement

# A monospaced font makes a text's width known: 0.60 em a character in DejaVu, Liberation, Menlo
# and Courier, less in the others, plus a little room.
FONT = "ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,'Liberation Mono',monospace"
_ADVANCE = 0.62
_PAD = 3.0
_LEAST_SHOWN = 4
MAX_NAME = 160

# Fills under dark text. They differ in lightness, step by step, so that they also differ in print
# and for those who see fewer colours (a test looks through the eyes of all three kinds).
COLOURS = {
    "decompressor": "#fbf3a0",
    "firmware": "#d3d3d3",
    "kernel": "#8cc4f0",
    "stub": "#eca01c",
    "init": "#2fae86",
    "calibration": "#c26fa4",
    "xen": "#8a6fd1",
}
OTHER = "#f4f4f2"
INK = "#101418"
PAPER = "#ffffff"

# A host's phases and units have the colours of what is alike elsewhere.
_UNIT_OF_PHASE = {
    "decompression": "decompressor",
    "scrub": "xen",
    "services": "init",
    "create": "init",
    "zones": "kernel",
    "programs": "init",
    "zone": "kernel",
    "zone-kernel": "kernel",
    "zone-init": "init",
    "xen-calibration": "calibration",
    "zone-calibration": "calibration",
}
_BOOT_NAMES = {"uefi": "UEFI", "pvh": "PVH"}


def unit_of_phase(phase: str) -> str:
    """Give the unit whose colour stands for a phase, or a unit: a key of COLOURS, or "other"."""
    unit = _UNIT_OF_PHASE.get(phase, phase)
    return unit if unit in COLOURS else "other"


def heading(measurement: Measurement) -> str:
    """Give the words that tell one measurement from another: image, architecture, boot."""
    boot = _BOOT_NAMES.get(measurement.boot, measurement.boot)
    return " · ".join(map(clean, (measurement.image, measurement.key.arch, boot)))


def style(scope: str) -> str:
    """Give the CSS of a picture whose root element has the class `scope`: light, dark, print."""
    dark = (
        f".{scope} .paper{{fill:#15191e}}.{scope} .ink,.{scope} .dim{{fill:#e6e9ec}}"
        f".{scope} .dim{{fill:#a5adb5}}.{scope} .line{{stroke:#8b949e}}"
        f".{scope} .box rect,.{scope} .halo{{stroke:#15191e}}.{scope} .other{{fill:#343b43}}"
        f".{scope} .other text{{fill:#e6e9ec}}.{scope} .other .hatch{{stroke:#e6e9ec}}"
    )
    fills = "".join(f".{scope} .{unit}{{fill:{fill}}}" for unit, fill in COLOURS.items())
    return (
        "<style>"
        f".{scope}{{font:11px {FONT}}}.{scope} .paper{{fill:{PAPER}}}"
        f".{scope} .ink{{fill:{INK}}}.{scope} .dim{{fill:#515a63}}.{scope} .big{{font-size:15px}}"
        f".{scope} .bold{{font-weight:bold}}.{scope} .line{{stroke:#6b747d;fill:none}}"
        f".{scope} .other{{fill:{OTHER}}}{fills}"
        f".{scope} .halo{{stroke:{PAPER};stroke-width:3;paint-order:stroke}}"
        f".{scope} .hatch{{stroke:{INK};stroke-opacity:.55;fill:none}}"
        f".{scope} .box text,.{scope} .on{{fill:{INK}}}"
        f".{scope} .box rect{{stroke:{PAPER};stroke-width:.7}}"
        f".{scope} .box.other rect{{stroke:#8b949e;stroke-dasharray:2 2}}"
        f"@media screen and (prefers-color-scheme:dark){{{dark}}}"
        "</style>"
    )


def clean(name: str) -> str:
    """Give a name from outside in printable ASCII, the rest escaped, of at most MAX_NAME."""
    text = printable(name[: MAX_NAME + 1]).encode("ascii", "backslashreplace").decode()
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1] + "…"


def markup(text: str) -> str:
    """Give text so that it stays text inside an XML element or a quoted attribute."""
    return escape(text, quote=True)


def text_width(text: str, size: float = 11.0) -> float:
    """Estimate the width of a text in px, from above; `size` is the font's in px."""
    return len(text) * size * _ADVANCE


def fit(text: str, width: float, size: float = 11.0) -> str:
    """Cut a text with an ellipsis so that it fits a box `width` px wide; "" where it cannot."""
    room = int((width - 2 * _PAD) / (size * _ADVANCE))
    if len(text) <= room:
        return text
    return text[: room - 1] + "…" if room >= _LEAST_SHOWN else ""


def px(value: float) -> str:
    """Give a coordinate in px with two decimals at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def exact(amount: int) -> str:
    """Give a number with all its digits."""
    return f"{amount:,}"


def short(amount: int) -> str:
    """Give a number in millions or thousands: "32.4 M"."""
    if abs(amount) >= 999_950:
        return f"{amount / 1e6:,.1f} M"
    return f"{amount / 1e3:,.1f} k" if abs(amount) >= 1000 else f"{amount}"


def share(part: int, whole: int) -> str:
    """Give a part of a whole in percent; what is there is never said to be 0.0%."""
    percent = 100 * part / whole if whole else 0.0
    return "<0.1%" if part and percent < 0.05 else f"{percent:.1f}%"


def milliseconds(nanoseconds: int) -> str:
    """Give virtual nanoseconds in ms."""
    return f"{nanoseconds / 1e6:,.3f}".rstrip("0").rstrip(".") + " ms"


def tick_step(whole: int, most: int) -> int:
    """Give the distance between ticks, 1, 2 or 5 times a power of ten, for at most `most`."""
    step, factors = 1, (2, 5, 10)
    power = 1
    while whole // step > most:
        for factor in factors:
            step = power * factor
            if whole // step <= most:
                break
        else:
            power *= 10
    return step


def tick_label(amount: int) -> str:
    """Give the text at a tick, whose amount is a round number."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if amount and amount % (size // 10) == 0 and amount >= size:
            return f"{amount / size:,.1f}".removesuffix(".0") + f" {unit}"
    return exact(amount)


def axis(whole: int, left: float, top: float, width: float, *, most: int = 6) -> list[str]:
    """Draw a scale of instructions, ticks downwards, 16 px high, over `width` px."""
    parts = [f'<path class="line" d="M{px(left)} {px(top + 15.5)}h{px(width)}"/>']
    if not whole:
        return parts
    step = tick_step(whole, most)
    for amount in range(0, whole + 1, step):
        x = left + width * amount / whole
        label = tick_label(amount)
        half = text_width(label, 10) / 2
        middle = min(max(x, left + half), left + width - half)
        parts.append(
            f'<path class="line" d="M{px(x)} {px(top + 12)}v3.5"/>'
            f'<text class="dim halo" font-size="10" text-anchor="middle" x="{px(middle)}" '
            f'y="{px(top + 10)}">{label}</text>'
        )
    return parts
