"""Zones as data: the `[zones.NAME]` of `images.toml`, and the images of hosts that start them.

What can be known to be wrong while building is an error here: a zone that no hypervisor would
start is not to be found out on the machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sprout.base.errors import UsageError
from sprout.base.table import Table
from sprout.format.zones import (
    DEFAULT_WEIGHT,
    MAX_CPUS,
    MAX_READY_S,
    MAX_WEIGHT,
    RESTARTS,
)

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
# A zone's begins with a letter: Xen's tools take a number for a domain.
_ZONE_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
TYPES = ("pv", "pvh")
MAX_ZONES = 64
_MAX_DISKS = 4
_MAX_NICS = 4
_MAX_VCPUS = 128
_MAX_MEMORY_MIB = 1 << 20
_MAX_CMDLINE = 1023  # x86 Xen's MAX_GUEST_CMDLINE is 1024 with its NUL
# What Xen itself takes of a small machine, its page tables and frame table included, and what it
# takes for each zone beside the zone's memory: bounds, not measurements.
_HYPERVISOR_MIB = 64
_PER_ZONE_MIB = 8
_LEAST_HOST_MIB = 64
_LEAST_ZONE_MIB = 16
_CPU = re.compile(r"[0-9]{1,3}")
_DEVICE = re.compile(r"xvd[a-z]")
# One spelling for one file: no empty part, none that is a dot or begins with one.
_BACKEND = re.compile(r"(?:/[A-Za-z0-9_+:-][A-Za-z0-9._+:-]*)+")
_MAX_BACKEND = 127
_BRIDGE = re.compile(r"[a-z][a-z0-9-]{0,14}")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_NO_MAC = "00:00:00:00:00:00"
# Xen takes a dash for an underscore (xen/common/kernel.c, parse_params).
_DOM0_MEM = re.compile(r"(?:^|\s)dom0[-_]mem=")


# What follows is the first domain's (xen/arch/x86/setup.c), where the signed .cmdline is not seen.
_REST = re.compile(r"(?:^|\s)--(?:\s|$)")
# Without it a zone would see what the machine's memory held before.
_NO_SCRUB = re.compile(r"(?:^|\s)(?:no[-_]bootscrub|bootscrub=(?:0|no|off|false|disable))(?:\s|$)")


@dataclass(frozen=True)
class Disk:
    """A disk of a zone: its name there (`xvda`), and the block device or file of the host."""

    device: str
    backend: str
    writable: bool


@dataclass(frozen=True)
class Nic:
    """A network interface of a zone: the bridge of the host that it is on, and its address.

    `isolated`: nothing passes between it and other isolated ones of that bridge.
    """

    bridge: str
    mac: str
    isolated: bool = False


@dataclass(frozen=True)
class Zone:
    """One zone: what it boots, as what type of guest, what it has, and when it is started.

    `after` names the zones of the same image that have to be ready first; `cpus` are numbers of the
    machine's processors (none: all); `cap` is in per cent of one (0: no limit).
    """

    name: str
    flavor: str
    initramfs: str
    type: str
    memory_mib: int
    vcpus: int
    cmdline: str
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...]
    after: tuple[str, ...] = ()
    restart: str = "never"
    cpus: tuple[int, ...] = ()
    weight: int = DEFAULT_WEIGHT
    cap: int = 0
    ready_s: int = 60
    by_xl: bool = False


@dataclass(frozen=True)
class Host:
    """What makes a boot image one of a host: its hypervisor, and the zones that it starts.

    `cmdline` is the hypervisor's; `memory_mib` what the host's own kernel (dom0) gets;
    `machine_memory_mib` the least memory of a machine that the image is meant for; `microcode` the
    initramfs list that holds the processors' microcode, or None.
    """

    flavor: str
    cmdline: str
    memory_mib: int
    machine_memory_mib: int
    zones: tuple[Zone, ...]
    microcode: str | None = None

    def with_words(self, words: str) -> Host:
        """Give the same host with more words on the hypervisor's command line.

        Raises UsageError when that is no command line that a hypervisor takes.
        """
        cmdline = f"{self.cmdline} {words}".strip()
        problem = _cmdline_problem(cmdline)
        if problem is None and (found := _unwanted(cmdline)) is not None:
            problem = found[0]
        if problem is not None:
            raise UsageError(f"the hypervisor's command line {problem}", "Mend it.")
        return replace(self, cmdline=cmdline)

    def with_zones(self, count: int) -> Host:
        """Give the same host with `count` zones: its first ones, then more like the last.

        Raises UsageError when there are too many, or the last one cannot be there twice.
        """
        if count > MAX_ZONES or not self.zones:
            raise UsageError(f"{count} zones: a host has 1 to {MAX_ZONES}", "Give another number.")
        zones = list(self.zones[:count])
        model = zones[-1]
        if count > len(zones) and (model.nics or any(disk.writable for disk in model.disks)):
            problem = f"{model.name}: has an address or a disk to write to of its own"
            raise UsageError(problem, "Put a zone without them last, or give a lower number.")
        for number in range(2, count - len(zones) + 2):
            zones.append(replace(model, name=f"{model.name[:27]}-{number}"))
        needed = max(self.machine_memory_mib, _taken(self.memory_mib, zones))
        return replace(self, zones=tuple(zones), machine_memory_mib=needed)

    def hypervisor_cmdline(self) -> str:
        """Give the hypervisor's whole command line (Xen, docs/misc/xen-command-line.pandoc)."""
        memory = f"dom0_mem={self.memory_mib}M,max:{self.memory_mib}M"
        return f"{self.cmdline} {memory}".strip()


