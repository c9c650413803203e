"""The readiness line: one line of text that a zone's init writes to the console when it is ready.

    sprout-ready v=2 entry=… handover=… copied=… hz=… free=… init=… ready=…

Values are decimal. `entry`, `handover`, `init` and `ready` are time stamp counter ticks since
reset; `hz` is ticks per second; `copied` is bytes that the stub copied; `free` is memory that the
kernel has left to give, in KiB. `entry`, `handover` and `copied` are 0 where no stub published
stamps. A line that does not parse is not a readiness line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIX = "sprout-ready"
VERSION = 2
FIELDS = ("entry", "handover", "copied", "hz", "free", "init", "ready")
_MAX_DIGITS = 20  # 2^64 - 1
_LINE = re.compile(
    rf"{PREFIX} v={VERSION}"
    + "".join(rf" {name}=([0-9]{{1,{_MAX_DIGITS}}})" for name in FIELDS)
    + r"\s*$"
)


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


def parse(line: str) -> Ready | None:
    """Give the numbers of a readiness line, or None when `line` is something else.

    The line has to begin with it: a kernel that repeats its command line is not ready.
    """
    match = _LINE.match(line)
    if match is None:
        return None
    found = Ready(*(int(value) for value in match.groups()))
    possible = max(vars(found).values()) < 1 << 64 and 0 < found.init <= found.ready
    return found if possible else None


def c_header() -> str:
    """Give the C header `sprout_ready.h` that an init program includes.

    It holds the line's head, its fields in order (as SPROUT_READY_FIELDS(X), which calls X once
    for each, and as a structure), and the most bytes that the line has, newline included.
    """
    head = f"{PREFIX} v={VERSION}"
    longest = len(head) + sum(len(f" {name}=") + _MAX_DIGITS for name in FIELDS) + len("\n")
    calls = " ".join(f"X({name})" for name in FIELDS)
    members = "\n".join(f"    uint64_t {name};" for name in FIELDS)
    return f"""/* Generated from sprout/format/ready.py; do not edit. */
#ifndef SPROUT_READY_H
#define SPROUT_READY_H
#include <stdint.h>

#define SPROUT_READY_HEAD "{head}"
#define SPROUT_READY_FIELDS(X) {calls}
#define SPROUT_READY_MAX {longest}

struct sprout_ready {{
{members}
}};

#endif
"""
