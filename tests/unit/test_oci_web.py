"""Answers that never end, and how long is waited before a request is made again."""

from __future__ import annotations

import time
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests
from urllib3.exceptions import ProtocolError

from sprout.oci import web
from sprout.oci.refused import RefusedError


def answer(*parts: bytes | Exception, length: str = "") -> requests.Response:
    """Give an answer whose body comes in these parts."""
    left = list(parts)

    def read1(size: int, *, decode_content: bool) -> bytes:
        assert size > 0
        assert not decode_content
        part = left.pop(0) if left else b""
        if isinstance(part, Exception):
            raise part
        return part

    fake: Any = SimpleNamespace(
        raw=SimpleNamespace(read1=read1), headers={"Content-Length": length}
    )
    return cast(requests.Response, fake)


def test_body_is_bounded() -> None:
    assert web.read_body(answer(b"ab", b"c"), 3, "x") == b"abc"
    with pytest.raises(RefusedError, match="longer than 2 bytes"):
        web.read_body(answer(b"ab", b"c"), 2, "x")
    with pytest.raises(RefusedError, match="longer than 2 bytes"):
        web.read_body(answer(AssertionError(), length="3"), 2, "x")
    assert b"".join(web.pieces(answer(b"abcdef", b"g"), 4)) == b"abcd"


def test_broken_body_is_an_error_of_requests() -> None:
    with pytest.raises(requests.exceptions.ConnectionError, match="cut"):
        list(web.pieces(answer(b"a", ProtocolError("cut")), 9))


def test_pauses() -> None:
    assert web._pause(1, "0") == 0
    assert web._pause(1, "7") == 7
    assert web._pause(1, "99999999999") == 30
    assert web._pause(1, "nonsense") == 0
    assert web._pause(1, "Thu, 01 Jan 99999999999 00:00:00 GMT") == 0
    assert web._pause(1, "Thu, 01 Jan 1970 00:00:00 +99999999999999999999") == 0
    assert 3 < web._pause(1, formatdate(time.time() + 5, usegmt=True)) <= 5
    assert web._pause(1, formatdate(time.time() - 500, usegmt=True)) == 0
    assert all(0.2 <= web._pause(1) <= 0.4 for _ in range(50))
    assert web._pause(60) <= 30
