"""The wall-time lane's arithmetic: by hand, against every way there is, and on noisy series."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from sprout.base.errors import SproutError, UsageError
from sprout.cost.permutation import EXACT_PAIRS, SAMPLES, signed_rank
from sprout.cost.wall import (
    MAX_ROUNDS,
    MIN_ROUNDS,
    WallResult,
    compare_wall,
    measure_wall,
    run_interleaved,
    unchanged,
)

ROUNDS = 20
SERIES = 1000
MACHINE: dict[str, str | int] = {
    "accelerator": "kvm",
    "qemu": "7.2.22",
    "type": "pc-q35-7.2",
    "cpus": 1,
    "memory_mib": 512,
}


def chance(seed: int) -> random.Random:
    """Chance that repeats, so that these tests say the same on every day."""
    return random.Random(seed)  # noqa: S311


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([5.0], 2 / 2),
        ([1, 2, 3], 2 / 8),  # of 8 subsets of the ranks {1, 2, 3} one sums to 0
        ([1, -2, 3], 6 / 8),  # {}, {1}, {2} sum to 2 or less
        ([1, 2, -3], 8 / 8),  # five subsets sum to 3 or less; twice that is no probability
        ([1, 2, 3, 4, 5], 2 / 32),
        ([1, 2, 3, 4, 5, 6], 2 / 64),
        ([-1, -2, -3, -4, -5, -6], 2 / 64),
        ([-1, 2, 3, 4, 5, 6], 4 / 64),
        ([2, 2, 2, -1], 4 / 16),  # ranks 3, 3, 3, 1
        ([1, 1, -1], 8 / 8),  # ranks 2, 2, 2: four of eight subsets sum to 2 or less
        ([0, 1, 2, 3], 2 / 8),  # the zero has a rank and no sign
        ([0, 0, 0], 1),
    ],
    ids=str,
)
def test_p_is_what_one_counts_by_hand(differences: list[float], p: float) -> None:
    found = signed_rank(differences)
    assert found.p == p
    assert found.exact
    assert found.permutations == 2 ** sum(value != 0 for value in differences)


def test_p_is_the_share_of_all_sign_flips() -> None:
    source = chance(1)
    for _ in range(200):
        differences = [float(source.randint(-4, 4)) for _ in range(source.randint(1, 8))]
        assert signed_rank(differences).p == pytest.approx(counted_p(differences))


def counted_p(differences: Sequence[float]) -> float:
    """Give p by its definition: signs of all pairwise sums, every way to flip, the lesser tail."""

    def statistic(values: Sequence[float]) -> int:
        pairs = itertools.combinations_with_replacement(values, 2)
        return sum((one + other > 0) - (one + other < 0) for one, other in pairs)

    sizes = [abs(value) for value in differences]
    ways = [
        statistic([size * sign for size, sign in zip(sizes, signs, strict=True)])
        for signs in itertools.product((1, -1), repeat=len(sizes))
    ]
    seen = abs(statistic(differences))
    return min(1.0, 2 * sum(way >= seen for way in ways) / len(ways))


@pytest.mark.parametrize(
    ("pairs", "critical"), [(6, 0), (7, 2), (8, 3), (9, 5), (10, 8), (15, 25), (20, 52), (25, 89)]
)
def test_interval_is_that_of_the_printed_tables(pairs: int, critical: int) -> None:
    """Two-sided critical values at 0.05 are printed in every textbook."""
    source = chance(pairs)
    differences = [source.gauss(0, 1) for _ in range(pairs)]
    means = sorted(
        (one + other) / 2 for one, other in itertools.combinations_with_replacement(differences, 2)
    )
    assert signed_rank(differences).interval == (means[critical], means[-1 - critical])


def test_below_six_pairs_there_is_no_interval() -> None:
    found = signed_rank([1.0, 2.0, 3.0, 4.0, 5.0])
    assert MIN_ROUNDS == 6
    assert (found.interval, found.detectable, found.shift) == (None, None, 3.0)


def test_shift_is_the_median_of_pairwise_means() -> None:
    assert signed_rank([1.0, 2.0, 6.0]).shift == (2.0 + 3.5) / 2  # of 1 1.5 2 3.5 4 6
    assert signed_rank([1.0, 2.0, 6.0]).rank_biserial == 1
    assert signed_rank([-1.0, 2.0, 6.0]).rank_biserial == pytest.approx(4 / 6)


def test_many_pairs_are_sampled_and_repeat() -> None:
    source = chance(2)
    differences = [source.gauss(0.15, 1) for _ in range(EXACT_PAIRS + 1)]
    found = signed_rank(differences, seed=3)
    assert (found.exact, found.permutations) == (False, SAMPLES)
    assert found == signed_rank(differences, seed=3)
    assert found.p != signed_rank(differences, seed=4).p
    counted = signed_rank(differences[:EXACT_PAIRS])
    assert counted.exact
    assert found.p == pytest.approx(counted.p, rel=0.5)
    always = signed_rank([1.0 + index for index in range(EXACT_PAIRS + 1)])
    assert always.p == 2 / (SAMPLES + 1)  # never 0: what was measured is one of the ways


def test_test_and_interval_never_disagree() -> None:
    source = chance(3)
    for pairs in [*range(MIN_ROUNDS, 40), EXACT_PAIRS + 1]:
        for shift in (0.0, 0.3, 0.6):
            found = signed_rank([source.gauss(shift, 1) for _ in range(pairs)])
            assert found.interval is not None
            low, high = found.interval
            assert (found.p <= 0.05) == (not low <= 0 <= high)
            assert low <= found.shift <= high


Noise = Callable[[random.Random], tuple[list[float], list[float]]]


def quiet(source: random.Random) -> tuple[list[float], list[float]]:
    """A quiet host: one boot differs from the next by 1 %."""
    return lane(source, lambda _: source.gauss(3000, 30))


def busy(source: random.Random) -> tuple[list[float], list[float]]:
    """A busy host: swings of 20 %, 2 % from boot to boot, one boot in 15 up to twice as long."""
    phase = source.random() * 6

    def boot(number: int) -> float:
        swing = 1 + 0.1 * math.sin(phase + number / 5)
        hit = 1 + source.random() if source.random() < 1 / 15 else 1
        return 3000 * swing * hit * source.lognormvariate(0, 0.02)

    return lane(source, boot)


def warming(source: random.Random) -> tuple[list[float], list[float]]:
    """A host that slows down by a half as it gets warm, with 1 % from boot to boot."""
    return lane(source, lambda number: 3000 * (1 + number / 80) * source.lognormvariate(0, 0.01))


def second_is_slower(source: random.Random) -> tuple[list[float], list[float]]:
    """A round's second boot takes 2 % longer, whichever of the two it is."""
    return lane(source, lambda number: 3000 * (1 + number % 2 / 50) * source.gauss(1, 0.01))


