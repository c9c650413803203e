"""Figures: the single numbers of a measurement that are budgeted and compared, and their words."""

from __future__ import annotations

from dataclasses import dataclass

from sprout.base.errors import printable
from sprout.cost.model import Measurement

INSTRUCTIONS, WAIT, BYTES, MEMORY = "instructions", "wait_ns", "bytes", "memory_kib"
# Below this a growth is no news, unless it is 1 % (see `tolerance`): one more cache line here, one
# page there.
_SMALL = {INSTRUCTIONS: 10_000, WAIT: 10_000, BYTES: 4096, MEMORY: 64}
# Another kernel has its functions at other addresses, by which it chooses the cache that an
# allocation comes from: these figures then move a little though nothing became dearer. In parts of
# 10,000; about the range that other random numbers made of the zone (docs/cost.md has what was
# measured).
_CHANCE = {
    (INSTRUCTIONS, "kernel"): 40,
    (INSTRUCTIONS, "init"): 100,
    (MEMORY, "memory"): 100,
}
_UNITS = {INSTRUCTIONS: "instructions", WAIT: "ns of waits", BYTES: "bytes", MEMORY: "KiB"}
_MAX_NAME = 60


@dataclass(frozen=True)
class Figure:
    """One figure: its kind (instructions, wait_ns, bytes, memory_kib), and whose it is.

    `name` is a phase for instructions and waits, a size for bytes, "memory" for memory.
    """

    kind: str
    name: str

    def title(self) -> str:
        """Give the figure's name for people, such as "kernel waits"."""
        return f"{said(self.name)} waits" if self.kind == WAIT else said(self.name)

    def unit(self) -> str:
        """Give what its number counts."""
        return _UNITS[self.kind]


def figures(measurement: Measurement) -> dict[Figure, int]:
    """Give every figure of a measurement, in the order of reports."""
    found: dict[Figure, int] = {}
    for phase in measurement.phases:
        found[Figure(INSTRUCTIONS, phase.name)] = phase.instructions
        found[Figure(WAIT, phase.name)] = phase.wait_ns
    for name, size in measurement.bytes_of.items():
        found[Figure(BYTES, name)] = size
    found[Figure(MEMORY, "memory")] = measurement.memory_kib
    return found


def tolerance(figure: Figure, value: int) -> int:
    """Give by how much a figure may grow from `value` before it counts as a regression.

    See `steady`; what the kernel's choices by address reach has more room, by what was measured of
    them, but never more than 1 %. Nothing may grow from 0.
    """
    chance = value * _CHANCE.get((figure.kind, figure.name), 0) // 10_000
    return max(steady(figure.kind, value), chance)


def steady(kind: str, value: int) -> int:
    """Give the tolerance of a figure that no chance reaches.

    0.1 %; where that is less, a small amount of its kind (10,000 instructions, 10,000 ns, 4,096
    bytes, 64 KiB), but never more than 1 %.
    """
    return max(value // 1000, min(_SMALL[kind], value // 100))


def improvement(value: int) -> int:
    """Give by how much a figure may fall below `value` before that has to be accepted: 1 %."""
    return value // 100


def amount(kind: str, value: int, *, sign: bool = False) -> str:
    """Give a number of that kind for people, such as "+32.4 M", "5.0 ms", "120,000 bytes"."""
    plus = "+" if sign else ""
    if kind == INSTRUCTIONS:
        if abs(value) >= 1_000_000:
            return f"{value / 1e6:{plus},.1f} M"
        return f"{value:{plus},}"
    if kind == WAIT:
        if abs(value) >= 100_000:
            return f"{value / 1e6:{plus},.1f} ms"
        return f"{value:{plus},} ns"
    return f"{value:{plus},} {_UNITS[kind]}"


def said(name: str) -> str:
    """Give a name from an ELF file or a JSON document as it may stand in a line of a report."""
    text = printable(name).replace("`", "'")
    return text if len(text) <= _MAX_NAME else text[: _MAX_NAME - 1] + "…"
