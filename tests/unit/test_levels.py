"""The SBAT level table: what is packed reads back, and what the stub would refuse is refused."""

from __future__ import annotations

import random
import re
import struct

import pytest

from sprout.base.errors import SproutError
from sprout.format import levels
from sprout.format.sbat import parse_sbat

ROWS = {"sprout-stub": 2, "linux": levels.MAX_GENERATION, "sbat": 1}


def test_table_is_as_the_stub_reads_it() -> None:
    data = levels.pack(ROWS)
    assert data[:8] == b"SBVL" + struct.pack("<HH", 1, 3)
    assert data[8:40] == b"linux".ljust(24, b"\0") + struct.pack("<II", 0x7FFFFFFF, 0)
    assert data[72:] == b"sprout-stub".ljust(24, b"\0") + struct.pack("<II", 2, 0)


def test_table_reads_back() -> None:
    assert levels.unpack(levels.pack(ROWS), "here") == ROWS
    assert list(levels.unpack(levels.pack(ROWS), "here")) == sorted(ROWS)
    assert levels.unpack(levels.pack({}), "here") == {}
    most = {f"component-{number:013}": number for number in range(1, 65)}
    assert len(levels.pack(most)) == levels.MAX_BYTES
    assert levels.unpack(levels.pack(most), "here") == most


@pytest.mark.parametrize(
    "rows",
    [
        {"": 1},
        {"a" * 24: 1},
        {"a b": 1},
        {"a,b": 1},
        {"a\0": 1},
        {"a\n": 1},
        {"ü": 1},
        {"linux": 0},
        {"linux": -1},
        {"linux": 1 << 31},
        {f"c{number}": 1 for number in range(65)},
    ],
)
def test_what_does_not_fit_is_not_packed(rows: dict[str, int]) -> None:
    with pytest.raises(SproutError, match="SBAT level: "):
        levels.pack(rows)


@pytest.mark.parametrize(
    ("offset", "data", "field"),
    [
        (0, b"s", "magic"),
        (4, b"\2", "version"),
        (6, b"\2", "count"),
        (6, b"\4", "count"),
        (7, b"\xff", "count"),
        (8, b"\0", "row 1: component"),
        (9, b"\x7f", "row 1: component"),
        (9, b"\xff", "row 1: component"),
        (9, b",", "row 1: component"),
        (9, b" ", "row 1: component"),
        (31, b"x", "row 1: component"),
        (8, b"sbat\0", "row 2: component"),
        (40, b"a", "row 2: component"),
        (32, b"\0\0\0\0", "row 1: generation"),
        (35, b"\x80", "row 1: generation"),
        (36, b"\1", "row 1: reserved"),
    ],
)
def test_every_malformed_field_is_named(offset: int, data: bytes, field: str) -> None:
    table = bytearray(levels.pack(ROWS))
    table[offset : offset + len(data)] = data
    with pytest.raises(SproutError, match=re.escape(f"here: SBAT level: {field}: ")):
        levels.unpack(bytes(table), "here")


def test_every_other_length_is_refused() -> None:
    table = levels.pack(ROWS)
    for size in range(len(table)):
        with pytest.raises(SproutError, match="here: SBAT level: "):
            levels.unpack(table[:size], "here")
    with pytest.raises(SproutError, match="count"):
        levels.unpack(table + b"\0", "here")


def test_altered_tables_give_the_same_rows_or_an_error() -> None:
    chance = random.Random(4)  # noqa: S311 - repeatable on purpose
    original = levels.pack(ROWS)
    for _ in range(2000):
        data = bytearray(original)
        data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            rows = levels.unpack(bytes(data), "here")
        except SproutError:
            continue
        # What is accepted has one form only.
        assert levels.pack(rows) == data


def test_generations_of_sbat() -> None:
    rows = parse_sbat("sbat,1,a,b,c,d\nlinux,7,a,b,c,d\n", "here")
    assert levels.generations(rows, "here") == {"sbat": 1, "linux": 7}
    with pytest.raises(SproutError, match=r"here: \.sbat: component linux is there twice"):
        levels.generations((*rows, rows[1]), "here")
