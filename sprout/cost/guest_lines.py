"""Reads what the program of initramfs/bench tells on the console of the kernel that it measures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median_low
from typing import TypeVar

from sprout.base.errors import SproutError

# What is compared, in the order of the report.
BENCHES = ("syscall", "fork-exec", "page-fault", "pipe", "file-read", "tcp")
_LOOP, _IN_A_TURN = "loop", 2
_MAX_VULNERABILITIES = 64
_NUMBERS = r"(?: [0-9]{1,15}){2,65}"
_LINE = re.compile(
    r"sprout-bench: (?:"
    rf"measured (?P<bench>[a-z-]{{1,20}})(?P<numbers>{_NUMBERS})"
    r"|vulnerability (?P<vulnerability>[a-z0-9_]{1,40}) (?P<text>.{1,500})"
    r"|failed (?P<failed>.{1,200})"
    r"|(?P<end>end))"
)
_Value = TypeVar("_Value")
_HINT = "Report this, with the kernel that was booted."


@dataclass(frozen=True)
class Figure:
    """One benchmark: `instructions` of a batch in which the thing was done so many `times`."""

    times: int
    instructions: int

    def each(self) -> float:
        """Give the instructions of doing it once."""
        return self.instructions / self.times


@dataclass(frozen=True)
class Guest:
    """A kernel that was measured: a figure for each of BENCHES, and what it says of its defences.

    `vulnerabilities` are the files of /sys/devices/system/cpu/vulnerabilities by name.
    """

    figures: dict[str, Figure]
    vulnerabilities: dict[str, str]


def read_guest(lines: Iterable[str], name: str) -> Guest:
    """Read the console of a kernel called `name` in messages.

    Of each benchmark's batches the median counts, which the clock's interrupts are not in. Raises
    SproutError when something is missing, there twice, or not as the program writes it, and when
    the time stamp counter does not count instructions.
    """
    batches: dict[str, tuple[int, int]] = {}
    vulnerabilities: dict[str, str] = {}
    ended = False
    for line in lines:
        if "sprout-bench: " not in line:
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise _odd(name, f"tells what is not understood: {line[:80]}")
        if found["failed"]:
            raise SproutError(f"{name}: cannot be measured: {found['failed']}", _HINT)
        if found["bench"]:
            _put(batches, name, found["bench"], _median(found["numbers"]))
        elif found["vulnerability"]:
            _put(vulnerabilities, name, found["vulnerability"], found["text"].strip())
        else:
            ended = True
    if not ended or batches.keys() != {_LOOP, *BENCHES}:
        raise _odd(name, "did not tell of every benchmark")
    if not 0 < len(vulnerabilities) <= _MAX_VULNERABILITIES:
        raise _odd(name, f"tells of {len(vulnerabilities)} vulnerabilities")
    ticks = _ticks(name, *batches[_LOOP])
    figures = {
        bench: Figure(batches[bench][0], round(batches[bench][1] / ticks)) for bench in BENCHES
    }
    return Guest(figures, vulnerabilities)


def _put(table: dict[str, _Value], name: str, key: str, value: _Value) -> None:
    if key in table:
        raise _odd(name, f"tells of {key} twice")
    table[key] = value


def _median(text: str) -> tuple[int, int]:
    """Give how often a batch does the thing, and the median of the batches' ticks."""
    times, *ticks = (int(word) for word in text.split())
    return times, median_low(ticks)


def _ticks(name: str, times: int, measured: int) -> int:
    """Give the ticks that an instruction takes, by the loop of which the instructions are known."""
    instructions = times * _IN_A_TURN
    ticks = round(measured / instructions) if instructions else 0
    if ticks < 1 or abs(measured - ticks * instructions) > instructions * ticks / 1000:
        raise _odd(name, f"counted {measured} ticks for {instructions} instructions")
    return ticks


def _odd(name: str, what: str) -> SproutError:
    return SproutError(f"{name}: {what}", _HINT)
