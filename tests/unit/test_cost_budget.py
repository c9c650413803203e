"""Budgets: what they may say, and what is refused by line and field."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_cost import measurement

from sprout.base.errors import SproutError
from sprout.cost.budget import load_budgets, template
from sprout.cost.figures import Figure, figures

GOOD = """\
# What the zone may cost.
[zone.uefi]
memory_kib = 40_000

[zone.uefi.bytes]
kernel = 5_000_000

[zone.uefi.phases]
kernel = { instructions = 60_000_000, wait_ns = 0 }

[zone.uefi.phases.init]
instructions = 400_000
wait_ns = 0
"""


def load(tmp_path: Path, text: str) -> dict[tuple[str, str], object]:
    path = tmp_path / "budgets.toml"
    path.write_text(text)
    return dict(load_budgets(path))


def test_budgets_by_image_boot_and_figure(tmp_path: Path) -> None:
    path = tmp_path / "budgets.toml"
    path.write_text(GOOD)
    (budget,) = load_budgets(path).values()
    assert budget.limits == {
        Figure("memory_kib", "memory"): 40_000,
        Figure("bytes", "kernel"): 5_000_000,
        Figure("instructions", "kernel"): 60_000_000,
        Figure("wait_ns", "kernel"): 0,
        Figure("instructions", "init"): 400_000,
        Figure("wait_ns", "init"): 0,
    }
    assert budget.place(Figure("memory_kib", "memory")) == f"{path}:3"
    assert budget.place(Figure("instructions", "kernel")) == f"{path}:9"
    assert budget.place(Figure("instructions", "init")) == f"{path}:12"


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("memory_kib = 40_000", "memory = 1", 3, "zone.uefi.memory"),
        ("memory_kib = 40_000", "", 2, "zone.uefi.memory_kib"),
        ("memory_kib = 40_000", "memory_kib = 4.5", 3, "zone.uefi.memory_kib"),
        ("memory_kib = 40_000", "memory_kib = -1", 3, "zone.uefi.memory_kib"),
        ("memory_kib = 40_000", "memory_kib = true", 3, "zone.uefi.memory_kib"),
        ("kernel = 5_000_000", 'kernel = "5 MB"', 6, "zone.uefi.bytes.kernel"),
        ("wait_ns = 0 }", "waits = 0 }", 9, "zone.uefi.phases.kernel.waits"),
        (", wait_ns = 0 }", " }", 9, "zone.uefi.phases.kernel.wait_ns"),
        ("instructions = 400_000", "instructions = []", 12, "zone.uefi.phases.init.instructions"),
        ("[zone.uefi.phases]", "[zone.uefi.stages]", 8, "zone.uefi.stages"),
        ("zone.uefi", "zone.bios", 2, "zone.bios"),
        ("[zone.uefi]\nmemory_kib = 40_000", "zone.uefi = 3\n[a.uefi]", 2, "zone.uefi"),
    ],
)
def test_wrong_budget_is_refused_by_line_and_field(
    tmp_path: Path, old: str, new: str, line: int, field: str
) -> None:
    text = GOOD.replace(old, new)
    if new.startswith("zone.uefi = 3"):
        text = "#\n" + "zone.uefi = 3\n"
    with pytest.raises(SproutError) as error:
        load(tmp_path, text)
    where = f"{tmp_path / 'budgets.toml'}:{line}: {field}: "
    assert error.value.message.startswith(where), error.value.message


def test_what_is_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SproutError, match=r"is not TOML: .*line 2"):
        load(tmp_path, "[zone]\nuefi ?\n")


@pytest.mark.parametrize(
    ("data", "hint"),
    [(b"[zone]\nuefi ?\n", "line it names"), (b"[zone", "Mend it."), (b"\xff\n", "UTF-8")],
)
def test_what_is_no_toml_is_named_as_the_tree_has_it(
    tmp_path: Path, data: bytes, hint: str
) -> None:
    path = tmp_path / "budgets.toml"
    path.write_bytes(data)
    with pytest.raises(SproutError) as error:
        load_budgets(path, named=Path("ci/budgets.toml"))
    assert error.value.message.startswith("ci/budgets.toml: is not TOML: ")
    assert hint in error.value.hint


def test_printed_budgets_are_budgets(tmp_path: Path) -> None:
    both = [measurement(), measurement(boot="pvh")]
    path = tmp_path / "budgets.toml"
    path.write_text("\n".join(map(template, both)))
    budgets = load_budgets(path)
    assert budgets.keys() == {("zone", "uefi"), ("zone", "pvh")}
    for one in both:
        limits = budgets[one.image, one.boot].limits
        values = figures(one)
        assert limits.keys() == values.keys()
        assert all(value <= limits[figure] <= value * 1.07 for figure, value in values.items())
