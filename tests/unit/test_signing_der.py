"""The DER encoder and reader: what they agree on, and what the reader refuses."""

from __future__ import annotations

import pytest

from sprout.base.errors import SproutError
from sprout.signing import der


def reader(data: bytes) -> der.Reader:
    return der.Reader(data, "file", "field")


@pytest.mark.parametrize(
    ("encoded", "wanted"),
    [
        (der.integer(0), "020100"),
        (der.integer(127), "02017f"),
        (der.integer(128), "02020080"),
        (der.integer(-128), "0202ff80"),
        (der.identifier("1.2.840.113549.1.7.2"), "06092a864886f70d010702"),
        (der.identifier("2.999.3"), "0603883703"),
        (der.octets(bytes(128))[:3], "048180"),
        (der.octets(bytes(256))[:4], "04820100"),
        (der.set_of(der.integer(2), der.integer(1)), "3106020101020102"),
        (der.sequence(der.null(), der.integer(1)), "30050500020101"),
    ],
)
def test_encoding_is_the_standards(encoded: bytes, wanted: str) -> None:
    assert encoded.hex() == wanted


@pytest.mark.parametrize("value", [0, 1, -1, 127, 128, 255, 256, -129, 1 << 159, -(1 << 200)])
def test_integers_come_back(value: int) -> None:
    # -128 apart (see above), what is written is the shortest form, which the reader insists on.
    assert reader(der.integer(value)).integer() == value


@pytest.mark.parametrize("dotted", ["1.2.840.113549", "2.16.840.1.101.3.4.2.1", "0.9", "2.100.3"])
def test_identifiers_come_back(dotted: str) -> None:
    assert reader(der.identifier(dotted)).identifier() == dotted


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("30", "ends in the middle"),
        ("3080", "indefinite"),
        ("3085010203040506", "more than four"),
        ("300201", "beyond what is there"),
        ("308101ff", "not minimal"),
        ("30820001ff", "not minimal"),
        ("3082", "not minimal"),
        ("3f0100", "more than one byte"),
    ],
)
def test_what_is_not_der_is_refused(data: str, words: str) -> None:
    with pytest.raises(SproutError, match=words) as caught:
        reader(bytes.fromhex(data)).any()
    assert caught.value.message.startswith("file: field: ")


@pytest.mark.parametrize("data", ["0200", "02020001", "0202ff80", "0241" + "01" * 65, "0203ffffff"])
def test_integers_that_are_not_minimal_are_refused(data: str) -> None:
    with pytest.raises(SproutError, match="INTEGER"):
        reader(bytes.fromhex(data)).integer()


@pytest.mark.parametrize("data", ["0600", "060180", "06022a80", "0603808001", "0641" + "2a" * 65])
def test_identifiers_that_are_none_are_refused(data: str) -> None:
    with pytest.raises(SproutError, match="OBJECT IDENTIFIER"):
        reader(bytes.fromhex(data)).identifier()


def test_nesting_is_bounded() -> None:
    data = b""
    for _ in range(40):
        data = der.sequence(data)
    inner = reader(data)
    with pytest.raises(SproutError, match="nested too deeply"):
        for _ in range(40):
            inner = inner.enter(der.SEQUENCE)


def test_leftovers_and_other_tags_are_refused() -> None:
    both = reader(der.null() + der.null())
    both.read(der.NULL)
    with pytest.raises(SproutError, match="something follows"):
        both.finish()
    with pytest.raises(SproutError, match="field: tag 0x05 instead of tag 0x30"):
        both.read(der.SEQUENCE)
    both.any()
    with pytest.raises(SproutError, match="the end instead of"):
        both.read(der.NULL)
