"""OVMF's variable store: machines that trust one's own keys from their first boot.

The store is the region that edk2 keeps UEFI variables in (MdeModulePkg: Guid/VariableFormat.h),
at the start of a file such as OVMF_VARS.fd. It is written with virt-firmware; reading is done
here, strictly, because a store that a machine has written to is a file from outside. All numbers
are little-endian.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded, write_file
from sprout.signing import variables as names
from sprout.signing.variables import Variable

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MAX_STORE_BYTES = 64 << 20
_SECURE_BOOT_ENABLE = UUID("f0a30bc7-af08-4556-99c4-001009c93a44")
_CUSTOM_MODE = UUID("c076ec0c-7028-4399-a072-71ee5c448b9f")
_CERT_DB = UUID("d9bee56e-75dc-49d9-b4d7-b534210f637a")

_VOLUME = struct.Struct("<16x16sQ4sIH")  # EFI_FIRMWARE_VOLUME_HEADER (PI 1.8, volume 3, 3.2.1)
_NV_DATA = UUID("fff12b8d-7696-4c8b-a985-2747075b4f50")
_STORE = struct.Struct("<16sIBB6x")  # VARIABLE_STORE_HEADER
_AUTHENTICATED_STORE = UUID("aaf32c78-947b-439a-a180-2e144ec37792")
_FORMATTED, _HEALTHY = 0x5A, 0xFE
_HEADER = struct.Struct("<HBxIQ16sIII16s")  # AUTHENTICATED_VARIABLE_HEADER
_START = 0x55AA
_ADDED, _ADDED_BEING_REPLACED = 0x3F, 0x3E
_TIME = struct.Struct("<H5B9x")  # the part of EFI_TIME that a time stamp uses
_QCOW2 = b"QFI\xfb"
_HINT = "Name a variable store such as OVMF_VARS_4M.fd; this one is damaged or something else."


def write_store(template: Path, target: Path, variables: Iterable[Variable]) -> None:
    """Write a copy of the variable store `template` to `target` with `variables` in it.

    Those of the same name and GUID are replaced. With a PK among them the machine enforces Secure
    Boot: the switches that edk2 keeps for that (SecurityPkg, AuthVariableLib) are set too.
    Raises SproutError when the template is no raw variable store or has too little room.
    """
    from virt.firmware.efi import efivar  # noqa: PLC0415 - start-up
    from virt.firmware.varstore.edk2 import Edk2VarStore  # noqa: PLC0415

    data = read_bounded(template, MAX_STORE_BYTES)
    first, end = _region(data, template)
    wanted = {(row.name, row.guid): row for row in _records(data, first, end, template)}
    wanted |= {(row.name, row.guid): row for row in variables}
    if ("PK", names.GLOBAL_VARIABLE) in wanted:
        wanted |= {(row.name, row.guid): row for row in _enforcement()}
    packed = b"".join(
        Edk2VarStore.bytes_var(_entry(efivar, wanted[key])) for key in sorted(wanted, key=str)
    )
    if len(packed) > end - first:
        raise SproutError(
            f"{template}: the variables take {len(packed):,} bytes, and it has {end - first:,}",
            "Revoke by certificate instead of by many hashes.",
        )
    erased = b"\xff" * (end - first - len(packed))
    write_file(target, data[:first] + packed + erased + data[end:])


def read_store(path: Path) -> tuple[Variable, ...]:
    """Give the variables in a store, in the order in which they lie there.

    Raises SproutError naming the field when it is no raw variable store, or damaged.
    """
    data = read_bounded(path, MAX_STORE_BYTES)
    return tuple(_records(data, *_region(data, path), path))


def signers_record(owners: Mapping[Variable, Certificate]) -> Variable:
    """Give edk2's record of who may write the authenticated variables that are `owners`' keys.

    Any that are not PK, KEK, db or dbx belong to whoever wrote them first. edk2 keeps the signer
    in the variable `certdb`: the SHA-256 of the signer's common name and its top certificate's
    TBSCertificate (SecurityPkg, AuthVariableLib, InsertCertsToDb). The certificates are taken to
    be their own top. Raises ValueError when one has no common name.
    """
    rows = b"".join(_signer_row(owned, signer) for owned, signer in owners.items())
    data = struct.pack("<I", 4 + len(rows)) + rows
    return Variable("certdb", _CERT_DB, names.AUTHENTICATED, data)


def _signer_row(owned: Variable, signer: Certificate) -> bytes:
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - start-up

    common_names = signer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not common_names:
        raise ValueError("the certificate has no common name")
    common_name = common_names[0].value
    # edk2 takes at most 127 bytes of it.
    text = (common_name.encode() if isinstance(common_name, str) else common_name)[:127]
    digest = hashlib.sha256(text + signer.tbs_certificate_bytes).digest()
    name = owned.name.encode("utf-16-le")
    size = 16 + 12 + len(name) + len(digest)
    numbers = struct.pack("<III", size, len(name) // 2, len(digest))
    return owned.guid.bytes_le + numbers + name + digest


def _enforcement() -> tuple[Variable, Variable]:
    attributes = names.NON_VOLATILE | names.BOOTSERVICE_ACCESS
    return (
        Variable("SecureBootEnable", _SECURE_BOOT_ENABLE, attributes, b"\x01"),
        Variable("CustomMode", _CUSTOM_MODE, attributes, b"\x00"),
    )


def _entry(efivar: Any, variable: Variable) -> Any:  # noqa: ANN401 - virt-firmware has no types
    entry = efivar.EfiVar(variable.name, guid=variable.guid, attr=variable.attributes)
    entry.data = variable.data  # not above: there it would be taken apart, which is not needed
    entry.time = variable.time.astimezone(UTC) if variable.time is not None else None
    return entry


def _region(data: bytes, where: Path) -> tuple[int, int]:
    """Give where the variables begin, and where their room ends."""
    if data.startswith(_QCOW2):
        raise SproutError(
            f"{where}: is in QEMU's format qcow2", "Convert it: qemu-img convert -O raw."
        )
    if len(data) < _VOLUME.size:
        raise _error(where, "firmware volume header", "is cut short")
    kind, length, signature, _, header_size = _VOLUME.unpack_from(data)
    if UUID(bytes_le=kind) != _NV_DATA or signature != b"_FVH":
        raise _error(where, "firmware volume header", "is not that of a variable store")
    if length > len(data) or not _VOLUME.size <= header_size <= length - _STORE.size:
        raise _error(where, "firmware volume header", "HeaderLength or FvLength cannot be")
    guid, size, store_format, state = _STORE.unpack_from(data, header_size)
    if UUID(bytes_le=guid) != _AUTHENTICATED_STORE:
        raise _error(where, "variable store header", "is not that of authenticated variables")
    if (store_format, state) != (_FORMATTED, _HEALTHY):
        raise _error(where, "variable store header", "is not formatted and healthy")
    if not _STORE.size <= size <= length - header_size:
        raise _error(where, "variable store header", f"Size {size:,} cannot be")
    return header_size + _STORE.size, header_size + size


def _records(data: bytes, first: int, end: int, where: Path) -> Iterator[Variable]:
    """Give the variables that count between two offsets; deleted ones lie there too."""
    found: dict[tuple[str, UUID], tuple[int, Variable]] = {}
    offset = first
    while offset + _HEADER.size <= end:
        start, state, attributes, _, time, _, name_size, data_size, guid = _HEADER.unpack_from(
            data, offset
        )
        if start != _START:
            break
        at = offset + _HEADER.size
        if name_size > end - at or data_size > end - at - name_size:
            raise _error(where, f"variable at 0x{offset:x}", "reaches beyond the store")
        if state in (_ADDED, _ADDED_BEING_REPLACED):
            name = _name(data[at : at + name_size], where, offset)
            contents = data[at + name_size : at + name_size + data_size]
            stamp = _time(time, where, name)
            row = Variable(name, UUID(bytes_le=guid), attributes, contents, stamp)
            known = found.get((name, row.guid))
            # A machine that was cut off while it wrote leaves the old one and the new one.
            if known is None or known[0] == _ADDED_BEING_REPLACED:
                found[name, row.guid] = (state, row)
        offset = (at + name_size + data_size + 3) & ~3
    return (row for _, row in found.values())


def _name(raw: bytes, where: Path, offset: int) -> str:
    try:
        name, end = raw[:-2].decode("utf-16-le"), raw[-2:]
    except UnicodeDecodeError:
        name, end = "", b""
    if not name or "\0" in name or end != b"\0\0":
        raise _error(where, f"variable at 0x{offset:x}", "Name is no text that ends with a zero")
    return name


def _time(raw: bytes, where: Path, name: str) -> datetime | None:
    if not any(raw):
        return None
    year, month, day, hour, minute, second = _TIME.unpack(raw)
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise _error(where, name, "TimeStamp is no time") from None


def _error(where: Path, field: str, problem: str) -> SproutError:
    return SproutError(f"{where}: {field}: {problem}", _HINT)
