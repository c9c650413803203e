"""Patches apply exactly, to a copy, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.kernel.patches import Patch, patched_tree
from sprout.kernel.versions import read_versions

TEXT = "".join(f"line {number}\n" for number in range(1, 21))
GOOD = "--- a/file\n+++ b/file\n@@ -9,4 +9,5 @@\n line 9\n line 10\n+new\n line 11\n line 12\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    tree = tmp_path / "source" / "tree"
    tree.mkdir(parents=True)
    (tree / "file").write_text(TEXT)
    (tree / "other").write_text("other\n")
    return tree


def patch(tmp_path: Path, text: str) -> Patch:
    file = tmp_path / "a.patch"
    file.write_text(text)
    versions = read_versions(">=6.12")
    assert versions is not None
    return Patch(file, versions, "test")


def test_no_patch_is_the_tree_itself(source: Path) -> None:
    assert patched_tree(source, []) == source


def test_patch_leaves_the_unpacked_tree_alone(source: Path, tmp_path: Path) -> None:
    tree = patched_tree(source, [patch(tmp_path, GOOD)])
    assert "line 10\nnew\nline 11\n" in (tree / "file").read_text()
    assert (source / "file").read_text() == TEXT
    assert (tree / "other").stat().st_ino == (source / "other").stat().st_ino
    assert patched_tree(source, [patch(tmp_path, GOOD)]) == tree


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace(" line 9\n", " line nine\n"), "Hunk #1 FAILED at 9"),
        (GOOD.replace("a/file", "a/none").replace("b/file", "b/none"), "does not apply"),
        (GOOD.replace("a/file", "a/../../x").replace("b/file", "b/../../x"), "does not apply"),
        (GOOD[:-12], "does not apply"),
        ("", "changes no file"),
        ("hello\n", "does not apply"),
    ],
    ids=["fuzz", "missing", "outside", "truncated", "empty", "no diff"],
)
def test_patch_that_does_not_fit(source: Path, tmp_path: Path, text: str, says: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    bad = patch(tmp_path, text)
    with pytest.raises(SproutError, match=says) as caught:
        patched_tree(source, [bad])
    assert str(bad.file) in caught.value.message
    locks = tmp_path / "locks"  # which stay, for who comes next
    left = [path for path in tmp_path.rglob("*") if locks not in (path, path.parent)]
    assert sorted(left) == sorted([*before, bad.file])
    assert (source / "file").read_text() == TEXT
