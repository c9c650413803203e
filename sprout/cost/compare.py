"""Compares two measurements figure by figure, and names the functions behind a change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sprout.cost.figures import INSTRUCTIONS, Figure, figures, improvement, steady, tolerance
from sprout.cost.model import Cost, Measurement

_NOTHING = Cost(0, 0, 0)
_LISTED = 8  # of many small changes, so many are named


@dataclass(frozen=True)
class Part:
    """A function's share in a change: instructions (signed), and its calls before and now."""

    unit: str
    name: str
    delta: int
    calls_before: int
    calls_now: int


@dataclass(frozen=True)
class Culprit:
    """Who changed a phase.

    One function whose total (with all that it called) explains the change: `parts` has it alone,
    `inside` the function below it that spends most of it, `initcall` the initcall above it. Or
    else the functions whose own instructions explain it together; `more` counts those not listed.
    """

    parts: tuple[Part, ...]
    inside: Part | None = None
    initcall: Part | None = None
    more: int = 0


@dataclass(frozen=True)
class Change:
    """One figure before and now; None where it is not there.

    `grew` and `improved` say that it did by more than may pass unseen. `beyond` is by how much more
    than its tolerance it moved from what was expected. `culprit` is given for instructions that
    grew or improved.
    """

    figure: Figure
    before: int | None
    now: int | None
    grew: bool = False
    improved: bool = False
    beyond: int = 0
    culprit: Culprit | None = None

    @property
    def delta(self) -> int:
        """Give by how much it changed."""
        return (self.now or 0) - (self.before or 0)


@dataclass(frozen=True)
class Accepted:
    """Figures of a baseline at two commits: what was accepted between them."""

    before: dict[Figure, int]
    now: dict[Figure, int]

    def expected(self, figure: Figure, before: int | None) -> tuple[int | None, int]:
        """Give what a figure may be now that was `before`, and the doubt in that.

        Another machine's toolchain gives about the same change, not the same one: a tenth of
        what was accepted is the doubt. What moved within its tolerance was not accepted, it came
        along: chance makes something else of it here.
        """
        if before is None:
            value = None if figure in self.before else self.now.get(figure)
            return value, (value or 0) // 10
        if figure in self.before and figure not in self.now:
            return None, 0
        old = self.before.get(figure, 0)
        change = self.now.get(figure, 0) - old
        if abs(change) <= tolerance(figure, old):
            return before, 0
        return max(before + change, 0), abs(change) // 10


def compare(
    now: Measurement,
    before: Measurement,
    *,
    cut: bool = False,
    accepted: Accepted | None = None,
) -> list[Change]:
    """Compare every figure of two measurements, in the order of reports.

    `cut` says that `before` has only functions above `floor` (it is a baseline). `accepted` is
    what may have changed.
    """
    old, new = figures(before), figures(now)
    changes = []
    for figure in [*new, *(gone for gone in old if gone not in new)]:
        change = _change(figure, old.get(figure), new.get(figure), accepted)
        if figure.kind == INSTRUCTIONS and (change.grew or change.improved):
            found = culprit(now, before, figure.name, change.delta, cut=cut)
            change = replace(change, culprit=found)
        changes.append(change)
    return changes


def _change(
    figure: Figure, before: int | None, now: int | None, accepted: Accepted | None
) -> Change:
    expected, doubt = accepted.expected(figure, before) if accepted else (before, 0)
    if now is None:
        # Not there any more: for the gate to judge, unless that was accepted.
        return Change(figure, before, now, improved=bool(expected))
    if expected is None:
        return Change(figure, before, now, grew=now > 0, beyond=now)
    room = tolerance(figure, expected) + doubt
    grew = now > expected + room
    improved = expected - now - doubt > improvement(expected)
    beyond = max(abs(now - expected) - room, 0)
    return Change(figure, before, now, grew, improved, beyond)


