from __future__ import annotations

import json
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.format.ready import HostReady, Ready, ZoneReady
from sprout.vm.firmware import Firmware
from sprout.vm.qemu import Machine, Qemu
from sprout.vm.timeline import Timeline, timeline


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    code = tmp_path / "CODE.fd"
    code.write_bytes(b"code")
    return Machine(Firmware(tmp_path, code, "raw", code, "raw"), tmp_path / "disk")


HOST = {"entry": 10, "handover": 12, "kernel": 20, "init": 40, "services": 43}
FIRST = ZoneReady("first", create=45, unpaused=50, init=60, ready=70, free=1000)
SECOND = ZoneReady("second", create=52, unpaused=57, init=80, ready=90, free=2000)


def draw_host(machine: Machine, *zones: ZoneReady, **stamps: int) -> Timeline:
    fields = {"copied": 0, "hz": 0, "free": 0, **HOST, **stamps}
    qemu = Qemu(Path("/usr/bin/qemu-system-x86_64"), "x86_64", (10, 0, 3))
    ready = HostReady(**fields)
    return timeline("host", ready, host_ms=1.0, qemu=qemu, machine=machine, zones=zones)


def named(drawn: Timeline) -> list[tuple[str, int]]:
    return [(phase.name, phase.ticks) for phase in drawn.phases]


def draw(machine: Machine, **stamps: int) -> Timeline:
    fields = {
        "entry": 0,
        "handover": 0,
        "copied": 0,
        "hz": 0,
        "free": 0,
        "init": 0,
        "ready": 0,
        **stamps,
    }
    qemu = Qemu(Path("/usr/bin/qemu-system-x86_64"), "x86_64", (10, 0, 3))
    return timeline("zone", Ready(**fields), host_ms=1234.5678, qemu=qemu, machine=machine)


def test_phases_are_contiguous_and_whole(machine: Machine) -> None:
    drawn = draw(machine, entry=7, handover=9, init=20, ready=10**19 + 1, hz=3).to_json()
    assert drawn == json.loads(
        draw(machine, entry=7, handover=9, init=20, ready=10**19 + 1, hz=3).json_text()
    )
    assert [(phase["name"], phase["ticks"]) for phase in drawn["phases"]] == [
        ("firmware", 7),
        ("stub", 2),
        ("kernel", 11),
        ("init", 10**19 + 1 - 20),
    ]
    assert drawn["phases"][0]["wall_ms"] == pytest.approx(2333.333)
    assert (drawn["exact"], drawn["tsc_hz"], drawn["host_wall_ms"]) == (False, 3, 1234.568)
    assert drawn["machine"]["type"] == "pc-q35-10.0"
    assert drawn["machine"]["firmware"] == "CODE.fd"
    assert len(drawn["machine"]["firmware_sha256"]) == 64


def test_what_is_not_known_is_not_invented(machine: Machine) -> None:
    drawn = draw(machine, init=20, ready=30)
    assert [(phase.name, phase.ticks) for phase in drawn.phases] == [
        ("firmware + kernel", 20),
        ("init", 10),
    ]
    assert all(phase.wall_ms is None for phase in drawn.phases)
    assert drawn.to_json()["tsc_hz"] is None
    assert "ticks" in drawn.table()
    nothing = draw(machine)
    assert nothing.phases == ()
    assert "on the host clock" in nothing.table()


def test_stamps_that_run_backwards_are_refused(machine: Machine) -> None:
    with pytest.raises(SproutError, match="stub ends at 4 ticks and begins at 5"):
        draw(machine, entry=5, handover=4, init=6, ready=7)


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("hz", [0, 2_000_000_000])
def test_table_fits_the_terminal(machine: Machine, columns: int, hz: int) -> None:
    drawn = draw(machine, entry=1, handover=10**19, init=10**19 + 1, ready=2 * 10**19, hz=hz)
    table = drawn.table(columns)
    assert max(map(len, table.splitlines())) <= columns
    assert "\x1b" not in table
    assert "\x1b[36m" in drawn.table(columns, colour=True)


def test_host_without_zones_ends_with_its_init(machine: Machine) -> None:
    assert named(draw_host(machine, ready=44)) == [
        ("firmware", 10),
        ("stub", 2),
        ("xen", 8),
        ("host kernel", 20),
        ("host init", 4),
    ]


def test_hosts_phases_lead_to_its_zone(machine: Machine) -> None:
    drawn = draw_host(machine, FIRST, ready=71)
    assert named(drawn)[4:] == [
        ("host init", 5),
        ("first create", 5),
        ("first kernel", 10),
        ("first init", 11),
    ]
    assert sum(phase.ticks for phase in drawn.phases) == 71
    assert drawn.to_json()["zones"] == [
        {"name": "first", "create": 5, "kernel": 10, "init": 10, "ready": 70, "free_kib": 1000}
    ]
    assert "zone " not in drawn.table()


@pytest.mark.parametrize("order", [(FIRST, SECOND), (SECOND, FIRST)])
def test_of_several_zones_the_way_to_the_last_is_drawn(
    machine: Machine, order: tuple[ZoneReady, ...]
) -> None:
    drawn = draw_host(machine, *order, ready=90)
    assert named(drawn)[4:] == [
        ("host init", 5),
        ("first create", 7),
        ("second create", 5),
        ("second kernel", 23),
        ("second init", 10),
    ]
    rows = drawn.table().splitlines()[-3:]
    assert [row.split() for row in rows] == [
        ["zone", "create", "kernel", "init", "ready", "at", "ticks"],
        ["first", "5", "10", "10", "70"],
        ["second", "5", "23", "10", "90"],
    ]


def test_zone_that_is_ready_last_may_be_created_first(machine: Machine) -> None:
    slow = ZoneReady("slow", create=45, unpaused=46, init=100, ready=120, free=1)
    drawn = draw_host(machine, slow, SECOND, ready=120)
    assert [name for name, _ in named(drawn)[4:]] == [
        *("host init", "slow create", "slow kernel", "slow init"),
    ]


def test_zone_whose_kernel_is_done_before_the_toolstack_is_one_phase(machine: Machine) -> None:
    early = ZoneReady("first", create=45, unpaused=65, init=60, ready=70, free=1)
    drawn = draw_host(machine, early, ready=70)
    assert named(drawn)[5:] == [("first create + first kernel", 15), ("first init", 10)]
    assert drawn.zones[0].create == 15
    assert drawn.zones[0].kernel == 0


def test_hosts_clock_without_the_stubs_stamps(machine: Machine) -> None:
    # Power-on is not on this clock, so nothing is said of what was before the host's kernel.
    drawn = draw_host(machine, FIRST, ready=70, entry=0, handover=0)
    assert named(drawn)[:2] == [("host kernel", 20), ("host init", 5)]
    assert drawn.zones[0].ready == 50
    assert drawn.to_json()["begins"] == "host kernel"
    assert "host kernel to ready" in drawn.table()
    assert "power-on" not in drawn.table()


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("hz", [0, 2_000_000_000])
def test_table_of_a_host_fits_the_terminal(machine: Machine, columns: int, hz: int) -> None:
    late = 10**19
    zones = [
        ZoneReady(f"{letter * 31}", late + number, late + number, late * 2, late * 2, 1)
        for number, letter in enumerate("ab")
    ]
    drawn = draw_host(machine, *zones, ready=late * 2, hz=hz)
    assert max(map(len, drawn.table(columns).splitlines())) <= columns
