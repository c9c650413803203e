"""The gate: judges a measurement by budgets and by what it is compared with.

Whatever cannot be judged is a failure: a missing budget, baseline or phase, figures that do not
add up, and a baseline that holds for another machine when there is no base commit to compare with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sprout.cost.baseline import Record, accepted_between
from sprout.cost.budget import Budget
from sprout.cost.compare import Change, Culprit, Part, compare
from sprout.cost.figures import (
    BYTES,
    INSTRUCTIONS,
    MEMORY,
    WAIT,
    Figure,
    amount,
    figures,
    said,
)
from sprout.cost.model import Key, Measurement

# In the order in which they are reported: what grew comes first.
REGRESSION, BUDGET, MISSING, DISAGREEMENT, IMPROVEMENT = KINDS = (
    "regression",
    "budget",
    "missing",
    "disagreement",
    "improvement",
)
_FIGURES = (INSTRUCTIONS, WAIT)
_HEADLINED = 3  # so many functions stand in a headline


@dataclass(frozen=True)
class Finding:
    """One reason not to pass: a line that says it, and more lines that say more.

    `kind` is one of KINDS; names of functions stand between back quotes. `weight` is how far
    the figure is beyond its tolerance or its budget: of one kind, what is furthest is told first,
    so that what chance has pushed over its edge does not hide what was made dearer.
    """

    kind: str
    headline: str
    details: tuple[str, ...] = ()
    figure: Figure | None = None
    weight: int = 0


@dataclass(frozen=True)
class Reference:
    """What a measurement is compared with besides a baseline, and what to call it.

    `records` is the baseline that belongs to it: what changed in the baseline since was accepted.
    `gated` says that an improvement over it has to be accepted.
    """

    measurement: Measurement
    name: str
    records: Sequence[Record] = ()
    gated: bool = True


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one measurement; it passes when there is no finding.

    `against` names what it was compared with, "" where there was nothing.
    """

    measurement: Measurement
    budget: Budget | None
    changes: tuple[Change, ...]
    against: str
    findings: tuple[Finding, ...]


def exit_status(verdicts: Sequence[Verdict]) -> int:
    """Give 0 when there is a verdict and every one passes, else 1."""
    return 0 if verdicts and not any(verdict.findings for verdict in verdicts) else 1


def ordered(verdicts: Sequence[Verdict]) -> list[Finding]:
    """Give the findings of all verdicts, the one to be told first at the beginning."""
    found = [finding for verdict in verdicts for finding in verdict.findings]
    return sorted(found, key=_rank)


def _rank(finding: Finding) -> tuple[int, int, int]:
    kinds = (INSTRUCTIONS, WAIT, BYTES, MEMORY)
    figure = finding.figure
    of = kinds.index(figure.kind) if figure is not None and figure.kind in kinds else len(kinds)
    return KINDS.index(finding.kind), of, -finding.weight


def fitting(now: Measurement, records: Sequence[Record]) -> Record | None:
    """Give the record that `now` may be compared with, None where there is none."""
    return next((record for record in records if record.fits(now)), None)


def needs_base(now: Measurement, records: Sequence[Record]) -> bool:
    """Tell whether the base commit has to be measured: the baseline holds for other machines."""
    mine = [record for record in records if record.measurement.boot == now.boot]
    return bool(mine) and fitting(now, mine) is None


