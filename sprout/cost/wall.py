"""The wall-time lane: two disks booted in turn on the host's clock, and what the times can tell.

It informs and never gates: the host's other work is in every figure. Each round boots A and B in
an order that a coin decides, and its pair is judged by the logarithm of its ratio: what drifts
slowly falls out, and a figure is a relative change. The two sides' means or medians would keep the
drift, and a mean follows the one boot that was disturbed. A coin, because it is what makes the
test's flipped signs as likely as those measured, whatever the host does; strict turns (A B, B A)
put the same side next to itself at each round's end, and one busy moment then counts twice.
`sprout.cost.permutation` says how pairs are judged.
"""

from __future__ import annotations

import json
import math
import random
import statistics
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sprout.base.errors import SproutError, UsageError, printable
from sprout.base.files import cannot_read, write_file
from sprout.base.progress import Progress
from sprout.cost.permutation import ALPHA, MAX_PAIRS, POWER, SignedRank, signed_rank
from sprout.vm.boot import BootResult, boot

MIN_ROUNDS = 6  # with fewer, even rounds that all agree have p above 0.05
MAX_ROUNDS = MAX_PAIRS
DEFAULT_ROUNDS = 20
_TIMEOUT_S = 120.0
_MAX_NAME = 32
_MIN_COLUMNS = 60
_BESIDE_NAME = 46  # columns that the table's figures take


@dataclass(frozen=True)
class WallResult:
    """What two series of wall times say about each other; `change` of 0.05 is B taking 5 % longer.

    `a_ms` and `b_ms` are the times in milliseconds, one pair a round. `change` has `interval`
    (95 %, None below MIN_ROUNDS rounds); `detectable` is the least change in either direction
    that so many rounds of such noise show 4 times in 5. `slower` and `faster` count the rounds in
    which B was; `test` says the rest. `machine` says what it was measured on, as far as it is
    known.
    """

    names: tuple[str, str]
    a_ms: tuple[float, ...]
    b_ms: tuple[float, ...]
    change: float
    interval: tuple[float, float] | None
    detectable: float | None
    slower: int
    faster: int
    test: SignedRank
    machine: dict[str, str | int]

    @property
    def found(self) -> bool:
        """Tell whether a difference was found at alpha 0.05."""
        return self.test.p <= ALPHA

    def text(self, columns: int = 80) -> str:
        """Give the report as text of at most `columns` columns (at least 60)."""
        return "".join(f"{line}\n" for line in lines(self, columns))

    def to_json(self) -> dict[str, Any]:
        """Give everything as JSON's types; the times are what the rest can be computed from."""
        test = self.test
        return {
            "lane": "wall",
            "gates": False,
            "names": list(self.names),
            "machine": self.machine,
            "rounds": len(self.a_ms),
            "wall_ms": {"a": list(self.a_ms), "b": list(self.b_ms)},
            "median_ms": {
                "a": statistics.median(self.a_ms),
                "b": statistics.median(self.b_ms),
            },
            "alpha": ALPHA,
            "found": self.found,
            "p": test.p,
            "permutations": test.permutations,
            "exact": test.exact,
            "change": self.change,
            "interval": list(self.interval) if self.interval is not None else None,
            "detectable": self.detectable,
            "slower_rounds": self.slower,
            "faster_rounds": self.faster,
            "rank_biserial": test.rank_biserial,
        }


def compare_wall(
    a: Sequence[float],
    b: Sequence[float],
    *,
    seed: int = 1,
    names: tuple[str, str] = ("A", "B"),
    machine: dict[str, str | int] | None = None,
) -> WallResult:
    """Judge wall times in ms: a[i] and b[i] are the two boots of round i.

    `seed` draws the permutations where there are too many rounds to count them all. Raises
    SproutError where the series do not pair up or a time is no time.
    """
    if len(a) != len(b) or not 1 <= len(a) <= MAX_ROUNDS:
        raise SproutError(
            f"wall times of {len(a)} and {len(b)} boots: not 1 to {MAX_ROUNDS} pairs",
            "Boot both equally often.",
        )
    for name, series in zip(names, (a, b), strict=True):
        for index, value in enumerate(series, 1):
            if not 0 < value < math.inf:
                raise SproutError(
                    f"wall times of {name}: round {index}: {value} ms is not a time",
                    "Every boot takes longer than nothing and ends.",
                )
    ratios = [math.log(second / first) for first, second in zip(a, b, strict=True)]
    test = signed_rank(ratios, seed=seed)
    low_high = test.interval
    return WallResult(
        names=_labels(names),
        a_ms=tuple(a),
        b_ms=tuple(b),
        change=math.expm1(test.shift),
        interval=None if low_high is None else (math.expm1(low_high[0]), math.expm1(low_high[1])),
        detectable=None if test.detectable is None else math.expm1(test.detectable),
        slower=sum(ratio > 0 for ratio in ratios),
        faster=sum(ratio < 0 for ratio in ratios),
        test=test,
        machine=dict(machine or {}),
    )


