"""`sprout cost` from its words to its exit status, with measurements that are made up."""

from __future__ import annotations

import io
import json
import os
import pty
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from commands import ROOT, Sprout, assert_one_error
from drawn_boot import measurement as drawn
from sample_cost import LEGACY_PTYS, OTHER_KEY, changed, measurement

from sprout.base.errors import SproutError, UsageError
from sprout.base.run import check
from sprout.build.tree import Tree, load_tree
from sprout.cli.colour import coloured
from sprout.cli.gating import run_gate
from sprout.cli.lab import Lab
from sprout.cli.main import parser
from sprout.cost.baseline import load_baseline
from sprout.cost.budget import template
from sprout.cost.figures import figures
from sprout.cost.model import Key, Measurement
from sprout.cost.record import read_measurements

UEFI, PVH = measurement(), measurement(boot="pvh")
WORSE = changed(UEFI, "kernel", 32_400_000, LEGACY_PTYS)


class Bench:
    """A tree with budgets and a baseline, and a lab that gives what it is told to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = {"uefi": UEFI, "pvh": PVH}
        self.base = {"uefi": UEFI, "pvh": PVH}
        self.asked: list[str] = []
        shutil.rmtree(root / "ci")  # this checkout's own budgets and baseline
        (root / "ci").mkdir()
        self.images = (root / "images.toml").read_text()
        (root / "images.toml").write_text(self.images[: self.images.index("# A host:")])
        (root / "ci/budgets.toml").write_text("\n".join(map(template, (WORSE, PVH))))

    @property
    def tree(self) -> Tree:
        return load_tree(self.root)

    def run(self, *words: str) -> int:
        def measure(image: str, boot: str) -> Measurement:
            self.asked.append(f"{image} {boot}")
            return replace(self.now[boot], image=image)

        def measure_base(root: Path, now: Measurement) -> Measurement:
            self.asked.append(f"base {now.boot} {(root / 'marker').read_text()}")
            return self.base[now.boot]

        arguments = parser("cost").parse_args(["cost", *words])
        return run_gate(arguments, self.tree, Lab(measure, measure_base))

    def git(self, *words: str) -> None:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        check(["git", *who, *words], "", cwd=self.root)

    def commit(self, text: str) -> None:
        (self.root / "marker").write_text(text)
        self.git("add", ".")
        self.git("commit", "-q", "-m", text)


@pytest.fixture
def bench(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("SPROUT_CACHE", str(tree.parent / "cache"))
    made = Bench(tree)
    assert made.run("--accept", "--reason", "first") == 0
    made.asked.clear()
    return made


Printed = Callable[[], str]


@pytest.fixture
def printed(bench: Bench, capsys: pytest.CaptureFixture[str]) -> Printed:
    capsys.readouterr()
    return lambda: capsys.readouterr().out


def test_gate_passes_what_equals_the_baseline(bench: Bench, printed: Printed) -> None:
    assert bench.run() == 0
    assert bench.asked == ["zone uefi", "zone pvh"]
    first = "nothing grew: zone (uefi and pvh) within budget, equal to the baseline"
    assert printed().splitlines()[0] == first


def test_gate_takes_a_host_that_has_one_way_to_boot(bench: Bench, printed: Printed) -> None:
    (bench.root / "images.toml").write_text(bench.images)
    assert bench.run() == 1
    assert bench.asked == ["zone uefi", "zone pvh", "host uefi"]
    assert printed().splitlines()[0] == "host (uefi): there is no budget"
    bench.asked.clear()
    assert bench.run("--boot", "pvh") == 0
    assert bench.asked == ["zone pvh"]
    with pytest.raises(UsageError, match="host: only firmware starts a hypervisor"):
        bench.run("host", "--boot", "pvh")


def test_gate_fails_and_names_the_culprit_first(bench: Bench, printed: Printed) -> None:
    bench.now["uefi"] = WORSE
    assert bench.run("zone") == 1
    assert printed().startswith("`pty_init` +32.4 M: zone (uefi), kernel")
    assert bench.run("zone", "--markdown") == 1
    assert printed().startswith("**`pty_init` +32.4 M: zone (uefi), kernel")
    assert bench.run("zone", "--boot", "pvh") == 0


def test_accepting_rewrites_the_baseline(bench: Bench, printed: Printed) -> None:
    bench.now["uefi"] = WORSE
    path = bench.root / "ci/baseline/zone.json"
    before = path.read_bytes()
    assert bench.run("--boot", "uefi", "--accept", "--reason", "the installer needs ptys") == 0
    assert path.read_bytes() != before
    reasons = {one.measurement.boot: one.reason for one in load_baseline(path, "zone")}
    assert reasons == {"uefi": "the installer needs ptys", "pvh": "first"}
    assert bench.run() == 0
    bench.now["uefi"] = UEFI  # and back: an improvement has to be accepted as well
    assert bench.run() == 1
    assert "to accept" in printed()


def test_accepting_says_what_is_accepted(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.now["uefi"] = WORSE
    bench.run("--accept", "--reason", "x")
    said = capsys.readouterr().err
    assert "accepting: `pty_init` +32.4 M: zone (uefi)" in said
    assert "ci/baseline/zone.json was written; commit it" in said


@pytest.mark.parametrize("words", [(), ("--reason", ""), ("--reason", "  ")])
def test_accepting_needs_a_reason(bench: Bench, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="--reason"):
        bench.run("--accept", *words)
    assert bench.asked == []


@pytest.mark.parametrize("value", ["true", "1", "yes"])
def test_accepting_is_refused_in_ci(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("CI", value)
    before = (bench.root / "ci/baseline/zone.json").read_bytes()
    with pytest.raises(SproutError, match="refused in CI"):
        bench.run("--accept", "--reason", "sneaky")
    assert bench.asked == []
    assert (bench.root / "ci/baseline/zone.json").read_bytes() == before


def test_figures_that_do_not_add_up_are_not_accepted(bench: Bench) -> None:
    bench.now["uefi"] = changed(UEFI, "kernel", 0)
    object.__setattr__(bench.now["uefi"], "emulator_instructions", 5)
    with pytest.raises(SproutError, match="the phases sum to"):
        bench.run("--accept", "--reason", "x")
    assert load_baseline(bench.root / "ci/baseline/zone.json", "zone")[1].measurement.boot == "uefi"


@pytest.mark.parametrize("missing", ["ci/budgets.toml", "ci/baseline/zone.json"])
def test_missing_files_fail(bench: Bench, printed: Printed, missing: str) -> None:
    (bench.root / missing).unlink()
    assert bench.run() == 1
    what = "budget" if "budgets" in missing else "baseline"
    assert printed().splitlines()[0] == f"zone (uefi): there is no {what}"


def test_budget_of_an_image_that_is_not_there_fails(bench: Bench) -> None:
    path = bench.root / "ci/budgets.toml"
    path.write_text(path.read_text().replace("zone.pvh", "zoen.pvh"))
    with pytest.raises(SproutError, match=r"ci/budgets.toml: zoen\.pvh: the tree has no such"):
        bench.run()


def test_damaged_baseline_is_one_error(bench: Bench) -> None:
    (bench.root / "ci/baseline/zone.json").write_text('[{"boot": "uefi"}]')
    with pytest.raises(SproutError, match=r"zone\.json: \[0\]\.key: is missing"):
        bench.run()
    assert bench.asked == []


def test_json_is_written_and_compared_with(bench: Bench, printed: Printed, tmp_path: Path) -> None:
    file = tmp_path / "main.json"
    assert bench.run("--json", str(file)) == 0
    assert read_measurements(file) == [UEFI, PVH]
    (bench.root / "ci/baseline/zone.json").unlink()  # not looked at
    assert bench.run("--against", str(file)) == 0
    bench.now["uefi"] = WORSE
    assert bench.run("--against", str(file), "--markdown") == 1
    reports = printed().split("**nothing grew")
    assert reports[-1].count("main.json") and "**`pty_init` +32.4 M: zone (uefi)" in reports[-1]
    file.write_text(json.dumps(json.loads(file.read_text())[:1]))
    bench.asked.clear()
    with pytest.raises(SproutError, match=r"has no measurement of zone \(pvh\)"):
        bench.run("--against", str(file))
    assert bench.asked == []
    assert bench.run("--against", str(file), "--boot", "uefi") == 1


def test_one_measurement_is_written_as_an_object(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    bench.run("--boot", "uefi", "--json", str(file))
    document = json.loads(file.read_text())
    assert (document["image"], document["exact"]) == ("zone", True)


@pytest.fixture
def elsewhere(bench: Bench) -> Bench:
    """The bench on another machine, two commits long."""
    bench.git("init", "-q", "-b", "main")
    bench.commit("one")
    bench.commit("two")
    for boot in ("uefi", "pvh"):
        bench.now[boot] = bench.base[boot] = measurement(boot=boot, key=OTHER_KEY)
    return bench


def test_other_machine_measures_the_base_commit_too(elsewhere: Bench, printed: Printed) -> None:
    assert elsewhere.run() == 0
    assert elsewhere.asked == ["zone uefi", "zone pvh", "base uefi one", "base pvh one"]
    assert "equal to the base commit" in printed().splitlines()[0]
    elsewhere.now["uefi"] = changed(elsewhere.now["uefi"], "kernel", 32_400_000, LEGACY_PTYS)
    assert elsewhere.run("--base", "HEAD~1") == 1
    assert printed().startswith("`pty_init` +32.4 M: zone (uefi)")


def test_other_machine_passes_what_this_change_accepted(elsewhere: Bench) -> None:
    grown = changed(elsewhere.now["uefi"], "kernel", 32_400_000, LEGACY_PTYS)
    mine = elsewhere.now
    elsewhere.now = {"uefi": WORSE, "pvh": PVH}
    assert elsewhere.run("--accept", "--reason", "on the machine of the baseline") == 0
    elsewhere.commit("three")
    elsewhere.now = {**mine, "uefi": grown}
    assert elsewhere.run() == 0
    assert elsewhere.asked[-1] == "base pvh two"


def test_first_baseline_of_a_machine_measures_the_base_commit_too(elsewhere: Bench) -> None:
    path = elsewhere.root / "ci/baseline/zone.json"
    assert elsewhere.run("--accept", "--reason", "here too") == 0
    assert elsewhere.asked == ["zone uefi", "zone pvh", "base uefi one", "base pvh one"]
    # Nothing changed: what was accepted elsewhere holds as it did.
    assert len(load_baseline(path, "zone")) == 4
    elsewhere.asked.clear()
    assert elsewhere.run() == 0
    assert elsewhere.asked == ["zone uefi", "zone pvh"]


def test_change_accepted_on_a_new_machine_passes_on_a_third(
    elsewhere: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    path = elsewhere.root / "ci/baseline/zone.json"
    mine = elsewhere.now["uefi"]
    elsewhere.now["uefi"] = changed(mine, "kernel", 32_400_000, LEGACY_PTYS)
    words = ("--accept", "--reason", "worth it", "--base", "HEAD")
    (elsewhere.root / "marker").write_text("not committed")
    assert elsewhere.run(*words, "--boot", "uefi") == 0
    assert elsewhere.asked[-1] == "base uefi two"
    told = capsys.readouterr().err
    assert "accepting: `pty_init` +32.4 M: zone (uefi)" in told
    assert "1 records of other machines go" in told
    (record,) = [one for one in load_baseline(path, "zone") if one.measurement.boot == "uefi"]
    assert record.was == figures(mine)
    elsewhere.commit("three")
    third = Key(**{**vars(OTHER_KEY), "qemu": "9.2.0"})
    elsewhere.base["uefi"] = measurement(key=third)
    elsewhere.now["uefi"] = changed(elsewhere.base["uefi"], "kernel", 32_300_000, LEGACY_PTYS)
    assert elsewhere.run("--boot", "uefi") == 0
    assert elsewhere.asked[-1] == "base uefi two"
    elsewhere.now["uefi"] = changed(elsewhere.base["uefi"], "kernel", 42_300_000, LEGACY_PTYS)
    assert elsewhere.run("--boot", "uefi") == 1


def test_new_image_is_accepted_on_one_machine_after_another(elsewhere: Bench) -> None:
    path = elsewhere.root / "images.toml"
    text = path.read_text()
    path.write_text(
        text.replace("[images.zone]", "[images.other]")
    )  # as if the base commit had none of it
    elsewhere.commit("three")
    path.write_text(text)
    elsewhere.run("--accept", "--reason", "here too", "--boot", "uefi", "--base", "HEAD")
    assert elsewhere.asked == ["zone uefi"]
    records = load_baseline(elsewhere.root / "ci/baseline/zone.json", "zone")
    assert [one.measurement.boot for one in records] == ["pvh", "uefi", "uefi"]


def test_only_what_has_no_record_is_measured_at_the_base_commit(elsewhere: Bench) -> None:
    elsewhere.now["pvh"] = PVH
    assert elsewhere.run() == 0
    assert [word for word in elsewhere.asked if word.startswith("base")] == ["base uefi one"]


def test_other_machine_with_nothing_to_compare_with_fails(bench: Bench) -> None:
    bench.now["uefi"] = measurement(key=OTHER_KEY)
    with pytest.raises(SproutError, match="no git checkout"):
        bench.run()
    bench.git("init", "-q", "-b", "main")
    bench.commit("one")
    with pytest.raises(SproutError, match="no commit before"):
        bench.run()


def test_base_that_was_measured_elsewhere_fails(elsewhere: Bench, printed: Printed) -> None:
    key = Key(**{**vars(OTHER_KEY), "cpu": "qemu64"})
    elsewhere.base["uefi"] = measurement(key=key)
    assert elsewhere.run() == 1
    assert "was measured on another machine" in printed().splitlines()[0]


def test_looking_judges_nothing(bench: Bench, printed: Printed) -> None:
    (bench.root / "ci/budgets.toml").unlink()
    bench.now["uefi"] = WORSE
    assert bench.run("--functions") == 0
    assert "kernel: kernel, 112,9" in printed()
    assert bench.run("--functions", "init", "--top", "1", "--boot", "uefi") == 0
    text = printed()
    assert "mount_all" in text
    assert "1 more" in text
    assert "kernel: kernel" not in text
    assert bench.run("--initcalls", "--markdown") == 0
    assert "| `acpi_init` | 15,000,000 |" in printed()
    assert bench.run("--budgets") == 0
    assert printed() == "\n".join(map(template, (WORSE, PVH)))


def test_page_is_written(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "cost.html"
    bench.now["uefi"] = WORSE
    assert bench.run("--html", str(file)) == 1
    text = file.read_text()
    assert "pty_init" in text
    assert "<script src" not in text


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("zoen",), "zoen: no such image"),
        (("--functions", "zone"), "is an image, not a phase"),
        (("--functions", "kernl"), "no such phase"),
        (("--functions", "--accept", "--reason", "x"), "a look judges nothing"),
        (("--reason", "x"), "goes with --accept"),
        (("--accept", "--reason", "x", "--against", "f"), "does not go with"),
        (("--top", "3"), "--top goes with"),
        (("--base", "HEAD", "--against", "f"), "--base goes with"),
        (("--svg", "a.svg"), "--svg draws one"),
        (("--svg", "a.svg", "--boot", "both"), "--svg draws one"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(
    bench: Bench, words: tuple[str, ...], what: str
) -> None:
    with pytest.raises(UsageError, match=what):
        bench.run(*words)


def test_icicle_of_one_boot_is_drawn(bench: Bench, printed: Printed, tmp_path: Path) -> None:
    file = tmp_path / "cost.svg"
    bench.now["pvh"] = drawn(boot="pvh")
    assert bench.run("zone", "--boot", "pvh", "--initcalls", "--svg", str(file)) == 0
    root = ElementTree.fromstring(file.read_text())  # noqa: S314 - our own
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "Icicle of the boot of zone" in file.read_text()
    assert bench.asked == ["zone pvh"]


@pytest.mark.parametrize(("value", "colours"), [(None, True), ("", True), ("0", False)])
def test_no_color_turns_colours_off(
    monkeypatch: pytest.MonkeyPatch, value: str | None, colours: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    ours, theirs = pty.openpty()
    with os.fdopen(ours), os.fdopen(theirs, "w") as terminal:
        assert coloured(terminal) == colours
    assert not coloured(io.StringIO())


def test_command_refuses_at_once(sprout: Sprout, tmp_path: Path) -> None:
    for words, what in (
        (("zone", "--rounds", "3"), "--rounds"),
        (("zone", "--json", tmp_path), "--json"),
        (("zone", "--boot", "uefi", "--svg", tmp_path), "--svg"),
        (("wall",), "cost wall"),
        (("wall", "a", "b", "c"), "cost wall"),
        (("wall", "a.img", "--markdown"), "--markdown"),
        (("peers", "zone"), "cost peers"),
        (("peers", "--accept"), "--accept"),
    ):
        assert_one_error(sprout("cost", *words), what, status=2)


def test_help_teaches_and_fits(sprout: Sprout) -> None:
    output = sprout("cost", "--help", env={**os.environ, "COLUMNS": "80"})
    text = output.stdout.decode()
    assert output.status == 0
    assert max(map(len, text.splitlines())) <= 80
    for word in ("--accept", "--reason", "examples:", "A breach is"):
        assert word in text


def test_baseline_of_this_tree_is_one() -> None:
    path = ROOT / "ci/baseline/zone.json"
    boots = {one.measurement.boot for one in load_baseline(path, "zone")}
    assert boots == {"uefi", "pvh"}
    assert path.stat().st_size < 300_000
