"""Measurements and baselines as JSON: exact, published, and nothing else is accepted."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sample_cost import LEGACY_PTYS, OTHER_KEY, changed, measurement

from sprout.base.errors import SproutError
from sprout.cost import baseline, record
from sprout.cost.baseline import (
    Record,
    accept,
    accepted_between,
    cut,
    load_baseline,
    write_baseline,
)
from sprout.cost.fields import json_text
from sprout.cost.figures import Figure, figures
from sprout.cost.record import measurement_json, read_measurements, write_measurements

BEFORE = measurement()
jsonschema = importlib.import_module("jsonschema")  # it has no types


def valid(path: Path, schema: Path) -> None:
    jsonschema.Draft202012Validator(json.loads(schema.read_text())).validate(
        json.loads(path.read_text())
    )


@pytest.mark.parametrize("schema", [record.SCHEMA, baseline.SCHEMA], ids=lambda path: path.name)
def test_schema_is_one(schema: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(schema.read_text()))


def test_measurement_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    large = changed(BEFORE, "kernel", (1 << 62) + 1)
    write_measurements(path, [large])
    valid(path, record.SCHEMA)
    assert read_measurements(path) == [large]
    phase = json.loads(path.read_text())["phases"][2]
    assert list(phase) == ["name", "instructions", "wait_ns", "wall_ms"]
    assert phase["instructions"] == 140_000_000 + (1 << 62) + 1


def test_several_measurements_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    both = [BEFORE, measurement(boot="pvh")]
    write_measurements(path, both)
    valid(path, record.SCHEMA)
    assert read_measurements(path) == both


def test_what_the_schema_says_first() -> None:
    document = measurement_json(BEFORE)
    assert {"image", "arch", "accelerator", "exact", "phases"} <= document.keys()
    assert document["exact"] is True
    key = document["key"]
    assert isinstance(key, dict)
    assert {"machine", "cpu", "firmware", "qemu"} <= key.keys()


Broken = Callable[[dict[str, Any]], Any]
BROKEN: dict[str, Broken] = {
    "[0]": lambda d: [d, d] and [{}],
    "its top level": lambda d: 5,
    "exact": lambda d: d | {"exact": 1},
    "accelerator": lambda d: d | {"accelerator": "kvm"},
    "arch": lambda d: d | {"arch": "arm64"},
    "boot": lambda d: d | {"boot": "disk"},
    "image": lambda d: d | {"image": "x" * 5000},
    "phases": lambda d: d | {"phases": []},
    "phases[0]": lambda d: d | {"phases": [3]},
    "phases[0].instructions": lambda d: d | {"phases": [d["phases"][0] | {"instructions": 1.5}]},
    "phases[0].wait_ns": lambda d: d | {"phases": [d["phases"][0] | {"wait_ns": -1}]},
    "phases[0].wall_ms": lambda d: d | {"phases": [d["phases"][0] | {"wall_ms": "1"}]},
    "phases[0].share": lambda d: d | {"phases": [d["phases"][0] | {"share": 1}]},
    "memory_kib": lambda d: d | {"memory_kib": True},
    "emulator_instructions": lambda d: d | {"emulator_instructions": 1 << 63},
    "bytes.kernel": lambda d: d | {"bytes": {"kernel": None}},
    "key.cpu": lambda d: d | {"key": {k: v for k, v in d["key"].items() if k != "cpu"}},
    "key.memory_mib": lambda d: d | {"key": d["key"] | {"memory_mib": "512"}},
    "key.colour": lambda d: d | {"key": d["key"] | {"colour": "red"}},
    "functions.kernel": lambda d: d | {"functions": {"kernel": []}},
    "functions.kernel.f": lambda d: d | {"functions": {"kernel": {"f": [1, 2]}}},
    "initcalls.a": lambda d: d | {"initcalls": {"a": 2.5}},
    "more": lambda d: d | {"more": 1},
}


@pytest.mark.parametrize("field", BROKEN)
def test_broken_measurement_is_refused_by_field(tmp_path: Path, field: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(BROKEN[field](measurement_json(BEFORE))))
    with pytest.raises(SproutError) as error:
        read_measurements(path)
    assert error.value.message.startswith(f"{path}: {field}")
    with pytest.raises(jsonschema.ValidationError):
        # The published schema refuses the same, but for what no schema can say.
        valid(path, record.SCHEMA)
        assert field == "arch"
        raise jsonschema.ValidationError("")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"null",
        b'"\\ud800"',
    ],
    ids=["empty", "cut", "none", "utf8", "twice", "nan", "deep", "digits", "null", "surrogate"],
)
def test_what_is_no_measurement_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text)
    with pytest.raises(SproutError) as error:
        read_measurements(path)
    assert str(path) in error.value.message
    assert len(error.value.message) < 400


def test_too_long_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(SproutError, match="cannot be read"):
        read_measurements(path)
    with path.open("wb") as stream:
        stream.truncate(record.MAX_JSON_BYTES + 1)
    with pytest.raises(SproutError, match="longer than"):
        read_measurements(path)


def test_two_measurements_of_one_boot_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_measurements(path, [BEFORE, BEFORE])
    with pytest.raises(SproutError, match="two measurements"):
        read_measurements(path)


def test_json_changes_by_lines() -> None:
    value = {"a": {"x": 1, "y": [1, 2]}, "b": {"f": [1, 2, 3], "g": [4, 5, 6]}, "c": []}
    assert json_text(value) == (
        '{\n  "a": {\n    "x": 1,\n    "y": [1, 2]\n  },\n  "b": {\n'
        '    "f": [1, 2, 3],\n    "g": [4, 5, 6]\n  },\n  "c": []\n}\n'
    )
    assert json.loads(json_text(value)) == value


def test_baseline_comes_back_and_is_stable(tmp_path: Path) -> None:
    path = tmp_path / "ci/baseline/zone.json"
    records = accept(accept([], BEFORE, "first"), measurement(boot="pvh"), "second")
    write_baseline(path, records)
    valid(path, baseline.SCHEMA)
    first = path.read_bytes()
    again = load_baseline(path, "zone")
    assert {record.reason for record in again} == {"first", "second"}
    assert all(record.measurement == cut(record.measurement) for record in again)
    write_baseline(path, again[::-1])
    assert path.read_bytes() == first
    assert b"wall_ms" not in first  # the host's time is no part of what repeats


def test_baseline_differs_in_the_lines_that_changed(tmp_path: Path) -> None:
    texts = []
    for number, one in enumerate((BEFORE, changed(BEFORE, "kernel", 32_400_000, LEGACY_PTYS))):
        path = tmp_path / f"{number}.json"
        write_baseline(path, [Record(cut(one), "same")])
        texts.append(path.read_text().splitlines())
    ours = [line for line in texts[1] if line not in texts[0]]
    assert len(ours) == 1 + 1 + len(LEGACY_PTYS)  # phase, total, functions


def test_baseline_keeps_what_explains_a_change() -> None:
    kept = cut(BEFORE)
    assert "kernel:small" not in kept.functions["kernel"]
    assert "kernel:pty_init" in kept.functions["kernel"]
    assert kept.initcalls.keys() == {"acpi_init", "pty_init"}


def test_broken_baseline_is_refused_by_field(tmp_path: Path) -> None:
    path = tmp_path / "zone.json"
    write_baseline(path, accept([], BEFORE, "first"))
    good = json.loads(path.read_text())
    for field, rows in {
        "[0].reason": [good[0] | {"reason": ""}],
        "[0].phases[0].wall_ms": [good[0] | {"phases": [good[0]["phases"][0] | {"wall_ms": 1}]}],
        "[0].when": [good[0] | {"when": "today"}],
        "[1].key": [good[0], good[0]],
        "its top level": good[0],
    }.items():
        path.write_text(json.dumps(rows))
        with pytest.raises(SproutError) as error:
            load_baseline(path, "zone")
        assert error.value.message.startswith(f"{path}: {field}"), error.value.message


def test_accepting_replaces_the_record_of_this_key() -> None:
    first = accept([], BEFORE, "first")
    elsewhere = measurement(key=OTHER_KEY)
    both = accept(first, elsewhere, "on another machine")
    assert len(both) == 2
    # The same figures again: what holds for the other machine still holds.
    assert len(accept(both, BEFORE, "again")) == 2
    # Other figures: the other machine's record is no longer true.
    worse = changed(BEFORE, "kernel", 32_400_000)
    kept = accept(both, worse, "worth it")
    assert [(one.reason, one.measurement) for one in kept] == [("worth it", cut(worse))]
    # The other kind of boot is another matter.
    pvh = accept(both, measurement(boot="pvh"), "pvh")
    assert len(accept(pvh, worse, "worth it")) == 2


def test_first_record_of_a_machine_leaves_the_others_where_nothing_changed() -> None:
    first = accept([], BEFORE, "first")
    elsewhere = measurement(key=OTHER_KEY)
    both = accept(first, elsewhere, "here too", base=elsewhere, base_records=first)
    assert [(one.reason, one.was) for one in both] == [("first", None), ("here too", None)]
    # A change of it on this very machine lets the others go, and keeps what it was.
    dearer = changed(elsewhere, "kernel", 32_400_000)
    (kept,) = accept(both, dearer, "worth it")
    assert kept.was == figures(elsewhere)
    # That stays, until some commit has the record: an older one knows the first figures alone.
    (again,) = accept([kept], changed(elsewhere, "kernel", 40_000_000), "more")
    assert again.was == figures(elsewhere)


def test_first_record_of_a_machine_keeps_what_the_base_commit_cost() -> None:
    first = accept([], BEFORE, "first")
    base = measurement(key=OTHER_KEY)
    now = changed(base, "kernel", 32_400_000)
    (record,) = accept(first, now, "worth it", base=base, base_records=first)
    assert (record.reason, record.was) == ("worth it", figures(base))
    found = accepted_between(first, [record], "uefi")
    assert found is not None
    assert found.now[Figure("instructions", "kernel")] == 172_400_000
    assert accepted_between([record], [record], "uefi") is None  # its own key comes first
    # A third machine measures what the second accepted: that is no change of its own.
    third = measurement(key=replace(OTHER_KEY, qemu="9.0.0"))
    mine = changed(third, "kernel", 32_400_000)
    both = accept([record], mine, "here too", base=third, base_records=first)
    assert [one.was for one in both] == [figures(base), figures(third)]


def test_record_with_its_past_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "zone.json"
    base = measurement(key=OTHER_KEY)
    records = accept(accept([], BEFORE, "first"), changed(base, "init", 10**6), "x", base=base)
    write_baseline(path, records)
    valid(path, baseline.SCHEMA)
    (record,) = load_baseline(path, "zone")
    assert record.was == figures(base)
    good = json.loads(path.read_text())[0]
    for field, was in {
        "was": 5,
        "was.bytes": {"instructions": {}, "wait_ns": {}},
        "was.wait_ns.stub": good["was"] | {"wait_ns": {"stub": -1}},
        "was.wall_ms": good["was"] | {"wall_ms": {}},
    }.items():
        path.write_text(json.dumps([good | {"was": was}]))
        with pytest.raises(SproutError) as error:
            load_baseline(path, "zone")
        assert error.value.message.startswith(f"{path}: [0].{field}: "), error.value.message


def test_what_two_commits_accepted_is_told_by_their_baselines() -> None:
    before = accept([], BEFORE, "first")
    assert accepted_between(before, before, "uefi") is None
    after = accept(before, changed(BEFORE, "kernel", 32_400_000), "worth it")
    found = accepted_between(before, after, "uefi")
    assert found is not None
    kernel = Figure("instructions", "kernel")
    assert found.expected(kernel, 200_000_000) == (232_400_000, 3_240_000)
    assert accepted_between(before, after, "pvh") is None
    stranger = [Record(replace(BEFORE, key=OTHER_KEY), "x")]
    assert accepted_between(stranger, after, "uefi") is None
