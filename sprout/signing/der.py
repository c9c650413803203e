"""DER, as little as signatures need: a strict encoder and a strict, bounded reader.

(ITU-T X.690, section 10 "Distinguished encoding rules".) Only low tag numbers and definite, minimal
lengths are DER; everything else is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from sprout.base.errors import SproutError

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL = 0x05
OBJECT_IDENTIFIER = 0x06
SEQUENCE = 0x30
SET = 0x31

_CONTEXT = 0x80
_CONSTRUCTED = 0x20
_MAX_DEPTH = 16  # SignedData with its certificates' names needs about ten
_MAX_INTEGER_BYTES = 64
_MAX_OID_BYTES = 64
_HINT = "Sign or fetch the file again; this one is damaged."


def element(tag: int, *parts: bytes) -> bytes:
    """Give one element: its tag, its length and `parts` one after another."""
    size = sum(map(len, parts))
    if size < 0x80:
        return bytes((tag, size)) + b"".join(parts)
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + b"".join(parts)


def sequence(*parts: bytes) -> bytes:
    """Give a SEQUENCE of encoded elements."""
    return element(SEQUENCE, *parts)


def set_of(*parts: bytes) -> bytes:
    """Give a SET OF encoded elements, sorted by their encodings (X.690, section 11.6)."""
    return element(SET, *sorted(parts))


def integer(value: int) -> bytes:
    """Give an INTEGER."""
    return element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def octets(value: bytes) -> bytes:
    """Give an OCTET STRING."""
    return element(OCTET_STRING, value)


def null() -> bytes:
    """Give a NULL."""
    return element(NULL)


def identifier(dotted: str) -> bytes:
    """Give the OBJECT IDENTIFIER of dotted decimal numbers."""
    first, second, *rest = map(int, dotted.split("."))
    encoded = bytearray()
    for arc in (first * 40 + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        encoded += bytes(reversed(groups))
    return element(OBJECT_IDENTIFIER, bytes(encoded))


def context(number: int, *, constructed: bool) -> int:
    """Give the tag [number]: constructed for EXPLICIT and for an IMPLICIT SET or SEQUENCE."""
    return _CONTEXT | (_CONSTRUCTED if constructed else 0) | number


@dataclass(frozen=True)
class Element:
    """One element read: its tag, its contents, and all its bytes with tag and length."""

    tag: int
    content: bytes
    raw: bytes


class Reader:
    """Reads elements one after another; `where` and a field's name stand in every error."""

    def __init__(self, data: bytes, where: object, field: str, depth: int = 0) -> None:
        self._data = data
        self._offset = 0
        self._depth = depth
        self.where = where
        self.field = field

    def error(self, problem: str) -> SproutError:
        """Give an error that names the file and the field."""
        return SproutError(f"{self.where}: {self.field}: {problem}", _HINT)

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self._offset == len(self._data)

    @property
    def rest(self) -> bytes:
        """What is left, unread."""
        return self._data[self._offset :]

    def peek(self) -> int | None:
        """Give the tag of the next element; None at the end."""
        return None if self.at_end else self._data[self._offset]

    def read(self, tag: int, field: str = "") -> Element:
        """Give the next element, which has to have `tag`; `field` names it in errors."""
        if field:
            self.field = field
        if self.peek() != tag:
            found = "the end" if self.at_end else f"tag 0x{self._data[self._offset]:02x}"
            raise self.error(f"{found} instead of tag 0x{tag:02x}")
        return self.any()

    def any(self) -> Element:
        """Give the next element, whatever its tag."""
        start = self._offset
        if len(self._data) - start < 2:
            raise self.error("DER ends in the middle of an element")
        tag = self._data[start]
        if tag & 0x1F == 0x1F:
            raise self.error("DER has a tag of more than one byte")
        size, head = self._length(start + 1)
        end = head + size
        if end > len(self._data):
            raise self.error("a DER length reaches beyond what is there")
        self._offset = end
        return Element(tag, self._data[head:end], self._data[start:end])

    def enter(self, tag: int, field: str = "") -> Reader:
        """Give a reader of the contents of the next element, which has to have `tag`."""
        found = self.read(tag, field)
        if self._depth == _MAX_DEPTH:
            raise self.error("DER is nested too deeply")
        return Reader(found.content, self.where, self.field, self._depth + 1)

    def finish(self) -> None:
        """Refuse what is left over."""
        if not self.at_end:
            raise self.error("something follows the last DER element")

    def integer(self, field: str = "") -> int:
        """Give the next INTEGER, of at most 64 bytes."""
        content = self.read(INTEGER, field).content
        if not 0 < len(content) <= _MAX_INTEGER_BYTES:
            raise self.error("an INTEGER has an impossible length")
        if len(content) > 1 and content[0] in (0, 0xFF) and content[0] >> 7 == content[1] >> 7:
            raise self.error("an INTEGER is longer than it needs to be")
        return int.from_bytes(content, "big", signed=True)

    def identifier(self, field: str = "") -> str:
        """Give the next OBJECT IDENTIFIER as dotted decimal numbers."""
        content = self.read(OBJECT_IDENTIFIER, field).content
        if not 0 < len(content) <= _MAX_OID_BYTES or content[-1] & 0x80:
            raise self.error("an OBJECT IDENTIFIER has an impossible length")
        arcs = []
        arc = 0
        begins = True
        for byte in content:
            if begins and byte == 0x80:
                raise self.error("an OBJECT IDENTIFIER is longer than it needs to be")
            arc = arc << 7 | byte & 0x7F
            begins = not byte & 0x80
            if begins:
                arcs.append(arc)
                arc = 0
        first = min(arcs[0] // 40, 2)
        return ".".join(map(str, (first, arcs[0] - first * 40, *arcs[1:])))

    def _length(self, offset: int) -> tuple[int, int]:
        """Give the length that stands at `offset` and the offset after it."""
        first = self._data[offset]
        if first < 0x80:
            return first, offset + 1
        count = first & 0x7F
        if not 0 < count <= 4:
            raise self.error("a DER length is indefinite or has more than four bytes")
        encoded = self._data[offset + 1 : offset + 1 + count]
        size = int.from_bytes(encoded, "big")
        if len(encoded) != count or encoded[0] == 0 or size < 0x80:
            raise self.error("a DER length is not minimal")
        return size, offset + 1 + count
