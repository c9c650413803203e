"""The lists of words that no command line may have, because they take hardening back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sprout.base.table import load_table
from sprout.kernel.linux_words import is_linux_word
from sprout.kernel.xen_words import is_xen_word


@dataclass(frozen=True)
class Words:
    """The words that are forbidden, and how one of a command line is compared with one of them."""

    forbidden: tuple[str, ...]
    same: Callable[[str, str], bool]


@dataclass(frozen=True)
class AllWords:
    """What is forbidden to Linux, and to the hypervisor."""

    linux: Words
    hypervisor: Words


def load_words(tree: Path) -> AllWords:
    """Read `kernels/words.toml`; raises SproutError naming the field that is malformed."""
    table = load_table(tree / "kernels" / "words.toml")
    lists = []
    for whose, same in (("linux", is_linux_word), ("hypervisor", is_xen_word)):
        entry = table.table(whose)
        entry.text("reason")
        words = Words(tuple(entry.texts("forbidden")), same)
        for word in words.forbidden:
            if not word.isprintable() or len(word.split()) != 1:
                raise entry.error("forbidden", f"{word!r} is no word", 'Write e.g. "pti=off".')
        entry.finish()
        lists.append(words)
    table.finish()
    return AllWords(*lists)


def weakening(cmdline: str, words: Words) -> list[str]:
    """Give the words of a command line that are forbidden, as they stand there."""
    return [
        word for word in cmdline.split() if any(words.same(word, bad) for bad in words.forbidden)
    ]


def weakening_host(hypervisor_cmdline: str, words: AllWords) -> list[str]:
    """Give the forbidden words of a hypervisor's command line.

    What stands behind `--` is given to the host's Linux (Xen, xen/arch/x86/setup.c).
    """
    own, _, of_linux = hypervisor_cmdline.partition(" -- ")
    return weakening(own, words.hypervisor) + weakening(of_linux, words.linux)


def at_place(where: str, words: Iterable[str]) -> list[str]:
    """Give `WHERE: WORD` for each word."""
    return [f"{where}: {word}" for word in words]
