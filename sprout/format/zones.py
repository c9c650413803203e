"""The zones' table: what a host starts, in rows that its init reads without parsing text.

The image carries the table at `/zones/table` in the host's initramfs. All numbers are
little-endian: a header, then rows of one size, in the order in which the zones are started. A text
is filled up with NULs, of which it has at least one.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sprout.base.errors import SproutError

PATH = "/zones/table"
MAGIC = 0x54425A53  # "SZBT"
VERSION = 2
MAX_ZONES = 64
MAX_DISKS = 4
MAX_NICS = 4
MAX_CPUS = 128
TYPES = {"pv": 1, "pvh": 2}
# When a zone that ended is started again.
RESTARTS = {"never": 0, "on-failure": 1, "always": 2}
DEFAULT_WEIGHT = 256  # Xen's, of every domain (xen/common/sched/credit2.c)
MAX_WEIGHT = 65535
MAX_READY_S = 3600
_BY_XL = 1  # flags

_NAME, _FILE, _CMDLINE = 32, 64, 1024
_DEVICE, _BACKEND, _BRIDGE = 16, 128, 16
_HEADER = struct.Struct("<IHH")
_DISK = struct.Struct(f"<{_DEVICE}s{_BACKEND}sI")
_NIC = struct.Struct(f"<{_BRIDGE}s6sH")
_ROW = struct.Struct(
    f"<{_NAME}s8IQ16s{_FILE}s{_FILE}s{_CMDLINE}sII{MAX_DISKS * _DISK.size}s{MAX_NICS * _NIC.size}s"
)
MAX_BYTES = _HEADER.size + MAX_ZONES * _ROW.size

# Nothing that these let through ends a quoted string of an xl configuration or climbs in a path.
_ZONE_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_ZONE_FILE = re.compile(r"(?:/[A-Za-z0-9][A-Za-z0-9._-]*)+")
_ZONE_DEVICE = re.compile(r"[a-z][a-z0-9-]*")
_ZONE_BACKEND = re.compile(r"(?:/[A-Za-z0-9_+:-][A-Za-z0-9._+:-]*)+")
_ZONE_BRIDGE = re.compile(r"[a-z][a-z0-9-]*")
_ZONE_TEXT = re.compile(r"[ -~]*")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_MAX_MEMORY_MIB = 1 << 20
_MAX_VCPUS = 128
_HINT = "Build the image again with the tool of this version."


@dataclass(frozen=True)
class Disk:
    """A disk of a zone: its name there, and the block device or file of the host behind it."""

    device: str
    backend: str
    writable: bool


@dataclass(frozen=True)
class Nic:
    """A network interface of a zone: the bridge of the host that it is on, and its address.

    `isolated`: the bridge carries nothing between it and other isolated ones.
    """

    bridge: str
    mac: str
    isolated: bool = False


@dataclass(frozen=True)
class Zone:
    """One row: `type` is "pv" or "pvh"; `kernel` and `initramfs` are paths in the host.

    `after` are the rows, counted from 0, that have to be ready first; `cpus` the machine's
    processors that it may run on (none: all); `weight` its share of them; `cap` the most that it
    gets, in per cent of one (0: no limit); `ready_s` the seconds in which it has to be ready.
    `by_xl`: it is started by Xen's own tool.
    """

    name: str
    type: str
    memory_mib: int
    vcpus: int
    kernel: str
    initramfs: str
    cmdline: str
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    restart: str = "never"
    after: tuple[int, ...] = ()
    cpus: tuple[int, ...] = ()
    weight: int = DEFAULT_WEIGHT
    cap: int = 0
    ready_s: int = 60
    by_xl: bool = False


def pack(zones: Sequence[Zone]) -> bytes:
    """Give the table's bytes.

    Raises SproutError when a field is out of its bounds, or two zones have one name.
    """
    _check("zones", zones)
    table = _HEADER.pack(MAGIC, VERSION, len(zones))
    for zone in zones:
        table += _ROW.pack(
            zone.name.encode(),
            TYPES[zone.type],
            zone.memory_mib,
            zone.vcpus,
            _BY_XL if zone.by_xl else 0,
            RESTARTS[zone.restart],
            zone.weight,
            zone.cap,
            zone.ready_s,
            sum(1 << row for row in zone.after),
            sum(1 << cpu for cpu in zone.cpus).to_bytes(MAX_CPUS // 8, "little"),
            zone.kernel.encode(),
            zone.initramfs.encode(),
            zone.cmdline.encode(),
            len(zone.disks),
            len(zone.nics),
            b"".join(
                _DISK.pack(disk.device.encode(), disk.backend.encode(), disk.writable)
                for disk in zone.disks
            ),
            b"".join(
                _NIC.pack(
                    nic.bridge.encode(), bytes.fromhex(nic.mac.replace(":", "")), nic.isolated
                )
                for nic in zone.nics
            ),
        )
    return table


def unpack(data: bytes, where: object) -> tuple[Zone, ...]:
    """Read the table's bytes.

    Raises SproutError naming `where` and the field when the bytes are no table that a host takes.
    """
    if len(data) < _HEADER.size:
        raise _error(where, "header", "is cut short")
    magic, version, count = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise _error(where, "magic", f"0x{magic:08x} instead of 0x{MAGIC:08x}")
    if version != VERSION:
        raise _error(where, "version", f"{version} instead of {VERSION}")
    if count > MAX_ZONES or len(data) != _HEADER.size + count * _ROW.size:
        raise _error(where, "count", f"{count} rows cannot be in {len(data):,} bytes")
    rows = _ROW.iter_unpack(data[_HEADER.size :])
    zones = tuple(_zone(row, f"{where}: zone {number}") for number, row in enumerate(rows, 1))
    _check(where, zones)
    return zones


def _zone(row: tuple[Any, ...], where: str) -> Zone:
    name, kind, memory, vcpus, flags, restart, weight, cap, ready_s, after, cpus, *rest = row
    kernel, initramfs, cmdline, disks, nics, disk, nic = rest
    kinds = {number: text for text, number in TYPES.items()}
    restarts = {number: text for text, number in RESTARTS.items()}
    if kind not in kinds:
        raise _error(where, "type", f"{kind} is no type")
    if restart not in restarts:
        raise _error(where, "restart", f"{restart} is no policy")
    if flags & ~_BY_XL:
        raise _error(where, "flags", "has bits that nobody knows")
    return Zone(
        name=_text(name, where, "name"),
        type=kinds[kind],
        memory_mib=memory,
        vcpus=vcpus,
        kernel=_text(kernel, where, "kernel"),
        initramfs=_text(initramfs, where, "initramfs"),
        cmdline=_text(cmdline, where, "cmdline"),
        disks=tuple(
            _disk(part, where) for part in _counted(disk, _DISK.size, disks, where, "disk_count")
        ),
        nics=tuple(
            _nic(part, where) for part in _counted(nic, _NIC.size, nics, where, "nic_count")
        ),
        restart=restarts[restart],
        after=_bits(after),
        cpus=_bits(int.from_bytes(cpus, "little")),
        weight=weight,
        cap=cap,
        ready_s=ready_s,
        by_xl=bool(flags & _BY_XL),
    )


def _bits(mask: int) -> tuple[int, ...]:
    return tuple(bit for bit in range(mask.bit_length()) if mask >> bit & 1)


def _counted(data: bytes, size: int, count: int, where: str, field: str) -> list[bytes]:
    """Give the first `count` pieces of `data`; the rest has to be empty."""
    if count * size > len(data):
        raise _error(where, field, f"{count} is above {len(data) // size}")
    if data[count * size :].strip(b"\0"):
        raise _error(where, field, "does not count all that is there")
    return [data[at : at + size] for at in range(0, count * size, size)]


def _disk(data: bytes, where: str) -> Disk:
    device, backend, writable = _DISK.unpack(data)
    if writable > 1:
        raise _error(where, "disk: writable", f"{writable} is neither 0 nor 1")
    device, backend = _text(device, where, "disk: device"), _text(backend, where, "disk: backend")
    return Disk(device, backend, bool(writable))


def _nic(data: bytes, where: str) -> Nic:
    bridge, mac, isolated = _NIC.unpack(data)
    if isolated > 1:
        raise _error(where, "nic: isolated", f"{isolated} is neither 0 nor 1")
    return Nic(_text(bridge, where, "nic: bridge"), mac.hex(":"), bool(isolated))


def _text(raw: bytes, where: str, field: str) -> str:
    text, nul, rest = raw.partition(b"\0")
    if not nul or rest.strip(b"\0"):
        raise _error(where, field, "is no text that NULs fill up")
    return text.decode("latin-1")


def _check(where: object, zones: Sequence[Zone]) -> None:
    """Refuse what the host's init refuses (initramfs/host/table.c)."""
    if len(zones) > MAX_ZONES:
        raise _error(where, "count", f"{len(zones)} is above {MAX_ZONES}")
    seen: set[str] = set()
    for number, zone in enumerate(zones, start=1):
        _check_zone(f"{where}: zone {number}", zone)
        if any(row >= number - 1 for row in zone.after):
            raise _error(where, f"zone {number}: after", "is no earlier row")
        if zone.name in seen:
            raise _error(where, "name", f"{zone.name} is there twice")
        seen.add(zone.name)


