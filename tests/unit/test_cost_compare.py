"""What counts as a change, and who is named for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sample_cost import LEGACY_PTYS, changed, measurement, with_bytes, with_new_phase

from sprout.cost.baseline import cut
from sprout.cost.compare import Accepted, Change, Culprit, compare, floor
from sprout.cost.figures import Figure, amount, figures, improvement, said, steady, tolerance
from sprout.cost.model import Measurement

BEFORE = measurement()


def change_of(now: Measurement, name: str, kind: str = "instructions") -> Change:
    """Compare with BEFORE and with what a baseline keeps of it: both have to say the same."""
    whole = {change.figure: change for change in compare(now, BEFORE)}[Figure(kind, name)]
    kept = {change.figure: change for change in compare(now, cut(BEFORE), cut=True)}
    other = kept[Figure(kind, name)]
    assert (whole.grew, whole.improved, whole.delta) == (other.grew, other.improved, other.delta)
    names = [[part.name for part in c.culprit.parts] if c.culprit else [] for c in (whole, other)]
    assert names[0] == names[1]
    return whole


def culprit_of(now: Measurement, phase: str) -> Culprit:
    found = change_of(now, phase).culprit
    assert found is not None
    return found


def test_equal_measurements_have_no_change() -> None:
    changes = compare(BEFORE, BEFORE)
    assert [change.figure for change in changes] == list(figures(BEFORE))
    assert not any(change.grew or change.improved or change.delta for change in changes)


@pytest.mark.parametrize(
    ("kind", "name", "value", "room"),
    [
        ("instructions", "firmware", 1_279_003_157, 1_279_003),
        ("instructions", "decompression", 32_163_066, 32_163),
        ("instructions", "stub", 2_100_000, 10_000),
        ("instructions", "late", 340_000, 3_400),
        ("instructions", "stub", 0, 0),
        ("instructions", "calibration", 57_000_000, 57_000),
        # What the kernel chooses by address reaches, by what was measured of it.
        ("instructions", "kernel", 66_900_000, 267_600),
        ("instructions", "init", 1_370_000, 13_700),
        ("instructions", "init", 510_000, 5_100),
        ("instructions", "init", 0, 0),
        ("wait_ns", "kernel", 2_000_000, 10_000),
        ("bytes", "kernel", 4_785_152, 4_785),
        ("bytes", "initramfs", 23_580, 235),
        ("memory_kib", "memory", 31_612, 316),
    ],
)
def test_tolerance(kind: str, name: str, value: int, room: int) -> None:
    assert tolerance(Figure(kind, name), value) == room


@pytest.mark.parametrize(("delta", "grew"), [(560_000, False), (560_001, True)])
def test_growth_beyond_the_tolerance(delta: int, grew: bool) -> None:
    change = change_of(changed(BEFORE, "kernel", delta), "kernel")
    assert (change.grew, change.improved) == (grew, False)


@pytest.mark.parametrize(("delta", "improved"), [(-1_400_000, False), (-1_400_001, True)])
def test_improvement_by_more_than_one_percent(delta: int, improved: bool) -> None:
    change = change_of(changed(BEFORE, "kernel", delta), "kernel")
    assert (change.grew, change.improved) == (False, improved)


def test_one_percent_is_the_same_for_every_figure() -> None:
    for figure, value in figures(BEFORE).items():
        assert tolerance(figure, value) <= improvement(value) == value // 100, figure
    assert not change_of(changed(BEFORE, "init", -3_400), "init").improved
    assert change_of(changed(BEFORE, "init", -3_401), "init").improved


def test_how_far_beyond_its_tolerance_is_told() -> None:
    assert change_of(changed(BEFORE, "stub", 80_000), "stub").beyond == 70_000
    assert change_of(changed(BEFORE, "kernel", 500_000), "kernel").beyond == 0
    assert change_of(changed(BEFORE, "kernel", -1_560_000), "kernel").beyond == 1_000_000
    assert change_of(changed(BEFORE, "stub", 0, wait_ns=7), "stub", "wait_ns").beyond == 7
    assert change_of(with_new_phase(BEFORE, "late", 5_000), "late").beyond == 5_000


def test_one_function_below_a_chain_of_callers_is_named() -> None:
    now = changed(
        BEFORE,
        "kernel",
        1_000_000,
        {
            "kernel:start_kernel": (0, 1_000_000, 0),
            "kernel:do_one_initcall": (0, 1_000_000, 0),
            "kernel:acpi_init": (0, 1_000_000, 0),
            "kernel:acpi_ns_lookup": (990_000, 1_000_000, 0),
            "kernel:memcmp": (10_000, 10_000, 1_000),
        },
    )
    found = culprit_of(now, "kernel")
    assert [(part.name, part.delta) for part in found.parts] == [("acpi_ns_lookup", 1_000_000)]
    assert found.initcall is not None
    assert found.initcall.name == "acpi_init"
    assert found.inside is None


def test_initcall_that_an_option_brought_in_is_named() -> None:
    found = culprit_of(changed(BEFORE, "kernel", 32_400_000, LEGACY_PTYS), "kernel")
    assert [(part.name, part.delta) for part in found.parts] == [("pty_init", 32_400_000)]
    assert found.inside is None


def test_initcall_is_named_with_the_new_function_that_does_its_work() -> None:
    added = {**LEGACY_PTYS, "kernel:legacy_pty_init": (4_000, 32_200_000, 1)}
    found = culprit_of(changed(BEFORE, "kernel", 32_400_000, added), "kernel")
    assert [part.name for part in found.parts] == ["pty_init"]
    assert found.inside is not None
    assert (found.inside.name, found.inside.calls_before) == ("legacy_pty_init", 0)


def test_initcall_that_is_gone_is_named() -> None:
    costly = changed(BEFORE, "kernel", 32_400_000, LEGACY_PTYS)
    changes = {change.figure: change for change in compare(BEFORE, costly)}
    culprit = changes[Figure("instructions", "kernel")].culprit
    assert culprit is not None
    assert [(part.name, part.delta) for part in culprit.parts] == [("pty_init", -32_400_000)]


def test_caller_is_named_and_not_what_it_calls_more_often() -> None:
    now = changed(
        BEFORE,
        "kernel",
        10_000_000,
        {
            "kernel:start_kernel": (0, 10_000_000, 0),
            "kernel:wasteful": (500_000, 10_000_000, 1),
            "kernel:tty_register_device_attr": (9_500_000, 9_500_000, 190),
        },
    )
    assert [part.name for part in culprit_of(now, "kernel").parts] == ["wasteful"]


def test_only_what_is_called_more_often_is_still_better_than_nothing() -> None:
    now = changed(BEFORE, "kernel", 1_000_000, {"kernel:memcmp": (1_000_000, 1_000_000, 45_000)})
    found = culprit_of(now, "kernel")
    assert [(p.name, p.calls_before, p.calls_now) for p in found.parts] == [
        ("memcmp", 900_000, 945_000)
    ]


def test_new_function_in_a_small_phase_is_named() -> None:
    added = {"init:_start_c": (0, 70_000, 0), "init:planted": (70_000, 70_000, 1)}
    found = culprit_of(changed(BEFORE, "init", 70_000, added), "init")
    assert [part.name for part in found.parts] == ["planted"]


def test_many_small_changes_are_listed_together() -> None:
    added = {f"kernel:f{n:02}": (1_000_000 - n * 1000, 1_000_000 - n * 1000, 1) for n in range(12)}
    delta = sum(total for _, total, _ in added.values())
    before = replace(BEFORE, functions={"kernel": {}})
    (change,) = [
        change
        for change in compare(changed(before, "kernel", delta, added), before)
        if change.figure == Figure("instructions", "kernel")
    ]
    assert change.culprit is not None
    assert [part.name for part in change.culprit.parts] == [f"f{n:02}" for n in range(8)]
    assert change.culprit.more == 2  # ten of twelve make 80 %


def test_what_shrank_elsewhere_does_not_hide_the_culprit() -> None:
    now = changed(
        BEFORE,
        "kernel",
        1_000_000,
        {
            "kernel:start_kernel": (0, 1_000_000, 0),
            "kernel:acpi_ns_lookup": (-2_000_000, -2_000_000, 0),
            "kernel:memcmp": (3_000_000, 3_000_000, 0),
        },
    )
    assert [p.name for p in culprit_of(now, "kernel").parts] == ["memcmp"]


def test_without_functions_nobody_is_named() -> None:
    bare = replace(BEFORE, functions={})
    (change,) = [c for c in compare(changed(bare, "kernel", 10_000_000), bare) if c.grew]
    assert change.culprit is None


def test_new_phase_grew_and_a_missing_one_is_gone() -> None:
    more = with_new_phase(BEFORE, "late", 5_000_000)
    change = change_of(more, "late")
    assert (change.before, change.now, change.grew) == (None, 5_000_000, True)
    assert change.culprit is not None
    assert change.culprit.parts[0].name == "late_work"
    gone = {change.figure: change for change in compare(BEFORE, more)}
    assert gone[Figure("instructions", "late")].now is None
    assert gone[Figure("instructions", "late")].improved


def test_waits_bytes_and_memory() -> None:
    waits = changed(BEFORE, "stub", 0, wait_ns=1)
    assert change_of(waits, "stub", "wait_ns").grew  # nothing may grow from 0
    assert change_of(with_bytes(BEFORE, "kernel", 120_000), "kernel", "bytes").grew
    assert not change_of(with_bytes(BEFORE, "kernel", 4_000), "kernel", "bytes").grew
    memory = replace(BEFORE, memory_kib=BEFORE.memory_kib + 1024)
    assert change_of(memory, "memory", "memory_kib").grew


def test_what_was_accepted_may_have_changed() -> None:
    now = changed(BEFORE, "kernel", 32_400_000, LEGACY_PTYS)
    grown = figures(changed(BEFORE, "kernel", 33_000_000))  # on another machine, about the same
    accepted = Accepted(figures(BEFORE), grown)
    assert not any(c.grew or c.improved for c in compare(now, BEFORE, accepted=accepted))
    # Accepted, but it did not happen: an improvement on what is expected.
    missing = [c for c in compare(BEFORE, BEFORE, accepted=accepted) if c.improved]
    assert [change.figure.name for change in missing] == ["kernel"]
    # More than was accepted is a regression.
    more = changed(now, "kernel", 10_000_000)
    assert [c.figure.name for c in compare(more, BEFORE, accepted=accepted) if c.grew] == ["kernel"]


def test_what_came_along_with_an_accepted_change_is_not_expected_elsewhere() -> None:
    # The stub's growth was accepted; the kernel moved by chance, and elsewhere the other way.
    there = changed(changed(BEFORE, "stub", 300_000), "kernel", -500_000)
    here = changed(changed(BEFORE, "stub", 300_000), "kernel", 500_000)
    accepted = Accepted(figures(BEFORE), figures(there))
    assert not any(c.grew or c.improved for c in compare(here, BEFORE, accepted=accepted))


def test_new_and_missing_phases_may_be_accepted() -> None:
    more = with_new_phase(BEFORE, "late", 5_000_000)
    accepted = Accepted(figures(BEFORE), figures(more))
    assert not any(c.grew or c.improved for c in compare(more, BEFORE, accepted=accepted))
    removed = Accepted(figures(more), figures(BEFORE))
    assert not any(c.grew or c.improved for c in compare(BEFORE, more, accepted=removed))


def test_functions_that_a_baseline_lacks_explain_what_they_cause_alone() -> None:
    for phase in (100_000, 340_000, 2_100_000, 140_000_000, 1_082_000_000):
        assert floor(phase) <= max(100, steady("instructions", phase) // 10)
        assert floor(phase) <= 20_000
    kept = cut(BEFORE).functions["kernel"]
    assert "kernel:small" not in kept
    # It grew a little from below the floor: not enough to be suspected of all of it.
    now = changed(BEFORE, "kernel", 200_000, {"kernel:small": (12_000, 12_000, 0)})
    culprits = [change.culprit for change in compare(now, cut(BEFORE), cut=True)]
    names = [part.name for culprit in culprits if culprit for part in culprit.parts]
    assert "small" not in names


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("instructions", 32_400_000, "+32.4 M"),
        ("instructions", -32_449_999, "-32.4 M"),
        ("instructions", 999_999, "+999,999"),
        ("wait_ns", 12_000_000, "+12.0 ms"),
        ("wait_ns", 1_234, "+1,234 ns"),
        ("bytes", 120_000, "+120,000 bytes"),
        ("memory_kib", -1024, "-1,024 KiB"),
    ],
)
def test_amounts_for_people(kind: str, value: int, text: str) -> None:
    assert amount(kind, value, sign=True) == text


def test_names_from_files_do_not_act_on_a_terminal() -> None:
    assert said("\x1b[31m`evil`\n") == "\\x1b[31m'evil'\\n"
    assert len(said("x" * 500)) == 60
