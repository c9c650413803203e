"""The wall-time lane on real TCG boots.

What the arithmetic makes of real noise is held on recorded wall times, not on new ones: at alpha
0.05 a true A against A is found once in 20 runs, and no test may fail that often. `wall/*.json`
holds what boots of one guest took, in the order in which they ran, on two cores with a load of 3
to 8; the tests then have the lane say which of them were A's. By this file:

    export PYTHONPATH=.
    .venv/bin/python tests/boot/test_wall_lane.py short 2000 tests/boot/wall/short-1.json
    .venv/bin/python tests/boot/test_wall_lane.py uefi 120 tests/boot/wall/uefi-1.json

`short` is the boot sector `wall/sector.S`, `uefi` the guest `machine/guest.c` on UEFI firmware. So
much noise is in the latter (3.4 to 10.9 s) that 60 rounds cannot show 5 %, as the lane says.

New boots then show that the lane boots, times, compares and reports, and judge no noise.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sprout.base.run import check
from sprout.cost.wall import WallResult, compare_wall, execute_wall, run_interleaved
from sprout.vm.boot import boot
from sprout.vm.console import Console
from sprout.vm.firmware import find_bios
from sprout.vm.probe import compile_application, make_floppy
from sprout.vm.qemu import Machine, data_directories, find_qemu
from sprout.vm.session import End, Verdict, run_machine

HERE = Path(__file__).parent
RECORDED = [("short-1", 2000), ("short-2", 2000), ("uefi-1", 120), ("uefi-2", 120)]
COINS = range(1, 11)
RUNS = 500
FEW = 20
LIMIT_S = 60.0


@dataclass(frozen=True)
class Recorded:
    """What boots of one guest took, in ms and in the order in which they ran."""

    boots_ms: tuple[float, ...]

    def judged(self, percent: float = 0, *, seed: int = 1, rounds: int | None = None) -> WallResult:
        """Give what the lane makes of them, with a change planted on those that are B's.

        `rounds` takes that many in a row from anywhere; without it all are taken.
        """
        taken = iter(self.boots_ms)
        most = len(self.boots_ms) // 2
        if rounds is not None:
            begin = random.Random(seed).randint(0, most - rounds)  # noqa: S311
            taken = iter(self.boots_ms[2 * begin :])
        b = 1 + percent / 100
        return compare_wall(
            *run_interleaved(
                lambda: next(taken), lambda: next(taken) * b, rounds or most, seed=seed
            )
        )


def recorded(name: str) -> Recorded:
    data = json.loads((HERE / "wall" / f"{name}.json").read_text())
    assert data["machine"]["accelerator"] == "tcg"
    return Recorded(tuple(data["boots_ms"]))


@pytest.mark.parametrize("name", ["short-1", "short-2"])
def test_a_against_a_finds_nothing_and_planted_5_percent_is_found(name: str) -> None:
    """With ten coins, because one coin in 20 finds something that is not there."""
    times = recorded(name)
    same = [times.judged(seed=seed) for seed in COINS]
    assert sum(result.found for result in same) <= 2
    assert all(0 < (result.detectable or 0) < 0.03 for result in same)
    slower = [times.judged(5, seed=seed) for seed in COINS]
    assert all(result.found and result.change > 0 for result in slower)
    assert sum(holds(result, 0.05) for result in slower) >= len(COINS) - 2
    assert slower[0].text().startswith("found: B takes ")
    faster = times.judged(-5)
    assert faster.found
    assert faster.change < 0


def holds(result: WallResult, change: float) -> bool:
    assert result.interval is not None
    return result.interval[0] <= change <= result.interval[1]


@pytest.mark.parametrize("name", ["uefi-1", "uefi-2"])
def test_noise_that_hides_5_percent_is_said(name: str) -> None:
    times = recorded(name)
    same = [times.judged(seed=seed) for seed in COINS]
    assert sum(result.found for result in same) <= 2
    assert all(0.05 < (result.detectable or 0) < 0.1 for result in same)
    assert all(times.judged(20, seed=seed).found for seed in COINS)


@pytest.mark.parametrize(("name", "boots"), RECORDED)
def test_a_against_a_is_found_one_time_in_20(name: str, boots: int) -> None:
    times = recorded(name)
    assert len(times.boots_ms) == boots
    found = sum(times.judged(seed=seed, rounds=FEW).found for seed in range(RUNS))
    # Three standard errors of so many around 0.05.
    assert 0.02 * RUNS <= found <= 0.08 * RUNS


def sector_boot(directory: Path) -> Callable[[], float]:
    """Give how to boot the boot sector under TCG, in ms on the host's clock."""
    disk, code = directory / "sector.img", directory / "sector.o"
    hint = "Mend the boot sector."
    source = HERE / "wall" / "sector.S"
    check(["clang", "-target", "i386-none-elf", "-c", source, "-o", code], hint)
    check(["objcopy", "-O", "binary", "-j", ".text", code, disk], hint)
    assert disk.stat().st_size == 512
    with disk.open("ab") as stream:
        stream.truncate(1 << 20)
    qemu = find_qemu("x86_64")
    machine = Machine(find_bios(data_directories(qemu)), disk=disk, memory_mib=64)

    def one() -> float:
        seconds = 0.0

        def judge(line: str, now: float) -> Verdict | None:
            nonlocal seconds
            seconds = now
            return Verdict(End.REACHED) if line.endswith("sprout-sector: alive") else None

        run = run_machine(qemu, machine, console=Console(), judge=judge, timeout_s=LIMIT_S)
        assert run.end is End.REACHED, run
        return round(seconds * 1000, 3)

    one()  # unmeasured, as the lane does it
    return one


