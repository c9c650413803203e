"""The zones' table: what is packed is read back, and nothing else is read."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from sprout.base.errors import SproutError
from sprout.format import zones
from sprout.format.zones import Disk, Nic, Zone

FIRST = Zone("first", "pv", 64, 1, "/zones/kernels/zone", "/zones/initramfs/zone.cpio", 'a="b"')
SECOND = replace(
    FIRST,
    name="second-2",
    type="pvh",
    memory_mib=1 << 20,
    vcpus=128,
    cmdline="",
    disks=(Disk("xvda", "/dev/nvme0n1p2", writable=True), Disk("xvdb", "/srv/b.img", False)),
    nics=tuple(Nic("br0", f"00:16:3e:00:00:0{number}", number == 3) for number in range(4)),
    restart="on-failure",
    cpus=(0, 3, 127),
    weight=512,
    cap=250,
    ready_s=5,
    by_xl=True,
)
THIRD = replace(FIRST, name="third", after=(0, 1))
ROW = 1936


def test_what_is_packed_is_read_back() -> None:
    for rows in ((), (FIRST,), (FIRST, SECOND), (SECOND, FIRST), (FIRST, SECOND, THIRD)):
        data = zones.pack(rows)
        assert len(data) == 8 + ROW * len(rows)
        assert zones.unpack(data, "x") == rows


def test_most_zones_fit_and_no_more() -> None:
    rows = [replace(FIRST, name=f"z{number}") for number in range(zones.MAX_ZONES)]
    data = zones.pack(rows)
    assert len(data) == zones.MAX_BYTES
    assert len(zones.unpack(data, "x")) == zones.MAX_ZONES
    with pytest.raises(SproutError, match="65 is above 64"):
        zones.pack([*rows, replace(FIRST, name="more")])


@pytest.mark.parametrize(
    ("zone", "field"),
    [
        (replace(FIRST, name=""), "name"),
        (replace(FIRST, name="-a"), "name"),
        (replace(FIRST, name="a/b"), "name"),
        (replace(FIRST, name="a\n"), "name"),
        (replace(FIRST, name="a" * 32), "name"),
        (replace(FIRST, type="hvm"), "type"),
        (replace(FIRST, memory_mib=0), "memory_mib"),
        (replace(FIRST, memory_mib=(1 << 20) + 1), "memory_mib"),
        (replace(FIRST, vcpus=129), "vcpus"),
        (replace(FIRST, weight=0), "weight"),
        (replace(FIRST, cap=101), "cap"),
        (replace(FIRST, ready_s=0), "ready_s"),
        (replace(FIRST, cpus=(128,)), "cpus"),
        (replace(FIRST, restart="maybe"), "restart"),
        (replace(FIRST, kernel="zones/kernel"), "kernel"),
        (replace(FIRST, kernel="/zones/../init"), "kernel"),
        (replace(FIRST, initramfs="/" + "a" * 63), "initramfs"),
        (replace(FIRST, cmdline="a\nb"), "cmdline"),
        (replace(FIRST, cmdline="é"), "cmdline"),
        (replace(FIRST, cmdline="a" * 1024), "cmdline"),
        (replace(SECOND, disks=SECOND.disks * 3), "disk_count"),
        (replace(SECOND, nics=SECOND.nics * 2), "nic_count"),
        (replace(SECOND, disks=(Disk("xvda", "/dev/a b", False),)), "disk: backend"),
        (replace(SECOND, disks=(Disk("xvda", "/a/../b", False),)), "disk: backend"),
        (replace(SECOND, disks=(Disk("xvd a", "/dev/a", False),)), "disk: device"),
        (replace(SECOND, nics=(Nic("br 0", "00:16:3e:00:00:01"),)), "nic: bridge"),
        (replace(SECOND, nics=(Nic("br0", "00:16:3e"),)), "nic: mac"),
    ],
)
def test_what_a_host_would_refuse_is_not_packed(zone: Zone, field: str) -> None:
    with pytest.raises(SproutError) as caught:
        zones.pack([zone])
    assert caught.value.message.startswith(f"zones: zone 1: {field}: ")


def test_two_zones_have_two_names() -> None:
    with pytest.raises(SproutError, match="first is there twice"):
        zones.pack([FIRST, FIRST])
    data = zones.pack([FIRST])
    with pytest.raises(SproutError, match="first is there twice"):
        zones.unpack(data[:6] + b"\2\0" + data[8:] * 2, "x")


@pytest.mark.parametrize(
    ("offset", "value", "field"),
    [
        (0, b"\0", "magic"),
        (4, b"\1", "version"),
        (6, b"\1", "count"),
        (6, b"\xff\xff", "count"),
        (8 + 31, b"a", "name"),
        (8 + 32, b"\3", "zone 1: type"),
        (8 + 36, b"\0\0\0\0", "memory_mib"),
        (8 + 40, b"\xff\xff\xff\xff", "vcpus"),
        (8 + 44, b"\2", "flags"),
        (8 + 48, b"\3", "restart"),
        (8 + 52, b"\0\0", "weight"),
        (8 + 56, b"\x65", "cap"),
        (8 + 60, b"\0", "ready_s"),
        (8 + 64, b"\1", "after"),
        (8 + 88 + 64, b"\0", "initramfs"),
        (8 + 1240, b"\5", "disk_count"),
        (8 + 1244, b"\xff\xff\xff\xff", "nic_count"),
        (8 + 1248, b"x", "disk_count"),
        (8 + ROW - 1, b"\1", "nic_count"),
        (8 + ROW + 1248 + 144, b"\2", "disk: writable"),
        (8 + ROW + 1248 + 592 + 22, b"\2", "nic: isolated"),
    ],
)
def test_a_damaged_field_is_named(offset: int, value: bytes, field: str) -> None:
    data = bytearray(zones.pack([FIRST, SECOND]))
    data[offset : offset + len(value)] = value
    with pytest.raises(SproutError) as caught:
        zones.unpack(bytes(data), "host.efi")
    assert caught.value.message.startswith("host.efi: ")
    assert field in caught.value.message


def test_cut_and_altered_bytes_are_refused_or_mean_zones() -> None:
    chance = random.Random(20260101)  # noqa: S311 - the same bytes every time
    good = zones.pack([FIRST, SECOND])
    for size in range(0, len(good), 61):
        with pytest.raises(SproutError):
            zones.unpack(good[:size], "x")
    for _ in range(500):
        data = bytearray(good)
        for _change in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            found = zones.unpack(bytes(data), "x")
        except SproutError:
            continue
        assert zones.pack(found) == bytes(data)