def _check_zone(where: str, zone: Zone) -> None:
    if zone.type not in TYPES:
        raise _error(where, "type", f"{zone.type!r} is no type")
    if zone.restart not in RESTARTS:
        raise _error(where, "restart", f"{zone.restart!r} is no policy")
    for field, number, least, most in (
        ("memory_mib", zone.memory_mib, 1, _MAX_MEMORY_MIB),
        ("vcpus", zone.vcpus, 1, _MAX_VCPUS),
        ("weight", zone.weight, 1, MAX_WEIGHT),
        ("cap", zone.cap, 0, zone.vcpus * 100),
        ("ready_s", zone.ready_s, 1, MAX_READY_S),
        ("cpus", max(zone.cpus, default=0), 0, MAX_CPUS - 1),
        ("after", max(zone.after, default=0), 0, MAX_ZONES - 1),
    ):
        if not least <= number <= most:
            raise _error(where, field, f"{number} is out of range")
    for field, count, most in (
        ("disk_count", len(zone.disks), MAX_DISKS),
        ("nic_count", len(zone.nics), MAX_NICS),
    ):
        if count > most:
            raise _error(where, field, f"{count} is above {most}")
    for field, text, pattern, size in _texts(zone):
        if not pattern.fullmatch(text):
            raise _error(where, field, f"{text[:64]!r} is none")
        if len(text) >= size:
            raise _error(where, field, f"is longer than {size - 1} bytes")


