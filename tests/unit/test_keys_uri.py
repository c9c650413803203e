"""PKCS #11 URIs: what names one key is taken, all else is refused by name."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.signing.pkcs11_uri import TokenUri, parse_uri

MODULE = "module-path=/usr/lib/module.so"


def test_uri_is_read_and_written_back() -> None:
    text = (
        "pkcs11:token=My%20farm%3b;serial=12ab;object=release-db;id=%01%ff;type=private"
        f"?{MODULE}&pin-source=file:/run/pin"
    )
    uri = parse_uri(text, "here")
    assert uri == TokenUri(
        module_path=Path("/usr/lib/module.so"),
        token="My farm;",  # noqa: S106 - a label
        serial="12ab",
        object="release-db",
        id=b"\x01\xff",
        pin_source=Path("/run/pin"),
    )
    assert parse_uri(uri.text(), "again") == uri


def test_module_path_may_stand_in_the_path() -> None:
    assert parse_uri(f"pkcs11:token=a;{MODULE}", "x").module_path == Path("/usr/lib/module.so")


def test_odd_names_come_back_as_they_were() -> None:
    label = "50% off; ü?&="
    uri = TokenUri(Path("/a b/ü&?;%.so"), token=label, object="/a", id=bytes(range(256)))
    assert parse_uri(uri.text(), "x") == uri


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is no pkcs11: URI"),
        ("http://token", "is no pkcs11: URI"),
        ("pkcs11:", "is no pkcs11: URI"),
        ("pkcs11:token", "is no pkcs11: URI"),
        ("pkcs11:token=a", "module-path: is missing"),
        (f"pkcs11:object=a?{MODULE}", "token: is missing"),
        (f"pkcs11:token=a;token=b?{MODULE}", "token: is there twice"),
        (f"pkcs11:token=a?{MODULE}&pin-value=1234", "pin-value: would show the PIN"),
        (f"pkcs11:token=a?{MODULE}&module-name=x", "module-name: is not taken"),
        (f"pkcs11:token=a;slot-id=1?{MODULE}", "slot-id: is not taken"),
        (f"pkcs11:token=a;type=public?{MODULE}", "type: is not private"),
        ("pkcs11:token=a?module-path=lib.so", "module-path: is no absolute path"),
        (f"pkcs11:token=a?{MODULE}&pin-source=|command", "pin-source: is no absolute path"),
        (f"pkcs11:token=%ff?{MODULE}", "token: is not UTF-8"),
        (f"pkcs11:token=%00?{MODULE}", "token: is not printable"),
        (f"pkcs11:token=%1b[31m?{MODULE}", "token: is not printable"),
        (f"pkcs11:token=a%?{MODULE}", "is no pkcs11: URI"),
        (f"pkcs11:token=a%zz?{MODULE}", "is no pkcs11: URI"),
        ("pkcs11:token=" + "a" * 5000, "is no pkcs11: URI"),
    ],
)
def test_wrong_uri_is_named(text: str, problem: str) -> None:
    with pytest.raises(SproutError, match="here: ") as caught:
        parse_uri(text, "here")
    assert problem in caught.value.message
    assert "1234" not in caught.value.message


def test_mutants_raise_nothing_else() -> None:
    text = f"pkcs11:token=My%20farm;object=db;id=%01%ff?{MODULE}&pin-source=file:/run/pin"
    chance = random.Random(3)  # noqa: S311 - has to repeat
    for _ in range(5000):
        mutant = list(text)
        for _ in range(chance.randrange(1, 5)):
            mutant[chance.randrange(len(mutant))] = chr(
                chance.choice((37, 59, 61, 63, 38, 0x1F600))
            )
        try:
            uri = parse_uri("".join(mutant), "mutant")
        except SproutError:
            continue
        assert parse_uri(uri.text(), "again") == uri
