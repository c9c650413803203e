"""Reads a GUID Partition Table strictly (UEFI specification 2.10, section 5.3).

Both headers and both arrays must be there, agree and match their CRC-32, so that a disk image that
was cut short or altered is refused and not half understood.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass

from sprout.base.errors import SproutError

SECTOR = 512
ESP_TYPE = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_SIGNATURE = b"EFI PART"
_REVISION_1_0 = 0x00010000
_MAX_ENTRIES = 1024
_PROTECTIVE = 0xEE


@dataclass(frozen=True)
class Partition:
    """One used entry: its number from 1, its GUIDs, its first and last sector, its name."""

    number: int
    type_guid: uuid.UUID
    unique_guid: uuid.UUID
    first: int
    last: int
    name: str

    @property
    def size(self) -> int:
        """Size in bytes."""
        return (self.last - self.first + 1) * SECTOR


@dataclass(frozen=True)
class Gpt:
    """A disk's GUID and its partitions in the table's order."""

    disk_guid: uuid.UUID
    partitions: tuple[Partition, ...]


@dataclass(frozen=True)
class _Header:
    my_lba: int
    alternate: int
    first_usable: int
    last_usable: int
    disk_guid: bytes
    entries_lba: int
    count: int
    entry_size: int
    entries_crc: int


def is_gpt(head: bytes) -> bool:
    """Tell from a file's first 1,024 bytes whether it is a disk with a GPT."""
    return head[SECTOR : SECTOR + len(_SIGNATURE)] == _SIGNATURE


def parse_gpt(data: memoryview, where: object) -> Gpt:
    """Read the table of the whole disk `data` with 512-byte sectors; `where` names it in errors.

    Raises SproutError naming the field that is wrong.
    """
    sectors = len(data) // SECTOR
    _check_protective(bytes(data[:SECTOR]), where)
    primary = _header(data, 1, sectors, "GPT header", where)
    backup = _header(data, primary.alternate, sectors, "backup GPT header", where)
    entries = _entries(data, primary, where)
    if backup.alternate != 1 or backup.disk_guid != primary.disk_guid:
        raise _error(where, "backup GPT header", "is not the first one's")
    if _entries(data, backup, where) != entries:
        raise _error(where, "backup GPT entries", "are not the first ones")
    partitions = [
        partition
        for index in range(primary.count)
        if (partition := _partition(entries, index, primary, where)) is not None
    ]
    free = 0
    for partition in sorted(partitions, key=lambda partition: partition.first):
        if partition.first < free:
            raise _error(where, f"partition {partition.number}", "overlaps another one")
        free = partition.last + 1
    return Gpt(uuid.UUID(bytes_le=primary.disk_guid), tuple(partitions))


def _error(where: object, field: str, problem: str) -> SproutError:
    return SproutError(
        f"{where}: {field}: {problem}", "The disk image is damaged or cut short; build it again."
    )


def _check_protective(sector: bytes, where: object) -> None:
    types = [sector[446 + 16 * index + 4] for index in range(4)] if len(sector) == SECTOR else []
    if sector[510:] != b"\x55\xaa" or _PROTECTIVE not in types:
        raise _error(where, "protective MBR", "is missing")


def _header(data: memoryview, lba: int, sectors: int, field: str, where: object) -> _Header:
    if lba >= sectors:
        raise _error(where, field, f"sector {lba:,} lies beyond the end of the file")
    raw = bytes(data[lba * SECTOR : (lba + 1) * SECTOR])
    signature, revision, size, crc, _, *numbers = _HEADER.unpack_from(raw)
    header = _Header(*numbers)
    if signature != _SIGNATURE or revision != _REVISION_1_0:
        raise _error(where, field, "Signature or Revision is wrong")
    if not _HEADER.size <= size <= SECTOR:
        raise _error(where, field, f"HeaderSize {size} cannot be")
    if zlib.crc32(raw[:16] + bytes(4) + raw[20:size]) != crc:
        raise _error(where, field, "HeaderCRC32 does not match")
    if header.my_lba != lba:
        raise _error(where, field, "MyLBA is another sector")
    if header.entry_size != _ENTRY.size or not 0 < header.count <= _MAX_ENTRIES:
        raise _error(where, field, "SizeOfPartitionEntry or NumberOfPartitionEntries cannot be")
    if not 1 < header.first_usable <= header.last_usable < sectors:
        raise _error(where, field, "FirstUsableLBA or LastUsableLBA cannot be")
    return header


def _entries(data: memoryview, header: _Header, where: object) -> bytes:
    start = header.entries_lba * SECTOR
    entries = bytes(data[start : start + header.count * _ENTRY.size])
    if len(entries) != header.count * _ENTRY.size:
        raise _error(where, "PartitionEntryLBA", "lies beyond the end of the file")
    if zlib.crc32(entries) != header.entries_crc:
        raise _error(where, "PartitionEntryArrayCRC32", "does not match")
    return entries


def _partition(entries: bytes, index: int, header: _Header, where: object) -> Partition | None:
    kind, unique, first, last, _, name = _ENTRY.unpack_from(entries, index * _ENTRY.size)
    if kind == bytes(16):
        return None
    if not header.first_usable <= first <= last <= header.last_usable:
        raise _error(where, f"partition {index + 1}", "lies outside the usable sectors")
    return Partition(
        number=index + 1,
        type_guid=uuid.UUID(bytes_le=kind),
        unique_guid=uuid.UUID(bytes_le=unique),
        first=first,
        last=last,
        name=name.decode("utf-16-le", "replace").split("\0", 1)[0],
    )
