"""How Linux reads a word of its command line."""

from __future__ import annotations

# What kstrtobool() of Linux reads as no and as yes (lib/kstrtox.c), by how it begins.
_NO, _YES = (
    ("n", "N", "0", "f", "F", "of", "oF", "Of", "OF"),
    ("y", "Y", "1", "t", "T", "on", "oN", "On", "ON"),
)


def is_linux_word(word: str, bad: str) -> bool:
    """Say whether `word` is what `bad` forbids, which is written as kernels/words.toml says.

    Words between quotes and after `--` count as well: some are read by a second parser, which knows
    neither (Linux, arch/x86/lib/cmdline.c).
    """
    word = word.replace('"', "")
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
