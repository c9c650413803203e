"""Configuration fragments: a reason in the first line, then options in Kconfig's own syntax.

Syntax: `CONFIG_NAME=y|m|n|NUMBER|0xHEX|"TEXT"` or `# CONFIG_NAME is not set`, as in a `.config`
(kernel Documentation/kbuild/kconfig.rst). `# versions: >=6.9` says for which versions the lines
after it are, up to the next one of its kind or an empty line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.kernel.versions import Versions, read_versions

_MAX_FRAGMENT_BYTES = 1 << 18
_SET = re.compile(r'(CONFIG_[A-Za-z0-9_]+)=([ymn]|-?[0-9]+|0[xX][0-9a-fA-F]+|"(?:[^"\\]|\\.)*")')
_UNSET = re.compile(r"# (CONFIG_[A-Za-z0-9_]+) is not set")
_VERSIONS = "# versions:"
UNSET = "n"


@dataclass(frozen=True)
class Request:
    """One option asked for: its name, the value it must come out with (`n`: off), and who asks.

    `versions` are those of the source that are asked for it, None for all.
    """

    option: str
    value: str
    where: str
    versions: Versions | None = None

    def applies_to(self, version: str) -> bool:
        """Tell whether that upstream version is asked for the option."""
        return self.versions is None or self.versions.contains(version)

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
    requests: dict[tuple[str, Versions | None], Request] = {}
    versions: Versions | None = None
    for number, line in enumerate(lines[1:], start=2):
        words = line.strip()
        if not words or words.startswith(_VERSIONS):
            versions = _versions(path, number, words) if words else None
            continue
        request = _request(path, number, words, versions)
        if request is None:
            continue
        if requests.setdefault((request.option, versions), request) is not request:
            raise SproutError(
                f"{request.where}: {request.option} stands here twice", "Remove one of the lines."
            )
    return Fragment(path, lines[0][2:].strip(), tuple(requests.values()))


def _versions(path: Path, number: int, line: str) -> Versions:
    text = line.removeprefix(_VERSIONS).strip()
    versions = read_versions(text)
    if versions is None:
        raise SproutError(
            f"{path}:{number}: {text or 'nothing'} is no constraint", "Write `# versions: >=6.9`."
        )
    return versions


def _request(path: Path, number: int, line: str, versions: Versions | None) -> Request | None:
    where = f"{path}:{number}"
    if found := _SET.fullmatch(line):
        return Request(found[1], found[2], where, versions)
    if found := _UNSET.fullmatch(line):
        return Request(found[1], UNSET, where, versions)
    if not line or (line.startswith("#") and "CONFIG_" not in line):
        return None
    raise SproutError(
        f"{where}: does not parse: {line[:80]}",
        "Write CONFIG_NAME=value or `# CONFIG_NAME is not set`.",
    )
