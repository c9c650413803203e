"""The reports for terminal and pull request: what they begin with, and how wide they are."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from sample_cost import (
    LEGACY_PTYS,
    ROOM,
    budget_of,
    changed,
    measurement,
    with_bytes,
    with_new_phase,
)

from sprout.cost import markdown, text
from sprout.cost.baseline import accept
from sprout.cost.gate import Verdict, judge
from sprout.cost.model import Cost, Measurement, Phase
from sprout.cost.phases import phase_table
from sprout.cost.rows import function_rows, percent

BEFORE = measurement()
RECORDS = accept([], BEFORE, "first")
HOSTILE = (
    "kernel:\x1b[31m</td><script>alert(1)</script>",
    "kernel:a|b`c`|d",
    "kernel:" + "very_long_" * 40,
    "kernel:漢字\u202e",
    "kernel:two\nlines",
    ":",
)


def verdict(now: Measurement) -> Verdict:
    return judge(now, budget=ROOM, records=RECORDS)


def hostile() -> Measurement:
    """Give a measurement whose every name is a nuisance, and large figures."""
    added = {name: (900_000_000_000_000, 900_000_000_000_000, 10**15) for name in HOSTILE}
    now = changed(BEFORE, "kernel", 5_400_000_000_000_000, added, wait_ns=10**17)
    phases = (*now.phases, Phase("|evil`\x1b[0m<b>phase" * 5, 10**16, 10**16, 1e15))
    return replace(
        now, phases=phases, initcalls={name.partition(":")[2]: 10**15 for name in HOSTILE}
    )


def worse() -> Measurement:
    return with_bytes(changed(BEFORE, "kernel", 32_400_000, LEGACY_PTYS), "image", 120_000)


ALL = [BEFORE, worse(), changed(BEFORE, "kernel", -20_000_000), with_new_phase(BEFORE, "x", 9)]


@pytest.mark.parametrize("colour", [False, True])
def test_terminal_report_fits_80_columns(colour: bool) -> None:
    for now in [*ALL, hostile()]:
        for report in (
            text.report([verdict(now)], colour=colour),
            text.functions_report(now, None, 20, colour=colour),
            text.initcalls_report(now, 20, colour=colour),
        ):
            plain = re.sub(r"\x1b\[\d*m", "", report)
            assert (plain != report) == colour
            assert "\x1b" not in plain
            assert max(map(len, plain.splitlines())) <= 80, plain
            assert report.endswith("\n")
            assert not any(line.endswith(" ") for line in plain.splitlines())


def test_first_line_names_what_grew() -> None:
    line = text.report([verdict(worse())]).splitlines()[0]
    assert line == "`pty_init` +32.4 M: zone (uefi), kernel 140,000,000 → 172,400,000 instructions"
    line = markdown.report([verdict(worse())]).splitlines()[0]
    assert (
        line == "**`pty_init` +32.4 M: zone (uefi), kernel 140,000,000 → 172,400,000 instructions**"
    )


def test_every_finding_is_in_the_report() -> None:
    for report in (text.report, markdown.report):
        found = report([verdict(worse())])
        assert "image +120,000 bytes: zone (uefi)" in found


def test_table_shows_figures_budget_and_change() -> None:
    rows = text.report([verdict(worse())]).splitlines()
    kernel = next(row for row in rows if row.startswith("kernel  "))
    words = ["kernel", "172,400,000", "+32.4", "M", "2.0", "ms", "1,748.8", "59%", "███████░░░░"]
    assert kernel.split() == words
    firmware = next(row for row in rows if row.startswith("firmware "))
    assert firmware.split()[:4] == ["firmware", "1,082,000,000", "=", "0"]
    whole = next(row for row in rows if row.startswith("all "))
    assert whole.split()[1:4] == ["1,256,840,000", "+32.4", "M"]
    memory = next(row for row in rows if row.startswith("memory "))
    assert memory.split()[1:4] == ["39,096", "=", "KiB"]


def test_markdown_is_a_table_that_pipes_do_not_break() -> None:
    for now in (worse(), hostile()):
        report = markdown.report([verdict(now)]) + markdown.functions_report(now, None, 20)
        report += markdown.initcalls_report(now, 20)
        assert "<script>" not in re.sub(r"`[^`\n]*`", "", report)
        assert "\x1b" not in report
        width = 0
        for line in report.splitlines():
            if not line.startswith("|"):
                width = 0
                continue
            cells = len(re.findall(r"(?<!\\)\|", line))
            assert width in (0, cells), line
            width = cells


def test_report_without_anything_to_compare_says_so() -> None:
    lines = text.report([judge(BEFORE, budget=None, records=[])]).splitlines()
    assert lines[0] == "zone (uefi): there is no budget"
    assert "nothing to compare" in lines
    assert text.report([]) == "nothing was measured\n"


def test_several_measurements_have_one_first_line() -> None:
    pvh = measurement(boot="pvh")
    records = accept(RECORDS, pvh, "first")
    both = [judge(one, budget=ROOM, records=records) for one in (BEFORE, pvh)]
    lines = text.report(both).splitlines()
    expected = "nothing grew: zone (uefi and pvh) within budget, equal to the baseline"
    assert lines[0] == expected
    assert markdown.report(both).splitlines()[0] == f"**{expected}**"


@pytest.mark.parametrize(
    ("share", "words"),
    [(None, "-"), (0.0, "0%"), (1.0, "100%"), (1.0001, ">100%"), (1.2, "120%"), (99.0, "over")],
)
def test_over_budget_never_rounds_to_within(share: float | None, words: str) -> None:
    assert percent(share) == words


def test_nothing_of_no_budget_is_within_and_something_is_not() -> None:
    strict = budget_of(BEFORE, stub=0)
    rows = text.report([judge(BEFORE, budget=strict, records=RECORDS)]).splitlines()
    assert next(row for row in rows if "  2,100,000 " in row).split()[-2:] == ["over", "█" * 11]


def test_functions_are_sorted_by_unit_and_own_instructions() -> None:
    groups = function_rows(BEFORE, "stub", 1)
    assert [(g.unit, [name for name, _ in g.rows], g.left_out) for g in groups] == [
        ("firmware", ["VariableRuntimeDxe"], 0),
        ("stub", ["placement_make"], 1),
    ]
    # A unit that spent nothing itself is not listed: its functions only called others.
    functions = {"kernel": {"stub:efi_main": Cost(0, 35, 0)}}
    assert function_rows(replace(BEFORE, functions=functions), None, 5) == []


def test_phase_table_says_what_share_each_has() -> None:
    assert max(map(len, phase_table(BEFORE).splitlines())) <= 80
    rows = phase_table(BEFORE).splitlines()
    firmware = next(row for row in rows if row.startswith("firmware"))
    assert firmware.split()[:5] == ["firmware", "1,082,000,000", "0.000", "9,939.8", "88.4%"]
    assert rows[-2].split()[:2] == ["sum", "1,224,440,000"]
    assert rows[-1].split() == ["emulator", "1,224,439,998"]