def run_interleaved(
    boot_a: Callable[[], float],
    boot_b: Callable[[], float],
    rounds: int,
    *,
    seed: int = 1,
    advance: Callable[[], None] = lambda: None,
) -> tuple[list[float], list[float]]:
    """Boot both in each of so many rounds; give what each boot took, in round order.

    `seed` makes the coin that says which goes first. `advance` is called after each boot. What a
    boot raises ends the run.
    """
    coin = random.Random(seed)  # noqa: S311 - chance that repeats is the point
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for side in (0, 1) if coin.random() < 0.5 else (1, 0):
            times[side].append((boot_a, boot_b)[side]())
            advance()
    return times


def measure_wall(
    disk_a: Path,
    disk_b: Path,
    *,
    names: tuple[str, str],
    rounds: int = DEFAULT_ROUNDS,
    accel: str = "kvm",
    memory_mib: int = 512,
    cpus: int = 1,
    timeout_s: float = _TIMEOUT_S,
) -> WallResult:
    """Boot two disks (or one against itself) until ready and judge the host's wall times.

    Each is booted once before, unmeasured: the host then has it, QEMU and the firmware in memory.
    A time is from QEMU's start to the readiness line. `accel` is one of
    `sprout.vm.accel.CHOICES`; the first boot settles "auto" for all. `timeout_s` bounds each
    boot. Raises what `sprout.vm.boot.boot` raises, and SproutError where a disk is changed
    meanwhile.
    """
    _check_rounds(rounds)

    def start(side: int, accelerator: str) -> BootResult:
        return boot(
            (disk_a, disk_b)[side],
            image=names[side],
            accel=accelerator,
            timeout_s=timeout_s,
            memory_mib=memory_mib,
            cpus=cpus,
        )

    label = f"wall time of {' and '.join(dict.fromkeys(names))}"
    with unchanged(disk_a, disk_b), Progress(label, 2 * rounds + 2) as progress:
        first = start(0, accel).timeline
        progress.advance()
        start(1, first.accelerator)
        progress.advance()
        a, b = run_interleaved(
            lambda: start(0, first.accelerator).timeline.host_ms,
            lambda: start(1, first.accelerator).timeline.host_ms,
            rounds,
            advance=progress.advance,
        )
    machine = {"accelerator": first.accelerator, **first.machine}
    return compare_wall(a, b, names=names, machine=machine)


@contextmanager
def unchanged(*disks: Path) -> Iterator[None]:
    """Hold that none of `disks` is written or replaced while the block runs.

    A build beside the measurement would have half of the boots boot something else. Raises
    SproutError when one was, or cannot be read.
    """
    before = [_identity(disk) for disk in disks]
    yield
    for disk, identity in zip(disks, before, strict=True):
        if _identity(disk) != identity:
            raise SproutError(
                f"{disk}: was changed while it was being measured", "Measure again, undisturbed."
            )


def execute_wall(
    disk_a: Path,
    disk_b: Path,
    *,
    names: tuple[str, str],
    rounds: int = DEFAULT_ROUNDS,
    accel: str = "kvm",
    report: Path | None = None,
    columns: int = 80,
) -> int:
    """Measure two disks, print the report, write JSON to `report`, and give exit status 0.

    The status is 0 whatever is found: this lane gates nothing. Raises as `measure_wall` does.
    """
    result = measure_wall(disk_a, disk_b, names=names, rounds=rounds, accel=accel)
    print(result.text(columns), end="")
    if report is not None:
        write_file(report, (json.dumps(result.to_json(), indent=1) + "\n").encode())
    return 0