def clinging(source: random.Random) -> tuple[list[float], list[float]]:
    """Other work that lasts a few boots: what slows one boot by 10 % still slows the next by 7."""
    level = 0.0

    def boot(_: int) -> float:
        nonlocal level
        level = 0.7 * level + source.gauss(0, 0.1)
        return 3000 * math.exp(level)

    return lane(source, boot)


def lane(source: random.Random, boot: Callable[[int], float]) -> tuple[list[float], list[float]]:
    """Boot A against A as the lane does, where `boot` gives what the nth boot takes."""
    numbers = itertools.count()
    seed = source.getrandbits(32)
    one = partial(next, numbers)
    return run_interleaved(lambda: boot(one()), lambda: boot(one()), ROUNDS, seed=seed)


@pytest.mark.parametrize("noise", [quiet, busy, warming, clinging, second_is_slower])
def test_a_against_a_finds_nothing(noise: Noise) -> None:
    """At alpha 0.05 one in 20 may be found; 0.07 is three standard errors of 1000 series more."""
    source = chance(4)
    found = sum(compare_wall(*noise(source)).found for _ in range(SERIES))
    assert found <= 0.07 * SERIES


@pytest.mark.parametrize(("noise", "share"), [(quiet, 0.999), (warming, 0.999), (busy, 0.85)])
def test_planted_5_percent_is_found(noise: Noise, share: float) -> None:
    source = chance(5)
    found = covered = 0
    for _ in range(SERIES):
        a, b = noise(source)
        result = compare_wall(a, [1.05 * value for value in b])
        found += result.found and result.change > 0
        assert result.interval is not None
        covered += result.interval[0] <= 0.05 <= result.interval[1]
    assert found >= share * SERIES
    assert covered >= 0.93 * SERIES


