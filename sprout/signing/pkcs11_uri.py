"""PKCS #11 URIs: which token, which key in it, and through which library (RFC 7512).

Only what names one key is taken. A PIN inside a URI is refused: URIs stand on command lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from sprout.base.errors import SproutError

MAX_URI_CHARACTERS = 4096
_SCHEME = "pkcs11:"
_PAIR = re.compile(r"([a-z-]+)=((?:%[0-9A-Fa-f]{2}|[!-$&-~])*)")  # a % has to escape something
_BARE = "~._-:[]@!$'()*+,=&/"  # what RFC 7512 leaves unescaped in the path
_HINT = "A URI is such as 'pkcs11:token=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so'."
_TOKEN_FIELDS = ("token", "manufacturer", "serial", "model")


@dataclass(frozen=True)
class TokenUri:
    """A token, and a key in it where `object` or `id` is given; "" and b"" stand for any."""

    module_path: Path
    token: str = ""
    manufacturer: str = ""
    serial: str = ""
    model: str = ""
    object: str = ""
    id: bytes = b""
    pin_source: Path | None = None

    def with_key(self, label: str, identifier: bytes) -> TokenUri:
        """Give the URI of a key in the same token."""
        return replace(self, object=label, id=identifier)

    def text(self) -> str:
        """Give the URI itself."""
        path = [
            f"{field}={quote(getattr(self, field), safe=_BARE)}"
            for field in (*_TOKEN_FIELDS, "object")
            if getattr(self, field)
        ]
        if self.id:
            path.append("id=" + "".join(f"%{byte:02x}" for byte in self.id))
        query = [f"module-path={quote(str(self.module_path), safe=_BARE.replace('&', ''))}"]
        if self.pin_source is not None:
            source = quote(str(self.pin_source), safe=_BARE.replace("&", ""))
            query.append(f"pin-source=file:{source}")
        return f"{_SCHEME}{';'.join(path)}?{'&'.join(query)}"


def parse_uri(text: str, where: object) -> TokenUri:
    """Read a URI; `where` names its origin in errors.

    Attributes of the query are also taken in the path, where people often write them. Raises
    SproutError naming the attribute that is unknown, double, missing or malformed.
    """
    if len(text) > MAX_URI_CHARACTERS or not text.startswith(_SCHEME):
        raise SproutError(f"{where}: is no pkcs11: URI", _HINT)
    values = _attributes(text.removeprefix(_SCHEME), where)
    if values.pop("type", b"private") != b"private":
        raise _error(where, "type", "is not private")
    identifier = values.pop("id", b"")
    module = _path(values.pop("module-path", b""), "module-path", where)
    if module is None:
        raise _error(where, "module-path", "is missing")
    source = _path(values.pop("pin-source", b"").removeprefix(b"file:"), "pin-source", where)
    texts = {field: _text(values.pop(field, b""), field, where) for field in _TOKEN_FIELDS}
    label = _text(values.pop("object", b""), "object", where)
    if values:
        raise _error(where, next(iter(values)), "is not taken here")
    if not any(texts.values()):
        raise _error(where, "token", "is missing")
    return TokenUri(module_path=module, object=label, id=identifier, pin_source=source, **texts)


def _attributes(text: str, where: object) -> dict[str, bytes]:
    values: dict[str, bytes] = {}
    path, _, query = text.partition("?")
    for pair in (*path.split(";"), *(query.split("&") if query else ())):
        match = _PAIR.fullmatch(pair)
        if match is None:
            raise SproutError(f"{where}: is no pkcs11: URI: {pair!r}", _HINT)
        name, value = match.groups()
        if name == "pin-value":
            raise _error(where, name, "would show the PIN to everybody on this machine")
        if name in values:
            raise _error(where, name, "is there twice")
        values[name] = unquote_to_bytes(value)
    return values


def _text(value: bytes, field: str, where: object) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise _error(where, field, "is not UTF-8") from None
    if not text.isprintable():
        raise _error(where, field, "is not printable")
    return text


def _path(value: bytes, field: str, where: object) -> Path | None:
    text = _text(value, field, where)
    if text and not text.startswith("/"):
        raise _error(where, field, "is no absolute path")
    return Path(text) if text else None


def _error(where: object, field: str, problem: str) -> SproutError:
    return SproutError(f"{where}: {field}: {problem}", _HINT)
