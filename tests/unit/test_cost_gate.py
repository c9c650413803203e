"""The gate: what is a breach, what its first line says, and that nothing missing passes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sample_cost import (
    KEY,
    LEGACY_PTYS,
    OTHER_KEY,
    ROOM,
    budget_of,
    changed,
    measurement,
    with_bytes,
    with_new_phase,
)

from sprout.cost.baseline import Record, accept
from sprout.cost.budget import Budget
from sprout.cost.figures import Figure
from sprout.cost.gate import Reference, Verdict, exit_status, judge, needs_base, ordered
from sprout.cost.model import Key, Measurement
from sprout.cost.rows import first_line

BEFORE = measurement()
RECORDS = accept([], BEFORE, "first")
ELSEWHERE = measurement(key=OTHER_KEY)


def kinds(verdict: Verdict) -> list[str]:
    return [finding.kind for finding in verdict.findings]


def head(verdict: Verdict) -> str:
    return first_line([verdict])


def test_equal_to_the_baseline_passes() -> None:
    verdict = judge(BEFORE, budget=ROOM, records=RECORDS)
    assert verdict.findings == ()
    assert exit_status([verdict]) == 0
    assert head(verdict) == "nothing grew: zone (uefi) within budget, equal to the baseline"


def test_within_tolerance_passes_and_says_so() -> None:
    verdict = judge(changed(BEFORE, "kernel", 100), budget=ROOM, records=RECORDS)
    assert exit_status([verdict]) == 0
    assert head(verdict).endswith("no more than the baseline by what counts")


def test_nothing_measured_is_no_pass() -> None:
    assert exit_status([]) == 1


def test_regression_is_named_in_the_first_line() -> None:
    now = changed(BEFORE, "kernel", 32_400_000, LEGACY_PTYS)
    verdict = judge(now, budget=ROOM, records=RECORDS)
    assert kinds(verdict) == ["regression"]
    assert (
        head(verdict)
        == "`pty_init` +32.4 M: zone (uefi), kernel 140,000,000 → 172,400,000 instructions"
    )
    assert verdict.findings[0].details == (
        "`pty_init` (kernel): +32,400,000 instructions, calls 1",
    )
    assert exit_status([verdict]) == 1


def test_initcall_above_the_culprit_is_told() -> None:
    added = {
        "kernel:acpi_init": (0, 1_000_000, 0),
        "kernel:acpi_ns_lookup": (1_000_000, 1_000_000, 50),
    }
    verdict = judge(changed(BEFORE, "kernel", 1_000_000, added), budget=ROOM, records=RECORDS)
    assert head(verdict).startswith("`acpi_ns_lookup` +1.0 M: ")
    assert verdict.findings[0].details[1] == "Called by the initcall `acpi_init`."


@pytest.mark.parametrize(
    ("now", "line"),
    [
        (
            changed(BEFORE, "kernel", 0, wait_ns=5_000_000),
            "kernel waits +5.0 ms: zone (uefi), kernel waits 2.0 ms → 7.0 ms",
        ),
        (
            with_bytes(BEFORE, "kernel", 120_000),
            "kernel +120,000 bytes: zone (uefi), kernel 4,785,152 → 4,905,152 bytes",
        ),
        (
            replace(BEFORE, memory_kib=BEFORE.memory_kib + 1024),
            "memory +1,024 KiB: zone (uefi), memory 39,096 → 40,120 KiB",
        ),
    ],
    ids=["waits", "bytes", "memory"],
)
def test_other_figures_are_named_likewise(now: Measurement, line: str) -> None:
    verdict = judge(now, budget=budget_of(now), records=RECORDS)
    assert kinds(verdict) == ["regression"]
    assert head(verdict) == line


def test_over_budget_names_figure_and_line() -> None:
    verdict = judge(BEFORE, budget=budget_of(BEFORE, stub=2_000_000), records=RECORDS)
    assert kinds(verdict) == ["budget"]
    assert (
        head(verdict)
        == "stub +100,000 over budget: zone (uefi), 2,100,000 of 2,000,000 instructions"
    )
    assert verdict.findings[0].details == ("The budget: ci/budgets.toml:7.",)


def test_what_grew_comes_before_the_budget_that_it_breaks() -> None:
    now = changed(BEFORE, "kernel", 32_400_000, LEGACY_PTYS)
    verdict = judge(now, budget=budget_of(BEFORE, kernel=150_000_000), records=RECORDS)
    assert kinds(verdict) == ["regression", "budget"]
    assert head(verdict).startswith("`pty_init` +32.4 M")


def test_improvement_has_to_be_accepted() -> None:
    costly = changed(BEFORE, "kernel", 32_400_000, LEGACY_PTYS)
    verdict = judge(BEFORE, budget=ROOM, records=accept([], costly, "first"))
    assert kinds(verdict) == ["improvement"]
    assert head(verdict).startswith("`pty_init` -32.4 M to accept: zone (uefi), kernel")
    assert verdict.findings[0].details[-1] == "Keep it: sprout cost zone --accept --reason TEXT"
    assert exit_status([verdict]) == 1


def test_missing_budget_fails() -> None:
    verdict = judge(BEFORE, budget=None, records=RECORDS)
    assert kinds(verdict) == ["missing"]
    assert head(verdict) == "zone (uefi): there is no budget"


def test_missing_figure_in_the_budget_fails() -> None:
    for figure, words in {
        Figure("wait_ns", "stub"): "phase stub (waits)",
        Figure("bytes", "copied"): "copied (bytes)",
        Figure("memory_kib", "memory"): "memory (KiB)",
    }.items():
        limits = {one: limit for one, limit in ROOM.limits.items() if one != figure}
        verdict = judge(BEFORE, budget=replace(ROOM, limits=limits), records=RECORDS)
        assert kinds(verdict) == ["missing"]
        assert head(verdict) == f"zone (uefi): {words} has no budget"


def test_budget_of_a_phase_that_is_not_there_fails() -> None:
    figure = Figure("instructions", "kernl")
    budget = Budget(ROOM.where, {**ROOM.limits, figure: 1}, {**ROOM.lines, figure: 9})
    verdict = judge(BEFORE, budget=budget, records=RECORDS)
    assert kinds(verdict) == ["missing"]
    assert "ci/budgets.toml:9: there is no phase kernl" in head(verdict)
    assert verdict.findings[0].details == ("There are: firmware, stub, kernel, init.",)


def test_missing_baseline_fails() -> None:
    verdict = judge(BEFORE, budget=ROOM, records=[])
    assert kinds(verdict) == ["missing"]
    assert not needs_base(BEFORE, [])
    # A baseline of the other kind of boot is none; nor does a base commit make up for it.
    verdict = judge(
        measurement(boot="pvh"),
        budget=ROOM,
        records=RECORDS,
        reference=Reference(measurement(boot="pvh"), "the base commit"),
    )
    assert kinds(verdict) == ["missing"]


def test_new_phase_fails_and_a_missing_one_too() -> None:
    more = with_new_phase(BEFORE, "late", 5_000_000)
    verdict = judge(more, budget=budget_of(more), records=RECORDS)
    assert kinds(verdict) == ["regression"]
    assert head(verdict) == "`late_work` +5.0 M: zone (uefi), new: phase late (instructions)"
    assert "missing" in kinds(judge(more, budget=ROOM, records=RECORDS))  # it has no budget
    verdict = judge(BEFORE, budget=ROOM, records=accept([], more, "first"))
    assert set(kinds(verdict)) == {"missing"}
    assert "phase late (instructions) is missing: the baseline has it" in head(verdict)


def test_phases_that_do_not_add_up_fail() -> None:
    off = replace(BEFORE, emulator_instructions=BEFORE.emulator_instructions + 2_000_000)
    verdict = judge(off, budget=ROOM, records=RECORDS)
    assert kinds(verdict) == ["disagreement"]
    nothing = replace(BEFORE, phases=(), emulator_instructions=0)
    assert "disagreement" in kinds(judge(nothing, budget=ROOM, records=RECORDS))


def test_baseline_of_another_machine_needs_the_base_commit() -> None:
    assert needs_base(ELSEWHERE, RECORDS)
    assert not needs_base(BEFORE, RECORDS)
    verdict = judge(ELSEWHERE, budget=ROOM, records=RECORDS)
    assert kinds(verdict) == ["missing"]
    assert "nothing to compare with" in head(verdict)
    assert "qemu (7.2.22, here 10.0.3)" in verdict.findings[0].details[0]
    assert verdict.changes == ()


@pytest.mark.parametrize("field", ["qemu", "firmware_sha256", "toolchain", "cpu", "machine"])
def test_every_part_of_the_key_counts(field: str) -> None:
    now = replace(BEFORE, key=Key(**{**vars(KEY), field: "another"}))
    assert needs_base(now, RECORDS)
    assert kinds(judge(now, budget=ROOM, records=RECORDS)) == ["missing"]


def test_base_commit_is_compared_in_this_run() -> None:
    base = Reference(ELSEWHERE, "the base commit 1234", RECORDS)
    verdict = judge(ELSEWHERE, budget=ROOM, records=RECORDS, reference=base)
    assert verdict.findings == ()
    assert verdict.against == "the base commit 1234"
    now = changed(ELSEWHERE, "kernel", 32_400_000, LEGACY_PTYS)
    verdict = judge(now, budget=ROOM, records=RECORDS, reference=base)
    assert head(verdict).startswith("`pty_init` +32.4 M")
    better = judge(ELSEWHERE, budget=ROOM, records=RECORDS, reference=Reference(now, "base"))
    assert kinds(better) == ["improvement"]


def test_base_commit_lets_pass_what_its_change_accepted() -> None:
    # Accepted on the machine of the baseline, gated on another one.
    records = accept(RECORDS, changed(BEFORE, "kernel", 32_400_000), "worth it")
    now = changed(ELSEWHERE, "kernel", 32_900_000, LEGACY_PTYS)
    base = Reference(ELSEWHERE, "the base commit", RECORDS)
    assert judge(now, budget=ROOM, records=records, reference=base).findings == ()
    same = Reference(ELSEWHERE, "the base commit", records)
    assert kinds(judge(now, budget=ROOM, records=records, reference=same)) == ["regression"]


def test_change_accepted_where_no_commit_has_a_record_is_honoured_elsewhere() -> None:
    # A has the record; a contributor on B makes the kernel dearer and accepts it there.
    b = replace(BEFORE, key=replace(KEY, toolchain="b" * 64))
    dearer = changed(b, "kernel", 5_000_000)
    records = accept(RECORDS, dearer, "worth it", base=b, base_records=RECORDS)
    assert judge(dearer, budget=ROOM, records=records).findings == ()
    # A third machine compares with the base commit, and so does A from now on.
    for key in (OTHER_KEY, KEY):
        before = replace(BEFORE, key=key)
        base = Reference(before, "the base commit", RECORDS)
        now = changed(before, "kernel", 5_000_000)
        assert needs_base(now, records)
        assert judge(now, budget=ROOM, records=records, reference=base).findings == ()
        more = changed(before, "kernel", 8_000_000, LEGACY_PTYS)
        verdict = judge(more, budget=ROOM, records=records, reference=base)
        assert kinds(verdict) == ["regression"]


def test_names_from_outside_do_not_act_on_a_terminal() -> None:
    evil = "x\x1b[31m\u202e\n`"
    now = replace(BEFORE, image=evil)
    reference = Reference(BEFORE, evil, gated=False)
    verdicts = [judge(now, budget=None, records=[], reference=reference)]
    verdicts.append(judge(replace(ELSEWHERE, image=evil), budget=None, records=[]))
    named = Reference(replace(now, key=OTHER_KEY), evil)
    verdicts.append(judge(now, budget=None, records=[], reference=named))
    for verdict in verdicts:
        lines = [verdict.against, first_line([verdict])]
        for finding in verdict.findings:
            lines += [finding.headline, *finding.details]
        assert all(line.isprintable() for line in lines), lines
        assert verdict.findings


def test_base_commit_of_another_machine_is_no_comparison() -> None:
    base = Reference(BEFORE, "the base commit", RECORDS)
    verdict = judge(ELSEWHERE, budget=ROOM, records=RECORDS, reference=base)
    assert kinds(verdict) == ["disagreement"]
    # The toolchain may be what changed.
    other = replace(ELSEWHERE, key=replace(OTHER_KEY, toolchain="0" * 64))
    base = Reference(other, "the base commit", RECORDS)
    assert judge(ELSEWHERE, budget=ROOM, records=RECORDS, reference=base).findings == ()


def test_named_measurement_gates_growth_alone() -> None:
    costly = changed(BEFORE, "kernel", 32_400_000, LEGACY_PTYS)
    named = Reference(costly, "main.json", gated=False)
    verdict = judge(BEFORE, budget=ROOM, records=[], reference=named)
    assert verdict.findings == ()
    named = Reference(BEFORE, "main.json", gated=False)
    verdict = judge(costly, budget=ROOM, records=[], reference=named)
    assert kinds(verdict) == ["regression"]
    other = Reference(measurement("other"), "main.json", gated=False)
    assert kinds(judge(BEFORE, budget=ROOM, records=[], reference=other)) == ["disagreement"]


def chance(now: Measurement) -> Measurement:
    """Give what other addresses in the kernel make of its phase and of init."""
    now = changed(now, "kernel", 270_000, {"kernel:memcmp": (260_000, 260_000, 9_000)})
    now = changed(now, "init", 3_000, {"init:mount_all": (0, 3_000, 0)})
    return replace(now, memory_kib=now.memory_kib + 300)


def test_only_what_was_planted_is_reported_and_not_what_chance_makes() -> None:
    slow = changed(BEFORE, "stub", 80_007, {"stub:planted": (80_006, 80_006, 1)})
    verdict = judge(chance(slow), budget=ROOM, records=RECORDS)
    assert [finding.figure for finding in verdict.findings] == [Figure("instructions", "stub")]
    assert head(verdict).startswith("`planted` +80,006: zone (uefi), stub")
    looped = changed(BEFORE, "init", 1_000_000, {"init:planted": (1_000_000, 1_000_000, 1)})
    verdict = judge(chance(looped), budget=ROOM, records=RECORDS)
    assert [finding.figure for finding in verdict.findings] == [Figure("instructions", "init")]
    # Less than the tolerance of a phase that repeats is no news.
    little = changed(BEFORE, "stub", 2_007, {"stub:planted": (2_006, 2_006, 1)})
    assert judge(chance(little), budget=ROOM, records=RECORDS).findings == ()


def test_what_is_furthest_beyond_its_tolerance_comes_first() -> None:
    # Chance has pushed the kernel over its edge, by more than was planted in the stub.
    both = changed(BEFORE, "kernel", 620_000, {"kernel:memcmp": (620_000, 620_000, 0)})
    both = changed(both, "stub", 80_000, {"stub:planted": (80_000, 80_000, 1)})
    verdict = judge(both, budget=ROOM, records=RECORDS)
    assert kinds(verdict) == ["regression", "regression"]
    assert head(verdict).startswith("`planted` +80,000: zone (uefi), stub")


def test_worst_of_all_images_comes_first() -> None:
    small = judge(
        changed(BEFORE, "stub", 500_000, {"stub:efi_main": (500_000, 500_000, 0)}),
        budget=None,
        records=RECORDS,
    )
    large = measurement(boot="pvh")
    verdict = judge(
        changed(large, "kernel", 32_400_000, LEGACY_PTYS),
        budget=ROOM,
        records=[Record(large, "first")],
    )
    found = [finding.kind for finding in ordered([small, verdict])]
    assert found == ["regression", "regression", "missing"]
    assert first_line([small, verdict]).startswith("`pty_init` +32.4 M: zone (pvh)")
