"""Judges what a selftest of the kernel said, in KTAP or by its exit status, by what is expected.

See Documentation/dev-tools/ktap.rst and tools/testing/selftests/kselftest.h in the kernel.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
_STATUS_SKIPPED = 4
_LINE = re.compile(r"^(ok|not ok) \d+ ?(?:- )?(.*?)(?: ?(# ?SKIP)\b ?(.*))?$", re.MULTILINE)
_PLAN = re.compile(r"^1\.\.([1-9]\d*)", re.MULTILINE)


@dataclass(frozen=True)
class Expected:
    """A selftest, and the parts of it, by patterns of names, that fail or are skipped, and why."""

    program: str
    fails: Mapping[str, str] = field(default_factory=dict)
    skips: Mapping[str, str] = field(default_factory=dict)


def results(program: str, text: str, status: int) -> list[tuple[str, str]]:
    """Give each part's name and what became of it; one part where the program tells none."""
    found = []
    for verdict, name, skip, skipped in _LINE.findall(text):
        became = FAILED if verdict == "not ok" else PASSED
        if skip:
            became = SKIPPED
        found.append((name.strip() or skipped.strip(), became))
    if found:
        return found
    became = {0: PASSED, _STATUS_SKIPPED: SKIPPED}.get(status, FAILED)
    return [(program.rsplit("/", 1)[-1], became)]


def complaints(expected: Expected, text: str, status: int) -> list[str]:
    """Give what is not as expected; a pattern that nothing keeps to any more is a complaint too."""
    found = results(expected.program, text, status)
    said = []
    plan = _PLAN.search(text)
    if plan and int(plan[1]) != len(found):
        said.append(f"told {len(found)} of {plan[1]} parts")
    if (status not in (0, _STATUS_SKIPPED)) != any(became == FAILED for _, became in found):
        said.append(f"ended with status {status}")
    leave = {FAILED: expected.fails, SKIPPED: expected.skips}
    for name, became in found:
        wanted = {kind for kind, rows in leave.items() if _matches(name, rows)} or {PASSED}
        if became not in wanted:
            said.append(f"{name}: {became}, expected: {', '.join(sorted(wanted))}")
    for kind, rows in leave.items():
        for pattern in rows:
            if not any(fnmatch.fnmatchcase(name, pattern) for name, _ in found):
                said.append(f"{pattern}: expected to be {kind}, and there is no such part")
    return said


def _matches(name: str, patterns: Mapping[str, str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
