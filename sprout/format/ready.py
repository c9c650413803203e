"""The lines of text that an init writes to the console when what it starts is ready.

    sprout-ready v=2 entry=… handover=… copied=… hz=… free=… init=… ready=…
    sprout-zone v=1 zone=NAME create=… unpaused=… init=… ready=… free=…
    sprout-host v=1 entry=… handover=… copied=… hz=… free=… kernel=… init=… services=… ready=…

The first is a machine's or a zone's own, the others those of a host: the second for each of its
zones, the third when all of them are ready.

Values are decimal. `entry`, `handover`, `kernel`, `init`, `services`, `create`, `unpaused` and
`ready` are time stamp counter ticks since the machine's reset, of which there are `hz` in a second;
only a zone's own line counts in the zone's ticks. `copied` is bytes that the stub copied; `free` is
memory that the kernel has left to give, in KiB. `entry`, `handover` and `copied` are 0 where no
stub published stamps. A line that does not parse is none of these lines.

`create` is when a host asked for the zone, `unpaused` when its toolstack came back. `kernel` is
when the clock of the host's kernel began, `services` when everything runs that zones need.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

PREFIX = "sprout-ready"
VERSION = 2
FIELDS = ("entry", "handover", "copied", "hz", "free", "init", "ready")
ZONE_PREFIX = "sprout-zone"
ZONE_VERSION = 1
ZONE_FIELDS = ("create", "unpaused", "init", "ready", "free")
HOST_PREFIX = "sprout-host"
HOST_VERSION = 1
HOST_FIELDS = (
    *("entry", "handover", "copied", "hz", "free"),
    *("kernel", "init", "services", "ready"),
)
_MAX_DIGITS = 20  # 2^64 - 1
_MAX_NAME = 31
_NAME = f"[a-z0-9][a-z0-9-]{{0,{_MAX_NAME - 1}}}"


def _pattern(head: str, fields: Sequence[str]) -> re.Pattern[str]:
    numbers = "".join(rf" {name}=([0-9]{{1,{_MAX_DIGITS}}})" for name in fields)
    return re.compile(head + numbers + r"\s*$")


_LINE = _pattern(f"{PREFIX} v={VERSION}", FIELDS)
_ZONE_LINE = _pattern(f"{ZONE_PREFIX} v={ZONE_VERSION} zone=({_NAME})", ZONE_FIELDS)
_HOST_LINE = _pattern(f"{HOST_PREFIX} v={HOST_VERSION}", HOST_FIELDS)


@dataclass(frozen=True)
class Ready:
    """A readiness line's numbers; see the module's text for their units."""

    entry: int
    handover: int
    copied: int
    hz: int
    free: int
    init: int
    ready: int


@dataclass(frozen=True)
class ZoneReady:
    """What a host says of one zone when it is ready; see the module's text for the units."""

    zone: str
    create: int
    unpaused: int
    init: int
    ready: int
    free: int


@dataclass(frozen=True)
class HostReady:
    """What a host says when all its zones are ready; see the module's text for the units."""

    entry: int
    handover: int
    copied: int
    hz: int
    free: int
    kernel: int
    init: int
    services: int
    ready: int


def parse(line: str) -> Ready | None:
    """Give the numbers of a readiness line, or None when `line` is something else.

    The line has to begin with it: a kernel that repeats its command line is not ready.
    """
    numbers = _numbers(_LINE.match(line), 0)
    if numbers is None:
        return None
    found = Ready(*numbers)
    return found if 0 < found.init <= found.ready else None


def parse_zone(line: str) -> ZoneReady | None:
    """Give what a host's line says of one zone, or None when `line` is something else."""
    match = _ZONE_LINE.match(line)
    numbers = _numbers(match, 1)
    if match is None or numbers is None:
        return None
    found = ZoneReady(match[1], *numbers)
    # A zone may be ready before the toolstack that started it has come back.
    possible = 0 < found.create <= found.unpaused and found.create <= found.init <= found.ready
    return found if possible else None


def unread_zone(line: str) -> str | None:
    """Say what is wrong with a line that speaks of a zone and cannot be read; None for any other.

    Something was written into it, or its times contradict each other. What a zone says itself
    begins with its name in brackets.
    """
    said = f"{ZONE_PREFIX} v={ZONE_VERSION} zone="
    if said not in line or line.startswith("[") or parse_zone(line) is not None:
        return None
    return f"what the host says of a zone cannot be read: {line[:400]!r}"


def parse_host(line: str) -> HostReady | None:
    """Give the numbers of a host's line, or None when `line` is something else."""
    numbers = _numbers(_HOST_LINE.match(line), 0)
    if numbers is None:
        return None
    found = HostReady(*numbers)
    in_order = found.kernel <= found.init <= found.services <= found.ready
    return found if in_order and found.init > 0 else None


def _numbers(match: re.Match[str] | None, before: int) -> list[int] | None:
    """Give a line's numbers, which follow `before` other groups."""
    if match is None:
        return None
    numbers = [int(value) for value in match.groups()[before:]]
    return numbers if max(numbers) < 1 << 64 else None


def c_header() -> str:
    """Give the C header `sprout_ready.h` that an init program includes.

    It holds each line's head, its fields in order (as SPROUT_READY_FIELDS(X), which calls X once
    for each, and as a structure), and the most bytes that the line has, newline included.
    """
    lines = (
        ("READY", f"{PREFIX} v={VERSION}", "", FIELDS),
        ("ZONE_READY", f"{ZONE_PREFIX} v={ZONE_VERSION} zone=", "z" * _MAX_NAME, ZONE_FIELDS),
        ("HOST_READY", f"{HOST_PREFIX} v={HOST_VERSION}", "", HOST_FIELDS),
    )
    parts = "\n".join(_c_line(*line) for line in lines)
    return f"""/* Generated from sprout/format/ready.py; do not edit. */
#ifndef SPROUT_READY_H
#define SPROUT_READY_H
#include <stdint.h>

{parts}
#endif
"""


def _c_line(name: str, head: str, longest_name: str, fields: Sequence[str]) -> str:
    longest = len(head + longest_name) + len("\n")
    longest += sum(len(f" {field}=") + _MAX_DIGITS for field in fields)
    calls = " ".join(f"X({field})" for field in fields)
    members = "\n".join(f"    uint64_t {field};" for field in fields)
    return f"""#define SPROUT_{name}_HEAD "{head}"
#define SPROUT_{name}_FIELDS(X) {calls}
#define SPROUT_{name}_MAX {longest}

struct sprout_{name.lower()} {{
{members}
}};
"""