def floor(phase_instructions: int) -> int:
    """Give from how many instructions on a function of a phase is worth keeping in a baseline.

    At most 20,000, and a tenth of what a steady phase may grow unseen: so a function that is not
    in the baseline explains at least 9/10 of a growth that it alone causes.
    """
    return max(100, min(20_000, steady(INSTRUCTIONS, phase_instructions) // 10))


def culprit(
    now: Measurement, before: Measurement, phase: str, delta: int, *, cut: bool = False
) -> Culprit | None:
    """Name who changed the instructions of `phase` by `delta`; None where nobody is known.

    Of the functions whose total changed by at least 80 % of it, the one with the smallest total
    is the most specific. Those that are no dearer than before and only called more often come
    last: it is their caller's doing. Where an initcall is nearly all new (or nearly gone), it is
    named, because that is what an option brought in; elsewhere it is told beside the function. An
    initcall that makes half of the change comes before the callers that have all of it.
    """
    new, old = now.functions.get(phase, {}), before.functions.get(phase, {})
    below = floor(_instructions(before, phase)) - 1 if cut else 0

    def change(name: str, of: Callable[[Cost], int]) -> int:
        """Give a lower bound of a function's change: what a cut side lacks was below its floor."""
        value = of(new.get(name, _NOTHING))
        if name in old:
            return value - of(old[name])
        return max(value - below, 0)

    def size(name: str) -> int:
        costs = (new if delta > 0 else old).get(name, _NOTHING)
        return costs.total

    def part(name: str, of: Callable[[Cost], int]) -> Part:
        unit, _, function = name.partition(":")
        a, b = old.get(name, _NOTHING), new.get(name, _NOTHING)
        return Part(unit, function, of(b) - of(a), a.calls, b.calls)

    names = sorted({*new, *old})
    suspects = [name for name in names if _reaches(change(name, _total), delta)]
    if suspects:
        dearer = [name for name in suspects if not _only_called_more(name, old, new, delta)]
        best = min(dearer or suspects, key=lambda name: (size(name), name))
        known = sorted({f"kernel:{name}" for name in (*now.initcalls, *before.initcalls)})
        above = [name for name in suspects if name in known]
        initcall = min(above, key=lambda name: (size(name), name)) if above else None
        if initcall is None:
            # What it makes others do (a device node is made by a thread) counts elsewhere.
            most = [name for name in known if 2 * abs(change(name, _total)) >= abs(delta)]
            most = [name for name in most if change(name, _total) * delta > 0]
            if most and size(most[0]) < size(best):
                return Culprit((part(most[0], _total),))
        if initcall is None or initcall == best:
            return Culprit((part(best, _total),))
        if _reaches(change(initcall, _total), size(initcall) if delta > 0 else -size(initcall)):
            return Culprit((part(initcall, _total),), inside=part(best, _total))
        return Culprit((part(best, _total),), initcall=part(initcall, _total))
    return _together(names, lambda name: change(name, _own), lambda name: part(name, _own), delta)


def _together(
    names: Iterable[str], change: Callable[[str], int], part: Callable[[str], Part], delta: int
) -> Culprit | None:
    """Name the functions whose own instructions explain 80 % of `delta` together.

    Where a baseline has too few of them for that, half of it will do; less explains nothing.
    """
    same = [(change(name), name) for name in names if change(name) * delta > 0]
    same.sort(key=lambda row: (-abs(row[0]), row[1]))
    taken, explained = [], 0
    for amount, name in same:
        if _reaches(explained, delta):
            break
        taken.append(name)
        explained += amount
    if abs(explained) * 2 < abs(delta):
        return None
    return Culprit(tuple(map(part, taken[:_LISTED])), more=max(len(taken) - _LISTED, 0))


def _total(cost: Cost) -> int:
    return cost.total


def _own(cost: Cost) -> int:
    return cost.own


def _reaches(change: int, delta: int) -> bool:
    """Tell whether `change` has the sign of `delta` and at least 80 % of it."""
    return change * delta > 0 and abs(change) * 10 >= abs(delta) * 8


def _only_called_more(name: str, old: dict[str, Cost], new: dict[str, Cost], delta: int) -> bool:
    """Tell whether a function costs the same per call, within 5 %, and only its calls changed."""
    a, b = old.get(name, _NOTHING), new.get(name, _NOTHING)
    if not a.calls or not b.calls or (b.calls - a.calls) * delta <= 0:
        return False
    before, now = a.total * b.calls, b.total * a.calls
    return now * 20 <= before * 21 if delta > 0 else before * 20 <= now * 21


def _instructions(measurement: Measurement, phase: str) -> int:
    return next((p.instructions for p in measurement.phases if p.name == phase), 0)
