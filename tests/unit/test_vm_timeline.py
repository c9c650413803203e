from __future__ import annotations

import json
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.format.ready import Ready
from sprout.vm.firmware import Firmware
from sprout.vm.qemu import Machine, Qemu
from sprout.vm.timeline import Timeline, timeline


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    code = tmp_path / "CODE.fd"
    code.write_bytes(b"code")
    return Machine(Firmware(tmp_path, code, "raw", code, "raw"), tmp_path / "disk")


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