def _texts(zone: Zone) -> Iterator[tuple[str, str, re.Pattern[str], int]]:
    """Give each text of a zone with its field's name, what it may be, and its room."""
    yield "name", zone.name, _ZONE_NAME, _NAME
    yield "kernel", zone.kernel, _ZONE_FILE, _FILE
    yield "initramfs", zone.initramfs, _ZONE_FILE, _FILE
    yield "cmdline", zone.cmdline, _ZONE_TEXT, _CMDLINE
    for disk in zone.disks:
        yield "disk: device", disk.device, _ZONE_DEVICE, _DEVICE
        yield "disk: backend", disk.backend, _ZONE_BACKEND, _BACKEND
    for nic in zone.nics:
        yield "nic: bridge", nic.bridge, _ZONE_BRIDGE, _BRIDGE
        yield "nic: mac", nic.mac, _MAC, len("00:00:00:00:00:00") + 1


def c_header() -> str:
    """Give the C header `sprout_zones.h` that the host's init includes."""
    return f"""/* Generated from sprout/format/zones.py; do not edit. */
#ifndef SPROUT_ZONES_H
#define SPROUT_ZONES_H
#include <stdint.h>

#define SPROUT_ZONES_PATH "{PATH}"
#define SPROUT_ZONES_MAGIC 0x{MAGIC:08x}u
#define SPROUT_ZONES_VERSION {VERSION}u
#define SPROUT_ZONES_MAX {MAX_ZONES}u
#define SPROUT_ZONES_MAX_DISKS {MAX_DISKS}u
#define SPROUT_ZONES_MAX_NICS {MAX_NICS}u
#define SPROUT_ZONES_MAX_MEMORY_MIB {_MAX_MEMORY_MIB}u
#define SPROUT_ZONES_MAX_VCPUS {_MAX_VCPUS}u
#define SPROUT_ZONES_MAX_BYTES {MAX_BYTES}u
#define SPROUT_ZONE_PV {TYPES["pv"]}u
#define SPROUT_ZONES_DEFAULT_WEIGHT {DEFAULT_WEIGHT}u
#define SPROUT_ZONES_MAX_WEIGHT {MAX_WEIGHT}u
#define SPROUT_ZONES_MAX_READY_S {MAX_READY_S}u
#define SPROUT_ZONE_PVH {TYPES["pvh"]}u
#define SPROUT_ZONE_BY_XL {_BY_XL}u
#define SPROUT_RESTART_NEVER {RESTARTS["never"]}u
#define SPROUT_RESTART_ON_FAILURE {RESTARTS["on-failure"]}u
#define SPROUT_RESTART_ALWAYS {RESTARTS["always"]}u

struct sprout_zones {{
    uint32_t magic;   /* SPROUT_ZONES_MAGIC */
    uint16_t version; /* SPROUT_ZONES_VERSION */
    uint16_t count;   /* rows */
}};

struct sprout_zone_disk {{
    char device[{_DEVICE}];
    char backend[{_BACKEND}];
    uint32_t writable; /* 0 or 1 */
}};

struct sprout_zone_nic {{
    char bridge[{_BRIDGE}];
    uint8_t mac[6];
    uint16_t isolated; /* 0 or 1 */
}};

/* Texts are filled up with at least one NUL. */
struct sprout_zone {{
    char name[{_NAME}];
    uint32_t type; /* SPROUT_ZONE_PV or SPROUT_ZONE_PVH */
    uint32_t memory_mib;
    uint32_t vcpus;
    uint32_t flags;   /* SPROUT_ZONE_BY_XL or 0 */
    uint32_t restart; /* SPROUT_RESTART_... */
    uint32_t weight;
    uint32_t cap;     /* per cent of a processor; 0: no limit */
    uint32_t ready_s; /* in which it has to be ready */
    uint64_t after;   /* the rows that have to be ready first, a bit each */
    uint64_t cpus[{MAX_CPUS // 64}]; /* those that it may run on, a bit each; none: all */
    char kernel[{_FILE}];
    char initramfs[{_FILE}];
    char cmdline[{_CMDLINE}];
    uint32_t disk_count;
    uint32_t nic_count;
    struct sprout_zone_disk disks[{MAX_DISKS}];
    struct sprout_zone_nic nics[{MAX_NICS}];
}};
_Static_assert(sizeof(struct sprout_zones) == {_HEADER.size}, "the header has no padding");
_Static_assert(sizeof(struct sprout_zone) == {_ROW.size}, "a row has no padding");

#endif
"""


def _error(where: object, field: str, problem: str) -> SproutError:
    return SproutError(f"{where}: {field}: {problem}", _HINT)
