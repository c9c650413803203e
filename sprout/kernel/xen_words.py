"""How Xen reads a word of its command line."""

from __future__ import annotations

from collections.abc import Iterator

# parse_bool() of Xen (xen/common/kernel.c), as kernels/words.toml writes it.
_TRUTH = dict.fromkeys(("0", "no", "off", "false", "disable"), "0") | dict.fromkeys(
    ("1", "yes", "on", "true", "enable"), "1"
)


def is_xen_word(word: str, bad: str) -> bool:
    """Say whether `word` is what `bad` forbids, which is written as kernels/words.toml says."""
    return bad in _sayings(word)


def _sayings(word: str) -> Iterator[str]:
    """Give all that a word says, in the ways that kernels/words.toml can write it."""
    key, _, text = word.partition("=")
    name = key.removeprefix("no-")
    yield name
    for item in text.split(","):
        yield f"{name}={_truth(item or '1', negated=name != key)}"
        part, _, value = item.partition("=")
        plain = part.removeprefix("no-")
        # Some parts take a list of their own; `no-` there is a no to one of it: rsb=no-hvm.
        value = "0" if value.startswith("no-") else _truth(value or "1", negated=plain != part)
        yield from (f"{name}.{plain}={value}", f"{name}.*={value}")


def _truth(value: str, *, negated: bool) -> str:
    truth = _TRUTH.get(value, value)
    return {"0": "1", "1": "0"}.get(truth, truth) if negated else truth