def test_what_it_calls_detectable_is_found_4_times_in_5() -> None:
    source = chance(6)
    series = [quiet(source) for _ in range(SERIES)]
    sizes = sorted(compare_wall(a, b).detectable or 0 for a, b in series)
    typical = 1 + sizes[SERIES // 2]
    assert 1.005 < typical < 1.02
    found = sum(compare_wall(a, [typical * value for value in b]).found for a, b in series)
    assert 0.74 * SERIES <= found <= 0.86 * SERIES


def test_one_disturbed_boot_hides_nothing_and_makes_nothing() -> None:
    a, b = quiet(chance(7))
    disturbed = [a[0] * 20, *a[1:]]
    assert not compare_wall(disturbed, b).found
    assert compare_wall(disturbed, [1.05 * value for value in b]).found


def test_swapping_the_sides_turns_the_change_around() -> None:
    a, b = busy(chance(8))
    there, back = compare_wall(a, b), compare_wall(b, a)
    assert there.test.p == back.test.p
    assert 1 + there.change == pytest.approx(1 / (1 + back.change))
    assert (there.slower, there.faster) == (back.faster, back.slower)


def test_a_coin_says_who_goes_first() -> None:
    order, advanced = "", []

    def boot(name: str) -> float:
        nonlocal order
        order += name
        return float(len(order))

    def run(seed: int) -> tuple[list[float], list[float]]:
        nonlocal order
        order = ""
        a, b = partial(boot, "A"), partial(boot, "B")
        return run_interleaved(a, b, 400, seed=seed, advance=lambda: advanced.append(len(order)))

    times, first = run(1), order
    rounds = [first[at : at + 2] for at in range(0, 800, 2)]
    assert set(rounds) == {"AB", "BA"}
    assert 160 <= rounds.count("AB") <= 240  # four standard deviations
    changes = sum(one != other for one, other in itertools.pairwise(rounds))
    assert 160 <= changes <= 240  # and no turns are taken
    assert times[0] == [2 * at + pair.index("A") + 1 for at, pair in enumerate(rounds)]
    assert times[1] == [2 * at + pair.index("B") + 1 for at, pair in enumerate(rounds)]
    assert advanced == list(range(1, 801))
    assert run(1) == times
    assert run(2) != times


def test_a_failed_boot_ends_the_run() -> None:
    def fails() -> float:
        raise SproutError("zone: kernel panic", "Look.")

    with pytest.raises(SproutError, match="kernel panic"):
        run_interleaved(lambda: 1.0, fails, 3)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([], [], "0 and 0 boots"),
        ([1.0], [1.0, 2.0], "1 and 2 boots"),
        ([1.0] * (MAX_ROUNDS + 1), [1.0] * (MAX_ROUNDS + 1), "not 1 to 1000 pairs"),
        ([1.0, 2.0], [1.0, math.nan], "wall times of B: round 2: nan ms is not a time"),
        ([1.0, math.inf], [1.0, 2.0], "wall times of A: round 2: inf ms"),
        ([0.0], [1.0], "wall times of A: round 1: 0.0 ms"),
        ([1.0], [-1.0], "wall times of B: round 1: -1.0 ms"),
    ],
    ids=["none", "unpaired", "many", "nan", "endless", "zero", "negative"],
)
def test_times_that_are_none_are_refused(a: list[float], b: list[float], message: str) -> None:
    with pytest.raises(SproutError, match=message):
        compare_wall(a, b)


