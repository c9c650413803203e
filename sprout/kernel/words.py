"""Words of a command line that switch off what a kernel is built with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sprout.base.table import load_table

# What kstrtobool() of Linux reads as no and as yes (lib/kstrtox.c), by how it begins.
_NO, _YES = (
    ("n", "N", "0", "f", "F", "of", "oF", "Of", "OF"),
    ("y", "Y", "1", "t", "T", "on", "oN", "On", "ON"),
)


@dataclass(frozen=True)
class Words:
    """The words that are forbidden, and why."""

    reason: str
    forbidden: tuple[str, ...]


def load_words(tree: Path) -> Words:
    """Read `kernels/words.toml`; raises SproutError naming the field that is malformed."""
    table = load_table(tree / "kernels" / "words.toml")
    words = Words(table.text("reason"), tuple(table.texts("forbidden")))
    for word in words.forbidden:
        if not word.isprintable() or len(word.split()) != 1:
            raise table.error("forbidden", f"{word!r} is no word", 'Write e.g. "pti=off".')
    table.finish()
    return words


def weakening(cmdline: str, words: Words) -> list[str]:
    """Give the words of a command line that are forbidden, as they stand there.

    Words between quotes and after `--` count as well: some are read by a second parser, which knows
    neither (Linux, arch/x86/lib/cmdline.c).
    """
    return [
        word
        for word in cmdline.split()
        if any(_is(word.replace('"', ""), bad) for bad in words.forbidden)
    ]


def _is(word: str, bad: str) -> bool:
    if bad.endswith("*"):
        return _plain(word).startswith(_plain(bad[:-1]))
    name, _, value = word.partition("=")
    wanted_name, _, wanted = bad.partition("=")
    if _plain(name) != _plain(wanted_name):
        return False
    if not wanted:
        return True
    if wanted in ("0", "1"):
        return value.startswith(_NO if wanted == "0" else _YES)
    return wanted in value.split(",")


def _plain(name: str) -> str:
    """Give a name as the kernel compares it; of a sysctl it takes both separators."""
    name = name.replace("-", "_")
    return name.replace("/", ".") if name.startswith("sysctl") else name


def lines_of(pairs: Iterable[tuple[str, str]], words: Words) -> list[str]:
    """Give `WHERE: WORD` for each forbidden word of command lines, which come with their places."""
    return [f"{where}: {word}" for where, cmdline in pairs for word in weakening(cmdline, words)]