def lines(result: WallResult, columns: int = 80) -> list[str]:
    """Give the report's lines, at most `columns` (at least 60) wide; the first is the verdict."""
    columns = max(columns, _MIN_COLUMNS)
    a, b = (_short(name, columns - _BESIDE_NAME) for name in result.names)
    wide = max(len(a), len(b), len("change"))
    rows = [f"{'':<{wide}}   median ms    middle half of the boots"]
    for name, series in ((a, result.a_ms), (b, result.b_ms)):
        low, median, high = _quartiles(series)
        rows.append(f"{name:<{wide}}{median:>12,.1f}    {low:,.1f} to {high:,.1f}")
    row = f"{'change':<{wide}}{result.change:>+12.2%}"
    if result.interval is not None:
        low, high = result.interval
        row += f"    {low:+.2%} to {high:+.2%} at 95 %"
    return [
        *_wrapped(_verdict(result), columns),
        *_wrapped(_where(result), columns),
        *(line.rstrip() for line in [*rows, row]),
        *_wrapped(_how(result), columns),
        *_wrapped(_reach(result), columns),
    ]


def _wrapped(text: str, columns: int) -> list[str]:
    return textwrap.wrap(text, columns, break_on_hyphens=False)


def _verdict(result: WallResult) -> str:
    a, b = result.names
    if not result.found:
        return f"nothing found: {b} against {a} in wall time ({_chance(result.test.p)})"
    how = "longer" if result.change > 0 else "less"
    by = f"{abs(result.change):.2%}"
    return f"found: {b} takes {by} {how} wall time than {a} ({_chance(result.test.p)})"


def _where(result: WallResult) -> str:
    machine = result.machine
    parts = [f"{len(result.a_ms)} rounds"]
    if "accelerator" in machine:
        parts.append(f"{str(machine['accelerator']).upper()}, QEMU {machine.get('qemu', '?')}")
    if "type" in machine:
        parts.append(f"{machine['type']}, {machine.get('cpus', '?')} CPU")
    if "memory_mib" in machine:
        parts.append(f"{machine['memory_mib']} MiB")
    return printable(" · ".join(parts))


def _how(result: WallResult) -> str:
    test = result.test
    count = f"{test.permutations:,}" if test.permutations < 10**9 else f"{test.permutations:.0e}"
    ways = f"all {count} ways" if test.exact else f"{count} random ways"
    return (
        f"{result.names[1]} slower in {result.slower} of {len(result.a_ms)} rounds, faster in "
        f"{result.faster} (rank-biserial correlation {test.rank_biserial:+.2f}). Signed-rank test "
        f"of each round's ratio, two-sided at alpha {ALPHA:g}, {ways} to flip the signs."
    )


def _reach(result: WallResult) -> str:
    if result.detectable is None:
        return f"Fewer than {MIN_ROUNDS} rounds can find nothing."
    return (
        f"With so many rounds and such noise a change of {result.detectable:.2%} is found "
        f"{POWER:.0%} of the time. Wall time informs and gates nothing."
    )


def _chance(p: float) -> str:
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def _quartiles(series: Sequence[float]) -> tuple[float, float, float]:
    if len(series) < 2:
        return series[0], series[0], series[0]
    low, median, high = statistics.quantiles(series, n=4, method="inclusive")
    return low, median, high


def _labels(names: tuple[str, str]) -> tuple[str, str]:
    """Give names that can be told apart, also where a disk is measured against itself."""
    a, b = (_short(printable(name), _MAX_NAME) for name in names)
    return (a, b) if a != b else (f"{a} (A)", f"{b} (B)")


def _short(name: str, most: int) -> str:
    """Cut a name from its front, for what tells paths apart stands at their end."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _check_rounds(rounds: int) -> None:
    if not 1 <= rounds <= MAX_ROUNDS:
        raise UsageError(
            f"{rounds} rounds cannot be run", f"Ask for {MIN_ROUNDS} to {MAX_ROUNDS} rounds."
        )


def _identity(disk: Path) -> tuple[int, int, int]:
    try:
        state = disk.stat()
    except OSError as error:
        raise cannot_read(disk, error) from error
    return state.st_ino, state.st_size, state.st_mtime_ns
