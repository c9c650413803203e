"""The micro-benchmarks of kernels: what the guest tells is hostile, and what is wanted is held."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from commands import ROOT, Sprout, assert_one_error

from sprout.base.errors import SproutError, UsageError
from sprout.build.tree import load_tree
from sprout.build.variant import read_changes, variant_tree
from sprout.cost.guest import Kernel, Measured, check_guest, unlike
from sprout.cost.guest_lines import BENCHES, Figure, Guest, read_guest
from sprout.cost.guest_report import guest_json, guest_table, variants_table
from sprout.kernel.flavor import load_flavor

TICKS = 4


def told(*without: str, more: tuple[str, ...] = (), end: bool = True) -> list[str]:
    """Give the lines of a kernel in which a thing takes 100 instructions, less those named."""
    names = ["loop", *BENCHES]
    lines = {
        name: f"measured {name} 10 {1000 * TICKS} {9999 * TICKS} {1000 * TICKS}" for name in names
    }
    lines["loop"] = f"measured loop 100000 {200007 * TICKS} {800000 * TICKS} {200007 * TICKS}"
    lines["meltdown"] = "vulnerability meltdown Not affected"
    kept = [f"sprout-bench: {line}" for name, line in lines.items() if name not in without]
    return ["Linux", *kept, *more, *(["sprout-bench: end"] if end else [])]


def test_ticks_become_instructions_and_the_median_counts() -> None:
    guest = read_guest(told(), "ours")
    assert tuple(guest.figures) == BENCHES
    assert set(guest.figures.values()) == {Figure(10, 1000)}
    assert guest.figures["tcp"].each() == 100
    assert guest.vulnerabilities == {"meltdown": "Not affected"}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (told(end=False), "did not tell of every benchmark"),
        (told("tcp"), "did not tell of every benchmark"),
        (told("meltdown"), "tells of 0 vulnerabilities"),
        (told(more=("sprout-bench: measured new 1 1",)), "did not tell of every benchmark"),
        (told(more=("sprout-bench: measured tcp 1 1",)), "tells of tcp twice"),
        (
            told(more=("sprout-bench: vulnerability meltdown Vulnerable",)),
            "tells of meltdown twice",
        ),
        (told(more=("sprout-bench: failed lo No such device",)), "cannot be measured: lo No such"),
        (told(more=("sprout-bench: measured more 1 1e9",)), "is not understood"),
        (told(more=("sprout-bench: measured more 1" + " 1" * 65,)), "is not understood"),
        (told(more=("sprout-bench: measured more 1 " + "9" * 16,)), "is not understood"),
        (told(more=("noise sprout-bench: end",)), "is not understood"),
        (told("loop", more=("sprout-bench: measured loop 10 30",)), "30 ticks for 20 instructions"),
        (told("loop", more=("sprout-bench: measured loop 0 30",)), "30 ticks for 0 instructions"),
        (told(more=tuple(f"sprout-bench: vulnerability v{n} x" for n in range(64))), "65 vuln"),
    ],
)
def test_odd_stories_are_refused(lines: list[str], words: str) -> None:
    with pytest.raises(SproutError, match=words):
        read_guest(lines, "ours")


def sample(name: str, amount: int, **other: int) -> Measured:
    """Give a kernel in which everything takes `amount` instructions, unless told otherwise."""
    figures = {bench: Figure(10, other.get(bench.replace("-", "_"), amount)) for bench in BENCHES}
    return Measured(Kernel(name, "6.12.1", Path("image")), Guest(figures, {"meltdown": "no"}))


def test_what_is_wanted_is_held() -> None:
    debian = sample("Debian", 1_000_000)
    check_guest(sample("ours", 1_000_000, syscall=999_999), debian)
    with pytest.raises(SproutError, match=r"slows .* a system call is 1\.000, not below 1\.0$"):
        check_guest(sample("ours", 1_000_000), debian)
    with pytest.raises(SproutError, match=r"the geometric mean is 1\.054, above 1\.05$"):
        check_guest(sample("ours", 1_067_000, syscall=990_000), debian)


def test_kernels_that_defend_themselves_otherwise_are_not_compared() -> None:
    debian, ours = sample("Debian", 1000), sample("ours", 900)
    other = replace(
        ours, guest=replace(ours.guest, vulnerabilities={"meltdown": "yes", "l1tf": "x"})
    )
    assert unlike(ours, debian) == []
    assert unlike(other, debian) == ["l1tf", "meltdown"]
    with pytest.raises(SproutError, match="defends itself otherwise than Debian: l1tf, meltdown"):
        check_guest(other, debian)
    text = guest_table(other, debian, "max")
    assert "of 2 the kernels say otherwise of 2" in text
    assert "  l1tf, Debian: no such file\n" in text


def test_reports_of_large_figures_fit() -> None:
    debian, ours = sample("Debian", 123_456_789), sample("ours" * 9, 99_456_789)
    variants = [sample("INIT_ON_ALLOC_DEFAULT_ON=n " * 5, 9_456_789, tcp=199_456_789)]
    text = guest_table(ours, debian, "Skylake-Server") + variants_table(ours, variants)
    assert max(map(len, text.splitlines())) <= 80
    assert "+951.7" in text and "-50.1" in text
    value = json.loads(guest_json(ours, debian, variants, "max"))
    assert value["geometric_mean"] == pytest.approx(0.8056)
    assert value["variants"][0]["figures"]["tcp"] == {"times": 10, "instructions": 199_456_789}


def test_variant_sets_options_otherwise(tmp_path: Path) -> None:
    changes = read_changes("CONFIG_HARDENED_USERCOPY=n EXPERT=y LOG_BUF_SHIFT=12")
    tree = variant_tree(load_tree(ROOT), "zone", changes, tmp_path)
    assert tree.root == tmp_path
    flavors = (load_flavor(place, "zone") for place in (ROOT, tmp_path))
    before, after = ({r.option: r.value for r in flavor.requests("6.12.117")} for flavor in flavors)
    assert after == before | changes and before["CONFIG_HARDENED_USERCOPY"] == "y"


@pytest.mark.parametrize("text", ["", "A", "A=", "a=y", "A=y A=n", 'A="x"', "A=y;B=n", "A=y\x00"])
def test_odd_variants_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_changes(text)


def test_wrong_use(sprout: Sprout) -> None:
    for words, what in (
        (("guest", "zone", "host"), "cost guest takes one flavor"),
        (("guest", "--markdown"), "--markdown"),
        (("zone", "--variant", "A=y"), "--variant"),
        (("guest", "--variant", "nonsense"), "nonsense sets no option"),
        (("guest", "--words", " "), "--words"),
        (("guest", "--cpu", "max,+x"), "--cpu max,+x: is no name"),
        (("zone", "--cpu", "max"), "--cpu"),
    ):
        assert_one_error(sprout("cost", *words), what, status=2)
    assert_one_error(sprout("cost", "guest", "xen"), "is a flavor of xen")
