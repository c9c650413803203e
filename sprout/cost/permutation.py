"""Paired differences judged by a sign-flip permutation test on ranks (Wilcoxon's signed ranks).

If the two sides of a pair are the same thing measured twice, each difference was as likely to come
with the other sign, whatever the noise looks like: so the signs are flipped, all together in every
way, and the p-value is the share of ways that are at least as extreme. Ranks stand for the
differences because one boot that met a busy host must not outweigh all the others. The shift
(Hodges-Lehmann: the median of all pairwise means) and its interval are the same test turned
around, so that the three never disagree (Hollander, Wolfe, Chicken: Nonparametric Statistical
Methods, chapter 3; equal sizes share their mean rank, zeros are ranked and then dropped: Pratt
1959).
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import getitem

ALPHA = 0.05
POWER = 0.8
EXACT_PAIRS = 100  # up to here every way is counted; more pairs are sampled
SAMPLES = 20_000
MAX_PAIRS = 1000


@dataclass(frozen=True)
class SignedRank:
    """What the test says of differences.

    `p` is two-sided, over `permutations` ways to set the signs: all that there are where `exact`,
    else that many drawn at random. `shift` is the Hodges-Lehmann estimate; `interval` holds the
    true shift 95 times in 100 and `detectable` is the size of a true shift that so many pairs
    with such noise show 4 times in 5 (None where the pairs are too few to show any).
    `rank_biserial` runs from -1 (all differences below zero) to 1 (all above): what Cliff's delta
    is for pairs.
    """

    p: float
    permutations: int
    exact: bool
    shift: float
    interval: tuple[float, float] | None
    detectable: float | None
    rank_biserial: float


@dataclass(frozen=True)
class _Null:
    """How likely a rank sum (doubled, so that it is whole) of at most its index is by chance."""

    at_most: list[float]
    permutations: int
    exact: bool


def signed_rank(differences: Sequence[float], *, seed: int = 1) -> SignedRank:
    """Judge 1 to MAX_PAIRS finite differences; `seed` draws the signs where there are many pairs.

    Raises ValueError where there are none or too many.
    """
    pairs = len(differences)
    if not 1 <= pairs <= MAX_PAIRS:
        raise ValueError(f"{pairs} pairs: 1 to {MAX_PAIRS} can be judged")
    ranks = _doubled_ranks(differences)
    positive = sum(rank for rank, value in zip(ranks, differences, strict=True) if value > 0)
    negative = sum(rank for rank, value in zip(ranks, differences, strict=True) if value < 0)
    moved = sorted(rank for rank, value in zip(ranks, differences, strict=True) if value != 0)
    null = _null(moved, seed)
    plain = [2 * rank for rank in range(1, pairs + 1)]
    means = sorted(
        (one + other) / 2
        for index, one in enumerate(differences)
        for other in differences[: index + 1]
    )
    interval = _interval(means, null if moved == plain else _null(plain, seed))
    return SignedRank(
        p=min(1.0, 2 * null.at_most[min(positive, negative)]),
        permutations=null.permutations,
        exact=null.exact,
        shift=statistics.median(means),
        interval=interval,
        detectable=_detectable(interval) if interval is not None else None,
        rank_biserial=(positive - negative) / (positive + negative or 1),
    )


def _doubled_ranks(differences: Sequence[float]) -> list[int]:
    """Give twice each difference's rank by size; equal sizes share the mean of their ranks."""
    sizes = sorted(abs(value) for value in differences)
    first: dict[float, int] = {}
    last: dict[float, int] = {}
    for rank, size in enumerate(sizes, 1):
        first.setdefault(size, rank)
        last[size] = rank
    return [first[abs(value)] + last[abs(value)] for value in differences]


def _null(ranks: Sequence[int], seed: int) -> _Null:
    """Give how the sum of the ranks with one sign is distributed when chance sets the signs."""
    ways = [1]
    if len(ranks) <= EXACT_PAIRS:
        for rank in ranks:
            without, with_it = ways + [0] * rank, [0] * rank + ways
            ways = [one + other for one, other in zip(without, with_it, strict=True)]
        total = 1 << len(ranks)
        return _Null([count / total for count in accumulate(ways)], total, True)
    ways = [0] * (sum(ranks) + 1)
    source = random.Random(seed)  # noqa: S311 - chance that repeats is the point
    tables = [_sums(ranks[at : at + 8]) for at in range(0, len(ranks), 8)]
    for _ in range(SAMPLES):
        ways[sum(map(getitem, tables, source.randbytes(len(tables))))] += 1
    # The signs as they were measured are one of the ways, so none has a share of zero.
    shares = [(count + 1) / (SAMPLES + 1) for count in accumulate(ways)]
    return _Null(shares, SAMPLES, False)


def _sums(ranks: Sequence[int]) -> list[int]:
    """Give the sum of up to 8 ranks for each byte, whose bits say which of them count."""
    sums = [0]
    for bit in range(8):
        rank = ranks[bit] if bit < len(ranks) else 0
        sums += [value + rank for value in sums]
    return sums


def _interval(means: Sequence[float], null: _Null) -> tuple[float, float] | None:
    """Give the shifts that the test would not reject, from the sorted pairwise means."""
    rejected = sum(1 for share in null.at_most if share <= ALPHA / 2)
    if rejected == 0:
        return None
    # The greatest rejected sum of plain ranks is how many means may lie beyond each end.
    beyond = (rejected - 1) // 2
    return means[beyond], means[-1 - beyond]


def _detectable(interval: tuple[float, float]) -> float:
    """Give the shift found with a probability of POWER.

    Half the interval is what is just found half the time; the normal distribution's quantiles
    say how much further away the true shift has to be.
    """
    normal = statistics.NormalDist()
    edge = normal.inv_cdf(1 - ALPHA / 2)
    return (interval[1] - interval[0]) / 2 * (edge + normal.inv_cdf(POWER)) / edge