def guest_disk(directory: Path) -> Path:
    """Make the disk of a guest that is ready as soon as UEFI firmware calls it."""
    disk, application = directory / "guest.img", directory / "guest.efi"
    compile_application(HERE / "machine" / "guest.c", application, "BEHAVIOUR=READY")
    make_floppy(disk, application)
    return disk


def guest_boot(directory: Path) -> Callable[[], float]:
    """Give how to boot that guest under TCG, in ms on the host's clock."""
    disk = guest_disk(directory)

    def one() -> float:
        result = boot(disk, image="guest", accel="tcg", timeout_s=LIMIT_S)
        return result.timeline.host_ms

    one()
    return one


def test_new_boots_are_told_apart_from_boots_twice_as_long(tmp_path: Path) -> None:
    one = sector_boot(tmp_path)
    times = Recorded(tuple(one() for _ in range(2 * FEW)))
    result = times.judged()
    assert len(result.a_ms) == len(result.b_ms) == FEW
    assert sorted(result.a_ms + result.b_ms) == sorted(times.boots_ms)
    # Whatever the noise was: 5 % more on one side is 5 % more in the estimate.
    assert times.judged(5).change == pytest.approx(1.05 * (1 + result.change) - 1)
    # A third of the rounds would have to be disturbed by more than a factor of two to hide this.
    assert times.judged(100).found
    assert times.judged(-50).found


def test_lane_boots_times_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk, report = guest_disk(tmp_path), tmp_path / "wall.json"
    names = ("guest", "guest")
    assert execute_wall(disk, disk, names=names, rounds=1, accel="tcg", report=report) == 0
    captured = capsys.readouterr()
    verdict = "nothing found: guest (B) against guest (A) in wall time (p = 1)"
    assert captured.out.startswith(verdict)
    assert "Fewer than 6 rounds can find nothing." in captured.out
    assert captured.err.startswith("wall time of guest\n")
    data = json.loads(report.read_text())
    times = data["wall_ms"]
    assert (len(times["a"]), len(times["b"]), data["rounds"]) == (1, 1, 1)
    assert data["change"] == pytest.approx(times["b"][0] / times["a"][0] - 1)
    assert data["machine"]["accelerator"] == "tcg"
    assert "OVMF" in data["machine"]["firmware"]


def record(kind: str, count: int, target: Path) -> None:
    """Boot so often and write what each boot took."""
    qemu = find_qemu("x86_64")
    with tempfile.TemporaryDirectory(prefix="sprout-") as directory:
        one = {"short": sector_boot, "uefi": guest_boot}[kind](Path(directory))
        times = [one() for _ in range(count)]
    machine = {"accelerator": "tcg", "qemu": qemu.version_text(), "type": qemu.versioned("q35")}
    target.write_text(json.dumps({"machine": machine, "boots_ms": times}, indent=1) + "\n")


if __name__ == "__main__":
    record(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
