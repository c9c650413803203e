"""The machine's own apt archives, turned into archives of sources, in a place of our own.

A machine has seldom `deb-src` entries. Its `deb` entries of the distribution say which archives
and which keys it trusts (sources.list(5)); the same archives have the sources, under the same
signature. Nothing below /etc or /var is touched.
"""

from __future__ import annotations

import platform
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded, write_file
from sprout.base.run import check

_MAX_ENTRIES_BYTES = 1 << 20
_OPTION = re.compile(r"\[([^\]]*)\]")
# Names that the distribution's archives go by besides the release's own.
_ALIASES = ("stable", "oldstable", "testing")


@dataclass(frozen=True)
class Entry:
    """One archive: where it is, its suites and components, and what its signature is checked with.

    `signed_by` is a key file or a whole key, as sources.list(5) has it; empty: apt's own keys.
    """

    uris: str
    suites: str
    components: str
    signed_by: str

    def text(self) -> str:
        """Give the entry for its sources, in deb822 format."""
        fields = {
            "Types": "deb-src",
            "URIs": self.uris,
            "Suites": self.suites,
            "Components": self.components,
            "Signed-By": self.signed_by,
        }
        # A whole key begins on a line of its own.
        lines = {
            name: f"\n {text}" if "\n" in text else f" {text}" for name, text in fields.items()
        }
        return "".join(f"{name}:{lines[name]}\n" for name, text in fields.items() if text)


def private_lists(directory: Path) -> list[str]:
    """Set up `directory` for package lists of its own and give the options that make apt use it.

    Raises SproutError when the machine's apt has no archive of its distribution.
    """
    entries = _machine_entries()
    if not entries:
        raise SproutError(
            "apt: no archive of this distribution is among the machine's sources",
            "Add a deb entry for it below /etc/apt/sources.list.d, then run it again.",
        )
    for folder in ("parts", "lists/partial", "cache/archives/partial"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    text = "\n".join(entry.text() for entry in entries)
    write_file(directory / "parts" / "sprout.sources", text.encode())
    return [
        *("-o", "Dir::Etc::SourceList=/dev/null"),
        *("-o", f"Dir::Etc::SourceParts={directory}/parts"),
        *("-o", f"Dir::State::Lists={directory}/lists"),
        *("-o", f"Dir::Cache={directory}/cache"),
    ]


def _machine_entries() -> list[Entry]:
    """Give the entries of the machine's apt that are the distribution's own, without repeats."""
    words = ["List", "Dir::Etc::sourcelist/f", "Parts", "Dir::Etc::sourceparts/d"]
    text = check(["apt-config", "shell", *words], "Reinstall apt.").decode(errors="replace")
    paths = dict(line.split("=", 1) for line in shlex.split(text) if "=" in line)
    one = Path(paths.get("List", "/dev/null"))
    parts = Path(paths.get("Parts", "/dev/null"))
    files = [one, *sorted(parts.iterdir() if parts.is_dir() else ())]
    entries: dict[Entry, None] = {}
    for file in files:
        if not file.is_file():
            continue
        content = read_bounded(file, _MAX_ENTRIES_BYTES).decode(errors="replace")
        read = _stanzas if file.suffix == ".sources" else _lines
        if file.suffix in (".sources", ".list"):
            entries.update(dict.fromkeys(read(content)))
    return list(entries)


def _lines(content: str) -> Iterator[Entry]:
    """Read one-line entries: `deb [option=value …] URI SUITE COMPONENT…`."""
    for line in content.splitlines():
        text = line.split("#", 1)[0]
        options = " ".join(_OPTION.findall(text))
        words = _OPTION.sub(" ", text).split()
        if len(words) < 3 or words[0] != "deb":
            continue
        signed_by = re.search(r"(?:^|\s)signed-by=(\S+)", options)
        suites = _own(words[2:3])
        if suites:
            key = signed_by[1].replace(",", " ") if signed_by else ""
            yield Entry(words[1], suites, " ".join(words[3:]), key)


def _stanzas(content: str) -> Iterator[Entry]:
    """Read deb822 entries: stanzas of `Field: value`, where a line that begins blank goes on."""
    kept = [line for line in content.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n(?:[ \t]*\n)+", "\n".join(kept)):
        fields = {
            name.lower(): value.strip()
            for name, value in re.findall(r"^([A-Za-z-]+):((?:.*)(?:\n[ \t].*)*)", stanza, re.M)
        }
        if "deb" not in fields.get("types", "").split() or "uris" not in fields:
            continue
        if fields.get("enabled", "yes").lower() in ("no", "false", "off", "0"):
            continue
        suites = _own(fields.get("suites", "").split())
        if suites:
            components = " ".join(fields.get("components", "").split())
            uris = " ".join(fields["uris"].split())
            yield Entry(uris, suites, components, fields.get("signed-by", ""))


def _own(suites: list[str]) -> str:
    """Give those suites that are the distribution's: its release, by code name or alias.

    An archive without suites (`./`) is named by whoever runs this machine: it counts.
    """
    try:
        codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    except OSError:
        codename = ""
    names = tuple(name for name in (codename, *_ALIASES) if name)
    own = [
        suite
        for suite in suites
        if suite.endswith("/") or re.split(r"[-/]", suite, maxsplit=1)[0] in names
    ]
    return " ".join(own)
