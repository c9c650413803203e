"""Authenticated EFI variables: PK, KEK, db, dbx, and the SBAT level that the stub reads.

A write to one carries an EFI_VARIABLE_AUTHENTICATION_2 before the new contents (UEFI specification
2.10, section 8.2.6); a file of those bytes is what tools call `.auth`. Numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from cryptography.x509 import Certificate

from sprout.base.errors import SproutError
from sprout.format.stamps import VENDOR_GUID
from sprout.signing import cms
from sprout.signing.signer import Signer

NON_VOLATILE = 0x01
BOOTSERVICE_ACCESS = 0x02
RUNTIME_ACCESS = 0x04
TIME_BASED_AUTHENTICATED_WRITE_ACCESS = 0x20
APPEND_WRITE = 0x40
AUTHENTICATED = (
    NON_VOLATILE | BOOTSERVICE_ACCESS | RUNTIME_ACCESS | TIME_BASED_AUTHENTICATED_WRITE_ACCESS
)

GLOBAL_VARIABLE = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
IMAGE_SECURITY_DATABASE = UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
VENDOR_OF = {  # variable name: its vendor GUID
    "PK": GLOBAL_VARIABLE,
    "KEK": GLOBAL_VARIABLE,
    "db": IMAGE_SECURITY_DATABASE,
    "dbx": IMAGE_SECURITY_DATABASE,
    "SbatLevel": UUID(VENDOR_GUID),
}

MAX_UPDATE_BYTES = 1 << 20
_TIME = struct.Struct("<H6BIh2B")
_WIN_CERTIFICATE = struct.Struct("<IHH16s")
_PKCS7 = UUID("4aafd29d-68df-49ee-8aa9-347d375665a7")
_REVISION = 0x0200
_TYPE_EFI_GUID = 0x0EF1
_HINT = "Make the file again; this one is damaged or no authenticated write."


@dataclass(frozen=True)
class Variable:
    """An EFI variable with its contents; `time` is that of an authenticated one's last write."""

    name: str
    guid: UUID
    attributes: int
    data: bytes
    time: datetime | None = None


@dataclass(frozen=True)
class Update:
    """An authenticated write: its time, its signature and the new contents, not yet verified."""

    time: datetime
    signed: cms.SignedData
    data: bytes


def well_known(name: str, data: bytes, time: datetime | None = None) -> Variable:
    """Give one of the variables in VENDOR_OF with its vendor GUID and attributes."""
    return Variable(name, VENDOR_OF[name], AUTHENTICATED, data, time)


def authenticated(
    variable: Variable, timestamp: datetime, signer: Signer, append: bool = False
) -> bytes:
    """Give the bytes that SetVariable takes for `variable`, and that `.auth` files hold.

    `timestamp` is in whole seconds and has to be later than the one of the last write. With
    `append`, what is there stays; SetVariable then also wants APPEND_WRITE in the attributes.
    Empty contents delete the variable. Raises SproutError when the key cannot sign, ValueError when
    `timestamp` has no time zone.
    """
    attributes = variable.attributes | (APPEND_WRITE if append else 0)
    time = _pack_time(timestamp)
    message = _signed_bytes(variable.name, variable.guid, attributes, time, variable.data)
    signed = cms.detached(signer, message, variable.name)
    head = _WIN_CERTIFICATE.pack(
        _WIN_CERTIFICATE.size + len(signed), _REVISION, _TYPE_EFI_GUID, _PKCS7.bytes_le
    )
    return time + head + signed + variable.data


def parse_update(data: bytes, where: object) -> Update:
    """Read the bytes of an authenticated write; `where` names their origin in errors.

    Raises SproutError naming the field that is wrong.
    """
    if len(data) > MAX_UPDATE_BYTES:
        raise _error(where, "size", f"longer than the {MAX_UPDATE_BYTES:,} bytes allowed here")
    start = _TIME.size + _WIN_CERTIFICATE.size
    if len(data) < start:
        raise _error(where, "EFI_VARIABLE_AUTHENTICATION_2", "is cut short")
    size, revision, kind, guid = _WIN_CERTIFICATE.unpack_from(data, _TIME.size)
    end = _TIME.size + size
    if not start < end <= len(data):
        raise _error(where, "dwLength", f"{size:,} cannot be")
    if (revision, kind, guid) != (_REVISION, _TYPE_EFI_GUID, _PKCS7.bytes_le):
        raise _error(where, "AuthInfo", "is no PKCS #7 signature")
    time = _unpack_time(data, where)
    return Update(time, cms.parse(data[start:end], where), data[end:])


def verify_update(
    data: bytes,
    name: str,
    guid: UUID,
    certificates: Iterable[Certificate],
    where: object,
    *,
    append: bool = False,
) -> Variable:
    """Check an authenticated write to the variable as firmware does, and give what it sets.

    One of `certificates` has to be the signer's own. Raises SproutError when none is, or when the
    bytes do not parse or were signed for another variable, time or content.
    """
    update = parse_update(data, where)
    named = cms.signers(update.signed, ())
    signer = next((row for row in certificates if row in named), None)
    if signer is None:
        raise _error(where, "signer", "is none of the certificates that may write the variable")
    attributes = AUTHENTICATED | (APPEND_WRITE if append else 0)
    message = _signed_bytes(name, guid, attributes, data[: _TIME.size], update.data)
    form = (update.signed.content_type, update.signed.content, update.signed.attributes)
    if form != (cms.DATA, None, None):
        raise _error(where, "SignedData", "is not over detached data without attributes")
    cms.verify(update.signed, message, signer, where)
    return Variable(name, guid, AUTHENTICATED, update.data, update.time)


def _signed_bytes(name: str, guid: UUID, attributes: int, time: bytes, data: bytes) -> bytes:
    return name.encode("utf-16-le") + guid.bytes_le + attributes.to_bytes(4, "little") + time + data


def _pack_time(time: datetime) -> bytes:
    """Give an EFI_TIME; all that is not a date and a time in UTC has to be 0."""
    if time.tzinfo is None:
        raise ValueError("a time stamp needs a time zone")
    utc = time.astimezone(UTC)
    clock = (utc.month, utc.day, utc.hour, utc.minute, utc.second)
    return _TIME.pack(utc.year, *clock, 0, 0, 0, 0, 0)


def _unpack_time(data: bytes, where: object) -> datetime:
    year, month, day, hour, minute, second, *rest = _TIME.unpack_from(data)
    try:
        time = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise _error(where, "TimeStamp", "is no time") from None
    if any(rest):
        raise _error(where, "TimeStamp", "has a fraction, a zone or padding that is not 0")
    return time


def _error(where: object, field: str, problem: str) -> SproutError:
    return SproutError(f"{where}: {field}: {problem}", _HINT)