def load_zones(table: Table) -> dict[str, Zone]:
    """Read the tables `[zones.NAME]`; raises SproutError naming the field that is wrong."""
    if not table.has("zones"):
        return {}
    return {name: _zone(name, entry) for name, entry in table.table("zones").items()}


def load_host(table: Table, zones: Mapping[str, Zone]) -> Host | None:
    """Read what an `[images.NAME]` says of its hypervisor; None where it has none.

    Raises SproutError where a zone is unknown, or where host and zones need more memory than the
    machine has.
    """
    if not table.has("hypervisor"):
        for key in (
            "hypervisor_cmdline",
            "host_memory_mib",
            "machine_memory_mib",
            "zones",
            "microcode",
        ):
            if table.has(key):
                raise table.error(key, "needs a hypervisor", 'Add hypervisor = "xen".')
        return None
    names = table.texts("zones", ())
    for name in names:
        if name not in zones:
            known = ", ".join(zones) or "none"
            raise table.error("zones", f"there is no zone {name}", f"Zones here: {known}.")
    if len(set(names)) != len(names) or len(names) > MAX_ZONES:
        raise table.error("zones", "names one twice, or too many", f"Name at most {MAX_ZONES}.")
    host = Host(
        flavor=_name(table, "hypervisor"),
        cmdline=_cmdline(table, "hypervisor_cmdline"),
        memory_mib=_number(table, "host_memory_mib", _LEAST_HOST_MIB, _MAX_MEMORY_MIB),
        machine_memory_mib=_number(table, "machine_memory_mib", _LEAST_HOST_MIB, _MAX_MEMORY_MIB),
        zones=tuple(zones[name] for name in names),
        microcode=_name(table, "microcode") if table.has("microcode") else None,
    )
    if (found := _unwanted(host.cmdline)) is not None:
        raise table.error("hypervisor_cmdline", *found)
    _check_order(host.zones, table)
    _check_shared(host.zones, table)
    taken = _taken(host.memory_mib, host.zones)
    if taken > host.machine_memory_mib:
        raise table.error(
            "machine_memory_mib",
            f"{host.machine_memory_mib} MiB, but hypervisor, host and zones take {taken}",
            "Give zones or host less, or mean the image for larger machines.",
        )
    return host


def _taken(host_mib: int, zones: Sequence[Zone]) -> int:
    return _HYPERVISOR_MIB + host_mib + sum(zone.memory_mib + _PER_ZONE_MIB for zone in zones)


def _check_order(zones: Sequence[Zone], table: Table) -> None:
    """Refuse a zone that comes after one that is started later, or never."""
    before: set[str] = set()
    for zone in zones:
        for name in zone.after:
            if name not in before:
                problem = f"{zone.name} comes after {name}, which does not stand before it"
                raise table.error("zones", problem, "Name them in the order of their start.")
        before.add(zone.name)


def _check_shared(zones: Sequence[Zone], table: Table) -> None:
    """Refuse what two zones of one host cannot both have."""
    disks: dict[str, tuple[str, bool]] = {}
    nics: dict[str, str] = {}
    for zone in zones:
        for disk in zone.disks:
            name, writable = disks.setdefault(disk.backend, (zone.name, disk.writable))
            if name != zone.name and (writable or disk.writable):
                problem = f"{name} and {zone.name} share {disk.backend}, and one of them writes"
                raise table.error("zones", problem, "Give each a disk of its own.")
        for nic in zone.nics:
            name = nics.setdefault(nic.mac, zone.name)
            if name != zone.name:
                problem = f"{name} and {zone.name} both have the address {nic.mac}"
                raise table.error("zones", problem, "Give each an address of its own.")


