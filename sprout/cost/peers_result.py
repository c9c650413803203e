"""What a comparison with peers found: boots by contestant, and the figures drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from sprout.cost.model import Phase

FIRMWARE, LOADER, DECOMPRESSION, KERNEL, INIT = (
    "firmware",
    "loader",
    "decompression",
    "kernel",
    "init",
)


@dataclass(frozen=True)
class Row:
    """One contestant at one size: its name, bytes, and the phases of each of its boots.

    `size` is the initrd's for a loader and the kernel file's for a kernel.
    """

    name: str
    size: int
    boots: tuple[tuple[Phase, ...], ...]

    def phase(self, name: str) -> int | None:
        """Give the median of the instructions of one phase, None where there is no such phase."""
        found = [phase.instructions for boot in self.boots for phase in boot if phase.name == name]
        return round(median(found)) if found else None

    def totals(self) -> list[int]:
        """Give the instructions of each boot from power-on to readiness, the least first."""
        return sorted(sum(phase.instructions for phase in boot) for boot in self.boots)

    def total(self) -> int:
        """Give the median of the boots' instructions."""
        return round(median(self.totals()))

    def before(self, name: str) -> int:
        """Give the median of the instructions before the phase `name`."""
        sums = []
        for boot in self.boots:
            names = [phase.name for phase in boot]
            sums.append(sum(phase.instructions for phase in boot[: names.index(name)]))
        return round(median(sums))

    def wait_ns(self) -> int:
        """Give the median of the virtual ns that a boot waited without executing anything."""
        return round(median(sum(phase.wait_ns for phase in boot) for boot in self.boots))


@dataclass(frozen=True)
class Recipe:
    """How a contestant was made, for a reader who repeats it: its version, and commands or files.

    `note` says in a sentence what is peculiar to it.
    """

    name: str
    version: str
    note: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Peers:
    """A comparison: the machine as (what, text), the contestants, and how each was made."""

    machine: tuple[tuple[str, str], ...]
    loaders: tuple[Row, ...]
    kernels: tuple[Row, ...]
    recipes: tuple[Recipe, ...]