def judge(
    now: Measurement,
    *,
    budget: Budget | None,
    records: Sequence[Record],
    reference: Reference | None = None,
) -> Verdict:
    """Judge one measurement.

    It is compared with `reference` where there is one (the base commit, measured in the same run,
    or a measurement that the user named), else with the record of its key.
    """
    findings = [*_sum(now), *_over_budget(now, budget)]
    changes: list[Change] = []
    against = ""
    record = fitting(now, records)
    if reference is not None:
        against = said(reference.name)
        other = _other_machine(now, reference)
        findings += other
        if not other:
            accepted = accepted_between(reference.records, records, now.boot)
            changes = compare(now, reference.measurement, accepted=accepted)
    elif record is not None:
        changes = compare(now, record.measurement, cut=True)
        against = "the baseline"
    gated = reference is None or reference.gated
    if gated:
        findings += _no_baseline(now, records, reference)
    for change in changes:
        found = _judged(now, change, against)
        if found is not None and (gated or found.kind != IMPROVEMENT):
            findings.append(found)
    return Verdict(now, budget, tuple(changes), against, tuple(sorted(findings, key=_rank)))


def _title(now: Measurement) -> str:
    return f"{said(now.image)} ({now.boot})"


def _sum(now: Measurement) -> list[Finding]:
    """Check that the phases sum to the emulator's own count within 0.1 %."""
    counted = sum(phase.instructions for phase in now.phases)
    emulator = now.emulator_instructions
    if counted > 0 and abs(counted - emulator) * 1000 <= emulator:
        return []
    text = f"{_title(now)}: the phases sum to {counted:,} instructions, the emulator to"
    hint = "The counter missed something; figures like these are no measurement."
    return [Finding(DISAGREEMENT, f"{text} {emulator:,}", (hint,))]


def _over_budget(now: Measurement, budget: Budget | None) -> list[Finding]:
    title = _title(now)
    if budget is None:
        text = f"{title}: there is no budget"
        hint = f"Add [{said(now.image)}.{now.boot}] to ci/budgets.toml."
        return [Finding(MISSING, text, (hint,))]
    found = []
    values = figures(now)
    for figure, value in values.items():
        limit = budget.limits.get(figure)
        if limit is None:
            text = f"{title}: {_called(figure)} has no budget"
            found.append(Finding(MISSING, text, (f"Add it to {budget.where}.",), figure))
        elif value > limit:
            over = amount(figure.kind, value - limit, sign=True)
            text = f"{figure.title()} {over} over budget: {title}, {_of(figure, value, limit)}"
            place = (f"The budget: {budget.place(figure)}.",)
            found.append(Finding(BUDGET, text, place, figure, value - limit))
    for figure in budget.limits:
        if figure not in values:
            known = ", ".join(dict.fromkeys(f.name for f in values if f.kind == figure.kind))
            text = f"{title}: {budget.place(figure)}: there is no {_called(figure)}"
            found.append(Finding(MISSING, text, (f"There are: {said(known)}.",), figure))
    return found


def _called(figure: Figure) -> str:
    """Give a figure's full name for people."""
    if figure.kind in _FIGURES:
        what = "instructions" if figure.kind == INSTRUCTIONS else "waits"
        return f"phase {said(figure.name)} ({what})"
    return figure.title() if figure.kind == figure.name else f"{figure.title()} ({figure.unit()})"


def _of(figure: Figure, value: int, limit: int) -> str:
    return f"{_plain(figure, value)} of {_plain(figure, limit)}{_unit(figure)}"


def _plain(figure: Figure, value: int) -> str:
    """Give a figure's value without what `_unit` puts behind the last one."""
    return amount(figure.kind, value) if figure.kind == WAIT else f"{value:,}"


def _unit(figure: Figure) -> str:
    return "" if figure.kind == WAIT else f" {figure.unit()}"


def _no_baseline(
    now: Measurement, records: Sequence[Record], reference: Reference | None
) -> list[Finding]:
    title, accept = _title(now), f"sprout cost {said(now.image)} --accept --reason TEXT"
    mine = [record for record in records if record.measurement.boot == now.boot]
    if not mine:
        text = f"{title}: there is no baseline"
        return [Finding(MISSING, text, (f"Look at the figures, then run: {accept}",))]
    if reference is not None or fitting(now, mine) is not None:
        return []
    text = f"{title}: nothing to compare with: the baseline is of another machine"
    differing = _differing(now.key, mine[0].measurement.key)
    return [Finding(MISSING, text, (f"It differs in {differing}.", f"Or accept it here: {accept}"))]


