"""Where a pull collects, and that files come to their names all together or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.oci.parallel import workers
from sprout.oci.placing import install, scratch_for
from sprout.oci.refused import RefusedError, altered


def fetched(scratch: Path, *names: str) -> dict[str, Path]:
    """Put a file for each of these names into a scratch directory."""
    for name in names:
        (scratch / name.replace("/", "-")).write_text(f"new {name}")
    return {name: scratch / name.replace("/", "-") for name in names}


def contents(folder: Path) -> dict[str, str]:
    found = folder.rglob("*")
    return {str(path.relative_to(folder)): path.read_text() for path in found if path.is_file()}


def test_new_target_with_parents(tmp_path: Path) -> None:
    target = tmp_path / "a/b/out"
    with scratch_for(target) as scratch:
        assert scratch == tmp_path / "a/b/.out.sprout-pull"
        install(target, scratch, fetched(scratch, "x", "y/z"))
    assert contents(tmp_path) == {"a/b/out/x": "new x", "a/b/out/y/z": "new y/z"}


def test_one_blob_with_two_names(tmp_path: Path) -> None:
    with scratch_for(tmp_path / "out") as scratch:
        files = fetched(scratch, "x")
        install(tmp_path / "out", scratch, {"a": files["x"], "b/c": files["x"]})
    assert contents(tmp_path) == {"out/a": "new x", "out/b/c": "new x"}
    assert (tmp_path / "out/a").stat().st_nlink == 1


@pytest.mark.parametrize("links", [True, False])
def test_failure_puts_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    """The third of four cannot be put in place: the first two are as they were, or are not there.

    Also where a file system has no second names for a file.
    """
    target = tmp_path / "out"
    target.mkdir()
    (target / "a").write_text("old a")
    (target / "c").write_text("old c")
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    with pytest.raises(OSError, match="directory"), scratch_for(target) as scratch:
        install(target, scratch, fetched(scratch, "a", "b/new", "c/x", "d"))
    assert contents(tmp_path) == {"out/a": "old a", "out/c": "old c"}
    assert not (target / "b").exists()


def _no_links(*_: object) -> None:
    raise PermissionError("no links here")


def test_success_over_what_is_there(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "a").write_text("old a")
    (target / "other").write_text("stays")
    with scratch_for(target) as scratch:
        install(target, scratch, fetched(scratch, "a", "b/c"))
    want = {"a": "new a", "b/c": "new b/c", "other": "stays"}
    assert contents(target) == want
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def _refuse() -> RefusedError:
    return altered("x", "is another")


@pytest.mark.parametrize(
    ("error", "kept"),
    [(_refuse(), False), (OSError("full"), False), (SproutError("broke off", "Again."), True)]
    + [(KeyboardInterrupt(), True)],
)
def test_what_stays_for_the_next_try(tmp_path: Path, error: BaseException, *, kept: bool) -> None:
    """Of what is refused nothing stays, not even the directories on the way."""
    with pytest.raises(type(error)), scratch_for(tmp_path / "a/b/out") as scratch:
        (scratch / "part").write_text("half")
        raise error
    assert (tmp_path / "a/b/.out.sprout-pull/part").exists() is kept
    assert (tmp_path / "a").exists() is kept


def test_scratch_is_for_one(tmp_path: Path) -> None:
    with scratch_for(tmp_path / "out") as scratch:
        (scratch / "part").write_text("half")
        with pytest.raises(SproutError, match="another pull"), scratch_for(tmp_path / "out"):
            raise AssertionError
        assert (scratch / "part").exists()
    assert list(tmp_path.iterdir()) == []


def test_first_failure_ends_the_others() -> None:
    """The one that would count for ever ends, since the other one failed; so does who waits."""
    begun, aborted = threading.Event(), threading.Event()

    def endless(advance: object) -> None:
        assert callable(advance)
        while True:
            advance(1)
            begun.set()

    def fails() -> None:
        begun.wait(60)
        raise ValueError("the first")

    with pytest.raises(ValueError, match="the first"), workers(aborted.set) as pool:
        pool.submit(endless, pool.counting(lambda _: None))
        pool.submit(aborted.wait)
        pool.submit(fails)
    assert aborted.is_set()
