"""JSON from outside: bounded in size, no name twice, no surprise in a type."""

from __future__ import annotations

import json
from typing import Any

from sprout.oci.refused import malformed

# A value of Python takes 50 bytes and more, in JSON it takes two.
_MAX_PARTS = 1 << 18


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """Parse one JSON object, which the caller has bounded in size.

    Raises RefusedError for anything else, for more values than anybody needs, and for an object
    that has a name twice: two readers could disagree about it.
    """
    if data.count(b"{") + data.count(b"[") + data.count(b",") > _MAX_PARTS:
        raise malformed(where, f"has more than {_MAX_PARTS:,} values in its JSON")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in items]
        if len(set(names)) != len(names):
            raise malformed(where, "an object in its JSON has a name twice")
        return dict(items)

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=_refuse)
        if b"\\ud" in data.lower():  # half of a character, which nothing can write again
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise malformed(where, f"is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise malformed(where, "its JSON is no object")
    return value


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number")


def write_json(value: object, *, ordered: bool = False) -> bytes:
    """Give the one serialisation that we write: without white space, in UTF-8.

    Names are sorted, or stay in the order they have with `ordered`. As Go does, the characters
    that HTML knows are escaped.
    """
    text = json.dumps(value, sort_keys=not ordered, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def text_field(values: dict[str, Any], name: str, where: str, default: str | None = None) -> str:
    """Give a string field; `default` makes it optional.  Raises RefusedError."""
    value = values.get(name, default)
    if not isinstance(value, str):
        raise malformed(where, f"{name} is no string" if name in values else f"{name} is missing")
    return value


def table_field(values: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    """Give an object field; raises RefusedError."""
    value = values.get(name)
    if not isinstance(value, dict):
        raise malformed(where, f"{name} is no object" if name in values else f"{name} is missing")
    return value


def list_field(values: dict[str, Any], name: str, where: str, limit: int) -> list[Any]:
    """Give an array field of at most `limit` entries; raises RefusedError."""
    value = values.get(name)
    if not isinstance(value, list):
        raise malformed(where, f"{name} is no array" if name in values else f"{name} is missing")
    if len(value) > limit:
        raise malformed(where, f"{name} has more than {limit} entries")
    return value
