"""Configuration fragments: a reason in the first line, then options in Kconfig's own syntax.

Syntax: `CONFIG_NAME=y|m|n|NUMBER|0xHEX|"TEXT"` or `# CONFIG_NAME is not set`, as in a `.config`
(kernel Documentation/kbuild/kconfig.rst).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded

_MAX_FRAGMENT_BYTES = 1 << 18
_SET = re.compile(r'(CONFIG_[A-Za-z0-9_]+)=([ymn]|-?[0-9]+|0[xX][0-9a-fA-F]+|"(?:[^"\\]|\\.)*")')
_UNSET = re.compile(r"# (CONFIG_[A-Za-z0-9_]+) is not set")
UNSET = "n"


@dataclass(frozen=True)
class Request:
    """One option asked for: its name, the value it must come out with (`n`: off), and who asks."""

    option: str
    value: str
    where: str

    def line(self) -> str:
        """Give the request as a line of a `.config`."""
        if self.value == UNSET:
            return f"# {self.option} is not set"
        return f"{self.option}={self.value}"


@dataclass(frozen=True)
class Fragment:
    """A topic's options and the reason for them."""

    path: Path
    reason: str
    requests: tuple[Request, ...]


def load_fragment(path: Path) -> Fragment:
    """Read a fragment; raises SproutError naming file and line when it does not parse."""
    text = read_bounded(path, _MAX_FRAGMENT_BYTES).decode(errors="replace")
    lines = text.splitlines()
    if not lines or not lines[0].startswith("# ") or _UNSET.fullmatch(lines[0]):
        raise SproutError(
            f"{path}:1: the first line is not a reason", "Begin with `# ` and why it is needed."
        )
    requests: dict[str, Request] = {}
    for number, line in enumerate(lines[1:], start=2):
        request = _request(path, number, line.strip())
        if request is None:
            continue
        if request.option in requests:
            raise SproutError(
                f"{request.where}: {request.option} stands here twice", "Remove one of the lines."
            )
        requests[request.option] = request
    return Fragment(path, lines[0][2:].strip(), tuple(requests.values()))


def _request(path: Path, number: int, line: str) -> Request | None:
    where = f"{path}:{number}"
    if found := _SET.fullmatch(line):
        return Request(found[1], found[2], where)
    if found := _UNSET.fullmatch(line):
        return Request(found[1], UNSET, where)
    if not line or (line.startswith("#") and "CONFIG_" not in line):
        return None
    raise SproutError(
        f"{where}: does not parse: {line[:80]}",
        "Write CONFIG_NAME=value or `# CONFIG_NAME is not set`.",
    )
