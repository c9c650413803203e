"""The history of a baseline, read out of real git repositories."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.base.run import check
from sprout.cost.history import MAX_FILE_BYTES, PastPhase, read_history

RECORD = {
    "boot": "uefi",
    "key": {"qemu": "7.2.22", "memory_mib": 512},
    "reason": "it is what it is",
    "phases": [{"name": "kernel", "instructions": 5, "wait_ns": 7}],
    "functions": {"kernel": {}},
}


def git(root: Path, *words: str) -> None:
    who = {
        f"GIT_{role}_{field}": value
        for role in ("AUTHOR", "COMMITTER")
        for field, value in (("NAME", "A"), ("EMAIL", "a@example.org"))
    }
    check(["git", *words], "", cwd=root, env={**os.environ, **who}, timeout=60)


def commit(root: Path, text: str | None, subject: str) -> Path:
    file = root / "ci" / "baseline" / "zone.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", subject)
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    work = tmp_path / "a tree"
    work.mkdir()
    git(work, "init", "-q")
    return work


def record(instructions: int) -> str:
    phases = [{"name": "kernel", "instructions": instructions, "wait_ns": 7}]
    return json.dumps([{**RECORD, "phases": phases}])


def test_history_is_read_oldest_first(root: Path) -> None:
    file = root / "ci" / "baseline" / "zone.json"
    file.parent.mkdir(parents=True)
    assert read_history(file).revisions == ()  # no commit at all
    (root / "other").write_text("x")
    git(root, "add", "other")
    git(root, "commit", "-q", "-m", "Something else")
    assert read_history(file).revisions == ()  # never committed
    commit(root, record(5), "Take a first baseline")
    commit(root, record(4), "Make it <b>smaller</b>: 漢字")
    (root / "other").write_text("y")
    commit(root, record(4), "Nothing of the baseline's")
    history = read_history(file)
    assert [each.subject for each in history.revisions] == [
        "Take a first baseline",
        "Make it <b>smaller</b>: 漢字",
    ]
    assert [each.records[0].phases for each in history.revisions] == [
        (PastPhase("kernel", 5, 7),),
        (PastPhase("kernel", 4, 7),),
    ]
    first = history.revisions[0].records[0]
    assert (first.boot, first.reason) == ("uefi", "it is what it is")
    assert first.key == {"qemu": "7.2.22", "memory_mib": "512"}
    assert not history.cut
    assert 7 <= len(history.revisions[0].commit) <= 40


def test_history_is_bounded(root: Path) -> None:
    for number in range(4):
        file = commit(root, record(number), f"number {number}")
    history = read_history(file, limit=2)
    assert [each.subject for each in history.revisions] == ["number 2", "number 3"]
    assert history.cut
    assert not read_history(file, limit=4).cut


def test_shallow_clone_says_so(root: Path, tmp_path: Path) -> None:
    commit(root, record(1), "one")
    commit(root, record(2), "two")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{root}", str(clone))
    history = read_history(clone / "ci" / "baseline" / "zone.json")
    assert [each.subject for each in history.revisions] == ["two"]
    assert history.cut


DAMAGED = (
    "",
    "{}",
    "[1]",
    '[{"phases": []}]',
    '[{"key": {}, "phases": [{"name": "kernel"}]}]',
    '[{"key": {}, "phases": [{"name": "kernel", "instructions": -1}]}]',
    '[{"key": {}, "phases": [{"name": "kernel", "instructions": true}]}]',
    '[{"key": {}, "phases": [{"name": 1, "instructions": 1}]}]',
    '[{"key": {}, "phases": [], "reason": 5}]',
    '[{"key": {}, "phases": [{"name": "k", "instructions": 1e400}]}]',
    "[" * 100_000,
    "\udcff",
)


def test_damaged_revisions_stay_with_their_problem(root: Path) -> None:
    file = commit(root, record(1), "good")
    for text in DAMAGED:
        file.write_bytes(text.encode(errors="surrogateescape"))
        git(root, "commit", "-q", "-a", "-m", "bad")
    good, *bad = read_history(file).revisions
    assert good.problem == "" and good.records
    assert len(bad) == len(DAMAGED)
    for revision, text in zip(bad, DAMAGED, strict=True):
        assert revision.problem.startswith("is no baseline"), text[:80]
        assert revision.records == ()


def test_removed_and_huge_revisions(root: Path) -> None:
    commit(root, record(1), "good")
    commit(root, None, "gone")
    file = commit(root, " " * (MAX_FILE_BYTES + 1), "huge")
    problems = [each.problem for each in read_history(file).revisions]
    assert problems == ["", "removed by this commit", f"has {MAX_FILE_BYTES + 1:,} bytes"]


def test_errors_are_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(SproutError, match="no git checkout"):
        read_history(tmp_path / "zone.json")
    with pytest.raises(SproutError, match="no such directory"):
        read_history(tmp_path / "none" / "zone.json")


def test_odd_file_names_are_names(root: Path) -> None:
    commit(root, record(1), "one")
    directory = root / "ci" / "baseline"
    for name in ("*.json", "-x.json", ":(top)zone.json"):
        assert read_history(directory / name).revisions == ()
