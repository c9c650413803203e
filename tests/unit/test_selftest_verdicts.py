"""What a selftest said is taken at its word: neither failures nor mended ones go unseen."""

from __future__ import annotations

import pytest
from ktap import Expected, complaints

_SAID = """TAP version 13
1..3
ok 1 global.one
not ok 2 global.two
ok 3 # SKIP three
"""
_RIGHT = Expected("a/b", {"global.two": "why"}, {"three": "why"})


def test_what_is_expected_is_content() -> None:
    assert complaints(_RIGHT, _SAID, 1) == []


@pytest.mark.parametrize(
    ("expected", "text", "status", "word"),
    [
        (Expected("a/b", {}, {"three": "why"}), _SAID, 1, "global.two: failed"),
        (Expected("a/b", {"global.two": "why"}), _SAID, 1, "three: skipped"),
        (_RIGHT, _SAID.replace("not ok", "ok"), 0, "global.two: passed"),
        (_RIGHT, _SAID.replace("# SKIP ", ""), 1, "three: passed"),
        (_RIGHT, _SAID.replace("not ok 2 global.two\n", ""), 0, "told 2 of 3"),
        (_RIGHT, _SAID, 0, "ended with status 0"),
        (Expected("a/b"), "", 1, "b: failed"),
        (Expected("a/b"), "", 124, "b: failed"),
        (Expected("a/b"), "1..0 # SKIP none", 4, "b: skipped"),
        (Expected("a/b", {"b": "why"}), "", 0, "b: passed"),
        (Expected("a/b", {"c*": "why"}), "", 0, "no such part"),
        (Expected("a/b"), "1..1\nok 1 one\n", 139, "ended with status 139"),
    ],
)
def test_what_is_not_expected_is_told(
    expected: Expected, text: str, status: int, word: str
) -> None:
    assert word in "\n".join(complaints(expected, text, status))
