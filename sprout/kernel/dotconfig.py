"""A final `.config`: its values, and how two of them differ."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(r"^(CONFIG_[A-Za-z0-9_]+)=(.*)$", re.MULTILINE)
# Kconfig writes these from the compiler and the host; they say nothing about the flavor.
_FROM_TOOLCHAIN = re.compile(
    r"CONFIG_(?:(?:CC|LD|AS|GCC|CLANG|LLD|PAHOLE|RUSTC|BINDGEN)_.*|.*_VERSION_TEXT)"
)


@dataclass(frozen=True)
class Changes:
    """Options that only the new configuration has, only the old one had, or that differ."""

    new: dict[str, str]
    lost: dict[str, str]
    changed: dict[str, tuple[str, str]]


def parse(text: str) -> dict[str, str]:
    """Give option and value of every option that is on; off and absent are the same."""
    return dict(_LINE.findall(text))


def compare(old: dict[str, str], new: dict[str, str]) -> Changes:
    """Give the differences, leaving out what only mirrors the toolchain."""
    kept = sorted(name for name in old.keys() | new.keys() if not _FROM_TOOLCHAIN.fullmatch(name))
    return Changes(
        new={name: new[name] for name in kept if name not in old},
        lost={name: old[name] for name in kept if name not in new},
        changed={
            name: (old[name], new[name])
            for name in kept
            if name in old and name in new and old[name] != new[name]
        },
    )