def _differing(one: Key, other: Key, *, but: tuple[str, ...] = ()) -> str:
    """Name the fields in which two keys differ, with their values where they are short."""
    parts = []
    for name, value in vars(one).items():
        theirs = getattr(other, name)
        if value == theirs or name in but:
            continue
        long = name in ("toolchain", "firmware_sha256")
        parts.append(name if long else f"{name} ({said(str(theirs))}, here {said(str(value))})")
    return ", ".join(parts)


def _other_machine(now: Measurement, reference: Reference) -> list[Finding]:
    """Check that both were measured on one machine; the toolchain may be part of the change."""
    other, name = reference.measurement, said(reference.name)
    if (now.image, now.boot) != (other.image, other.boot):
        text = f"{_title(now)}: cannot be compared with {_title(other)} of {name}"
        return [Finding(DISAGREEMENT, text)]
    if replace(now.key, toolchain="") == replace(other.key, toolchain=""):
        return []
    differing = _differing(now.key, other.key, but=("toolchain",))
    text = f"{_title(now)}: {name} was measured on another machine"
    return [Finding(DISAGREEMENT, text, (f"It differs in {differing}.",))]


def _judged(now: Measurement, change: Change, against: str) -> Finding | None:
    """Turn a change that may not pass unseen into a finding."""
    figure, title = change.figure, _title(now)
    if change.now is None:
        if not change.improved:
            return None
        text = f"{title}: {_called(figure)} is missing: {against} has it"
        return Finding(MISSING, text, (_to_accept(now),), figure)
    if not (change.grew or change.improved):
        return None
    lead, details = _culprit(change)
    if change.before is None:
        where = f"{title}, new: {_called(figure)}"
    else:
        before, after = _plain(figure, change.before), _plain(figure, change.now)
        where = f"{title}, {figure.title()} {before} → {after}{_unit(figure)}"
    if change.grew:
        return Finding(REGRESSION, f"{lead}: {where}", details, figure, change.beyond)
    details = (*details, _to_accept(now))
    return Finding(IMPROVEMENT, f"{lead} to accept: {where}", details, figure, change.beyond)


def _to_accept(now: Measurement) -> str:
    return f"Keep it: sprout cost {said(now.image)} --accept --reason TEXT"


def _culprit(change: Change) -> tuple[str, tuple[str, ...]]:
    """Give who changed a figure and by how much, and lines that say more."""
    figure, culprit = change.figure, change.culprit
    if culprit is None:
        return f"{figure.title()} {amount(figure.kind, change.delta, sign=True)}", ()
    shown = culprit.parts[:_HEADLINED]
    lead = ", ".join(f"`{said(part.name)}` {_signed(part.delta)}" for part in shown)
    more = len(culprit.parts) - len(shown) + culprit.more
    if more:
        lead += f", {more} more"
    details = []
    if culprit.inside is not None:
        lead += f" (mostly in `{said(culprit.inside.name)}`)"
    details += [_described(part) for part in _detailed(culprit)]
    if culprit.initcall is not None:
        details.append(f"Called by the initcall `{said(culprit.initcall.name)}`.")
    return lead, tuple(details)


def _detailed(culprit: Culprit) -> list[Part]:
    inside = [culprit.inside] if culprit.inside is not None else []
    return [*culprit.parts, *inside]


def _described(part: Part) -> str:
    calls = f"calls {part.calls_now:,}"
    if part.calls_before != part.calls_now:
        calls = f"calls {part.calls_before:,} → {part.calls_now:,}"
    return f"`{said(part.name)}` ({said(part.unit)}): {part.delta:+,} instructions, {calls}"


def _signed(delta: int) -> str:
    return amount(INSTRUCTIONS, delta, sign=True)