def test_rounds_and_disks_are_checked_before_anything_is_booted(tmp_path: Path) -> None:
    disk = tmp_path / "zone.img"
    with pytest.raises(SproutError, match=r"zone\.img: cannot be read: No such file"):
        measure_wall(disk, disk, names=("zone", "zone"), accel="tcg")
    for rounds in (0, -1, MAX_ROUNDS + 1):
        with pytest.raises(UsageError, match=f"{rounds} rounds cannot be run"):
            measure_wall(disk, disk, names=("zone", "zone"), rounds=rounds)


def test_disk_that_changes_meanwhile_is_named(tmp_path: Path) -> None:
    one, other = tmp_path / "one.img", tmp_path / "other.img"
    for disk in (one, other):
        disk.write_bytes(b"disk")
    with unchanged(one, other):
        pass
    with pytest.raises(SproutError, match=r"other\.img: was changed while"), unchanged(one, other):
        other.rename(tmp_path / "old.img")
        other.write_bytes(b"disk")
    with pytest.raises(SproutError, match=r"one\.img: cannot be read"), unchanged(one, other):
        one.unlink()


PAIR = ("zone", "new")


def planted(factor: float, names: tuple[str, str] = PAIR, rounds: int = ROUNDS) -> WallResult:
    a, b = quiet(chance(9))
    slower = [factor * value for value in b]
    return compare_wall(a[:rounds], slower[:rounds], names=names, machine=MACHINE)


def test_first_line_is_the_verdict() -> None:
    first = planted(1.05).text().splitlines()[0]
    assert first.startswith("found: new takes ")
    assert first.endswith("% longer wall time than zone (p < 0.0001)")
    assert "% less wall time than zone" in planted(0.9).text()
    assert planted(1.0).text().startswith("nothing found: new against zone in wall time (p = 0.")


def test_report_says_how_and_how_much_could_be_found() -> None:
    text = " ".join(planted(1.0).text().split())
    assert "20 rounds · KVM, QEMU 7.2.22 · pc-q35-7.2, 1 CPU · 512 MiB" in text
    assert "all 1,048,576 ways to flip the signs" in text
    assert "With so many rounds and such noise a change of " in text
    assert "gates nothing" in text
    few = planted(1.05, rounds=5).text()
    assert few.startswith("nothing found: ")
    assert "Fewer than 6 rounds can find nothing." in few


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("names", [("zone", "zone"), ("a" * 90, "b-" * 90)], ids=["short", "long"])
@pytest.mark.parametrize("rounds", [1, 5, 20])
def test_report_fits_the_terminal(columns: int, names: tuple[str, str], rounds: int) -> None:
    text = planted(1.05, names, rounds).text(columns)
    assert max(map(len, text.splitlines())) <= columns
    assert not any(line.endswith(" ") for line in text.splitlines())


def test_names_can_be_told_apart_and_do_not_speak_to_the_terminal() -> None:
    assert planted(1.0, ("zone", "zone")).names == ("zone (A)", "zone (B)")
    assert "\x1b" not in planted(1.0, ("zone", "\x1b[2Jzone")).text()


def test_json_holds_what_the_rest_can_be_computed_from() -> None:
    result = planted(1.05)
    data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    times = data["wall_ms"]
    assert data["gates"] is False
    assert data["found"] is True
    assert data["machine"] == MACHINE
    again = compare_wall(times["a"], times["b"], names=tuple(data["names"]), machine=MACHINE)
    assert again == result
    assert json.dumps(planted(1.05, rounds=3).to_json(), allow_nan=False)