def _zone(name: str, table: Table) -> Zone:
    if not _ZONE_NAME.fullmatch(name):
        hint = "Use at most 31 of a-z, 0-9 and dashes, a letter first."
        raise table.error("", f"{name} is no name", hint)
    zone = Zone(
        name=name,
        flavor=_name(table, "flavor"),
        initramfs=_name(table, "initramfs"),
        type=table.text("type"),
        memory_mib=_number(table, "memory_mib", _LEAST_ZONE_MIB, _MAX_MEMORY_MIB),
        vcpus=_number(table, "vcpus", 1, _MAX_VCPUS, default=1),
        cmdline=_cmdline(table, "cmdline"),
        disks=tuple(map(_disk, table.tables("disks"))),
        nics=tuple(map(_nic, table.tables("nics"))),
        after=table.texts("after", ()),
        restart=_choice(table, "restart", tuple(RESTARTS)),
        cpus=_cpus(table),
        weight=_number(table, "weight", 1, MAX_WEIGHT, default=DEFAULT_WEIGHT),
        cap=_number(table, "cap_percent", 0, _MAX_VCPUS * 100, default=0),
        ready_s=_number(table, "ready_seconds", 1, MAX_READY_S, default=60),
        by_xl=_choice(table, "toolstack", ("launch", "xl")) == "xl",
    )
    table.finish()
    _check_limits(zone, table)
    if zone.type not in TYPES:
        raise table.error("type", f"{zone.type} is no type", f"Write {' or '.join(TYPES)}.")
    for key, values, most in (
        ("disks", [disk.device for disk in zone.disks], _MAX_DISKS),
        ("disks", [disk.backend for disk in zone.disks], _MAX_DISKS),
        ("nics", [nic.mac for nic in zone.nics], _MAX_NICS),
    ):
        if len(values) > most or len(set(values)) != len(values):
            raise table.error(key, "has one twice, or too many", f"Name at most {most}.")
    return zone


def _check_limits(zone: Zone, table: Table) -> None:
    if zone.cap > zone.vcpus * 100:
        problem = f"{zone.cap} per cent, but {zone.vcpus} processors are {zone.vcpus * 100}"
        raise table.error("cap_percent", problem, "Give it more vcpus, or a lower cap.")


def _cpus(table: Table) -> tuple[int, ...]:
    """Read a list of processors as Linux writes it: "0-3,8" (cpuset(7), list format)."""
    text = table.text("cpus", "")
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        if not _CPU.fullmatch(first) or (dash and not _CPU.fullmatch(last)):
            raise table.error("cpus", f"{text} is no list of processors", 'Write e.g. "0-3,8".')
        found.update(range(int(first), int(last or first) + 1))
    if text and (not found or max(found) >= MAX_CPUS):
        raise table.error("cpus", f"{text} is out of range", f"Name some of 0 to {MAX_CPUS - 1}.")
    return tuple(sorted(found))


def _choice(table: Table, key: str, choices: tuple[str, ...]) -> str:
    text = table.text(key, choices[0])
    if text not in choices:
        raise table.error(key, f"{text} is no choice", f"Write {' or '.join(choices)}.")
    return text


def _disk(table: Table) -> Disk:
    disk = Disk(table.text("device"), table.text("backend"), table.flag("writable", default=False))
    table.finish()
    if not _DEVICE.fullmatch(disk.device):
        raise table.error("device", f"{disk.device} is no disk of a zone", "Write xvda to xvdz.")
    if not _BACKEND.fullmatch(disk.backend) or len(disk.backend) > _MAX_BACKEND:
        raise table.error("backend", "is no path", "Name a device or file of the host: /dev/vda.")
    return disk


def _nic(table: Table) -> Nic:
    isolated = table.flag("isolated", default=False)
    nic = Nic(table.text("bridge"), table.text("mac"), isolated)
    table.finish()
    if not _BRIDGE.fullmatch(nic.bridge) or nic.bridge == "lo":
        raise table.error("bridge", "is no bridge's name", "Write e.g. br0.")
    # The lowest bit of the first byte makes it a group's address (IEEE 802, section 8.2.2).
    if not _MAC.fullmatch(nic.mac) or int(nic.mac[:2], 16) & 1 or nic.mac == _NO_MAC:
        raise table.error("mac", "is no station's address", "Write e.g. 00:16:3e:00:00:01.")
    return nic


def _name(table: Table, key: str) -> str:
    text = table.text(key)
    if not NAME.fullmatch(text):
        raise table.error(key, "is no name", "Use lower-case letters, digits and dashes.")
    return text


def _number(table: Table, key: str, least: int, most: int, default: int | None = None) -> int:
    number = table.number(key, default)
    if not least <= number <= most:
        raise table.error(key, f"{number} is out of range", f"Give {least} to {most:,}.")
    return number


def _cmdline(table: Table, key: str) -> str:
    text = table.text(key, "")
    problem = _cmdline_problem(text)
    if problem is not None:
        raise table.error(key, problem, "Mend it.")
    return text


def _unwanted(cmdline: str) -> tuple[str, str] | None:
    """Give what a hypervisor must not be told, and a hint; None where it is not."""
    if _DOM0_MEM.search(cmdline):
        return "has dom0_mem=", "Say host_memory_mib instead."
    if _REST.search(cmdline):
        problem = "has a word --, behind which Xen reads nothing"
        return problem, "Say the host's own words in cmdline."
    if _NO_SCRUB.search(cmdline):
        problem = "lets zones see what memory held before"
        return problem, "Leave bootscrub out, or set it to idle."
    return None


def _cmdline_problem(text: str) -> str | None:
    if text and not (text.isascii() and text.isprintable()):
        return "is not printable ASCII"
    return f"is longer than {_MAX_CMDLINE} characters" if len(text) > _MAX_CMDLINE else None
