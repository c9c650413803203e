"""Which commit is compared with, and that its checkout leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import ROOT

from sprout.base.errors import SproutError
from sprout.base.run import check, run
from sprout.cost.worktree import at_commit, base_commit

_WHO = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


def git(root: Path, *words: str) -> str:
    output = check(["git", *words], "", cwd=root, env={**os.environ, **_WHO})
    return output.decode().strip()


def commit(root: Path, text: str) -> str:
    (root / "tree").mkdir(parents=True, exist_ok=True)
    (root / "tree" / "file").write_text(text)
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", text)
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with two commits on `main`."""
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    commit(root, "one")
    commit(root, "two")
    return root


@pytest.fixture
def clone(repository: Path, tmp_path: Path) -> Path:
    """A clone of it."""
    root = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(repository), str(root))
    return root


def test_branch_is_compared_with_where_it_left(clone: Path, repository: Path) -> None:
    left = git(clone, "rev-parse", "HEAD")
    git(clone, "switch", "-q", "-c", "topic")
    commit(clone, "three")
    commit(clone, "four")
    commit(repository, "elsewhere")
    git(clone, "fetch", "-q")
    assert base_commit(clone) == left
    assert base_commit(clone / "tree") == left
    assert base_commit(clone, "origin/main") == left
    assert base_commit(clone, "HEAD~1") == git(clone, "rev-parse", "HEAD~1")


def test_tip_of_main_is_compared_with_the_commit_before(clone: Path, repository: Path) -> None:
    for root in (clone, repository):
        assert base_commit(root) == git(root, "rev-parse", "HEAD~1")
        (root / "cost.json").write_text("a report in the checkout changes nothing")
        assert base_commit(root) == git(root, "rev-parse", "HEAD~1")
        (root / "tree" / "file").write_text("not committed")
        assert base_commit(root) == git(root, "rev-parse", "HEAD")


def test_clone_that_does_not_know_the_default_branch(clone: Path) -> None:
    left = git(clone, "rev-parse", "HEAD")
    git(clone, "remote", "set-head", "origin", "--delete")
    commit(clone, "three")
    assert base_commit(clone) == left


def test_nothing_to_compare_with_is_an_error(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(SproutError, match="no git checkout"):
        base_commit(tmp_path)
    with pytest.raises(SproutError, match="no such commit"):
        base_commit(repository, "nowhere")
    with pytest.raises(SproutError, match="no such commit"):
        base_commit(repository, "--all")
    with pytest.raises(SproutError, match="is the commit that is checked out"):
        base_commit(repository, "HEAD")
    lone = tmp_path / "lone"
    lone.mkdir()
    git(lone, "init", "-q", "-b", "main")
    with pytest.raises(SproutError, match="no commit"):
        base_commit(lone)
    commit(lone, "alone")
    with pytest.raises(SproutError, match="no commit before"):
        base_commit(lone)
    stranger = git(lone, "rev-parse", "HEAD")
    git(repository, "fetch", "-q", str(lone), "main")
    with pytest.raises(SproutError, match="no commit in common"):
        base_commit(repository, stranger)


def test_commit_is_checked_out_for_the_while(repository: Path, tmp_path: Path) -> None:
    hook = repository / ".git/hooks/post-checkout"
    hook.write_text("#!/bin/sh\ntouch hooked\n")
    hook.chmod(0o755)
    seen = []

    def measure(tree: Path) -> str:
        seen.append(tree)
        assert not (tree.parent / "hooked").exists()
        (tree / "built").write_text("left by a build")
        return (tree / "file").read_text()

    (repository / "tree" / "file").write_text("not committed")
    before = base_commit(repository, "HEAD~1")
    assert at_commit(repository / "tree", before, measure, scratch=tmp_path / "s") == "one"
    assert seen[0].name == "tree"
    assert not seen[0].exists()
    assert git(repository, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert (repository / "tree" / "file").read_text() == "not committed"


def test_checkout_goes_when_measuring_fails(repository: Path, tmp_path: Path) -> None:
    def fail(tree: Path) -> None:
        raise SproutError(str(tree), "")

    with pytest.raises(SproutError) as error:
        at_commit(repository, git(repository, "rev-parse", "HEAD"), fail, scratch=tmp_path / "s")
    assert not Path(error.value.message).exists()
    assert git(repository, "worktree", "list", "--porcelain").count("worktree ") == 1


def test_inside_a_hook_another_index_is_named(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nonexistent")
    assert run(["git", "status"], cwd=repository).status != 0
    base = base_commit(repository)
    seen = at_commit(
        repository, base, lambda tree: (tree / "tree/file").read_text(), scratch=tmp_path / "s"
    )
    assert seen == "one"


MEASURES_FOR_EVER = """
import sys, time
from pathlib import Path
from sprout.cost.worktree import at_commit, base_commit

def measure(tree):
    print(tree, flush=True)
    time.sleep(600)

root = Path(sys.argv[1])
at_commit(root, base_commit(root), measure, scratch=Path(sys.argv[2]))
"""


def test_later_run_clears_what_a_killed_one_left(repository: Path, tmp_path: Path) -> None:
    scratch, mine = tmp_path / "s", tmp_path / "mine"
    words = [sys.executable, "-c", MEASURES_FOR_EVER, str(repository), str(scratch)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        tree = Path(process.stdout.readline().strip())
        process.kill()
    assert tree.is_dir()
    assert git(repository, "worktree", "list", "--porcelain").count("worktree ") == 2
    # The user's own, on a disk that is not there now, is none of our business.
    git(repository, "worktree", "add", "-q", "--detach", str(mine))
    mine.rename(tmp_path / "elsewhere")
    head = git(repository, "rev-parse", "HEAD")
    at_commit(repository, head, lambda _: None, scratch=scratch)
    assert tree.is_dir()  # young: another container's process may have that number
    long_ago = time.time() - 7200
    os.utime(tree.parent, (long_ago, long_ago))
    at_commit(repository, head, lambda _: None, scratch=scratch)
    assert list(scratch.iterdir()) == []
    listed = git(repository, "worktree", "list", "--porcelain")
    assert listed.count("worktree ") == 2
    assert f"worktree {mine}" in listed
