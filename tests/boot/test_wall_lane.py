"""The wall-time lane on real TCG boots.

What the arithmetic makes of real noise is held on recorded wall times, not on new ones: at alpha
0.05 a true A against A is found once in 20 runs, and no test may fail that often. `wall/*.json`
is what the lane itself wrote about the guest below, booted against itself:

    execute_wall(disk, disk, names=("guest", "guest"), rounds=60, accel="tcg", report=...)

`busy.json` on two cores shared with other work (load 3 to 7). Each was kept as it came. A new
run then shows that the lane boots, times, compares and reports; it judges no noise.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from sprout.cost.wall import compare_wall, execute_wall
from sprout.vm.probe import compile_application, make_floppy

HERE = Path(__file__).parent
RECORDED = sorted((HERE / "wall").glob("*.json"))
RELABELLED = 500


@dataclass(frozen=True)
class Recorded:
    """One recorded run of A against A: times in ms, round by round."""

    a: list[float]
    b: list[float]


@pytest.fixture(params=RECORDED, ids=lambda path: path.stem)
def recorded(request: pytest.FixtureRequest) -> Recorded:
    data = json.loads(request.param.read_text())
    assert data["machine"]["accelerator"] == "tcg"
    return Recorded(data["wall_ms"]["a"], data["wall_ms"]["b"])


def slower(times: list[float], percent: float) -> list[float]:
    """Plant a change on what was measured."""
    return [value * (1 + percent / 100) for value in times]


def relabelled(times: Recorded, seed: int) -> Recorded:
    """Call the two boots of each round A and B by chance: as true an A against A as the first."""
    source = random.Random(seed)  # noqa: S311
    pairs = [
        pair if source.random() < 0.5 else pair[::-1] for pair in zip(times.a, times.b, strict=True)
    ]
    return Recorded([a for a, _ in pairs], [b for _, b in pairs])


def test_there_is_enough_recorded() -> None:
    assert [path.stem for path in RECORDED] == ["busy", "quiet"]


def test_a_against_a_finds_nothing(recorded: Recorded) -> None:
    result = compare_wall(recorded.a, recorded.b)
    assert not result.found, result.text()
    assert result.text().startswith("nothing found: ")


def test_planted_5_percent_is_found(recorded: Recorded) -> None:
    result = compare_wall(recorded.a, slower(recorded.b, 5))
    assert result.found, result.text()
    assert result.text().startswith("found: B takes ")
    assert result.interval is not None
    assert result.interval[0] <= 0.05 <= result.interval[1]
    back = compare_wall(slower(recorded.a, 5), recorded.b)
    assert back.found
    assert back.change < 0


def test_relabelled_a_against_a_is_found_one_time_in_20(recorded: Recorded) -> None:
    results = [relabelled(recorded, seed) for seed in range(RELABELLED)]
    found = sum(compare_wall(times.a, times.b).found for times in results)
    assert found <= 0.08 * RELABELLED  # three standard errors above 0.05
    planted = sum(compare_wall(times.a, slower(times.b, 5)).found for times in results)
    assert planted >= 0.99 * RELABELLED


def test_lane_boots_times_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk, application, report = (tmp_path / name for name in ("guest.img", "guest.efi", "a.json"))
    compile_application(HERE / "machine" / "guest.c", application, "BEHAVIOUR=READY")
    make_floppy(disk, application)
    names = ("guest", "guest")
    assert execute_wall(disk, disk, names=names, rounds=2, accel="tcg", report=report) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("nothing found: guest (B) against guest (A) in wall time (p = ")
    assert "Fewer than 6 rounds can find nothing." in captured.out
    assert captured.err.startswith("wall time of guest\n")
    data = json.loads(report.read_text())
    times = data["wall_ms"]
    assert (len(times["a"]), len(times["b"]), data["rounds"]) == (2, 2, 2)
    assert data["machine"]["accelerator"] == "tcg"
    # Whatever the noise was: 5 % more on one side is 5 % more in the estimate.
    planted = compare_wall(times["a"], slower(times["b"], 5))
    assert planted.change == pytest.approx(1.05 * (1 + data["change"]) - 1)
