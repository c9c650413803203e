"""The base commit: which one it is, and a checkout of it for as long as it is measured."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sprout.base.errors import SproutError
from sprout.base.files import scratch_prefix, sweep
from sprout.base.run import Output, check, run

T = TypeVar("T")

_TIMEOUT_S = 300.0
# Where a clone does not know its origin's default branch (CI's often do not).
_DEFAULT_BRANCHES = ("origin/HEAD", "origin/main", "origin/master")
_HINT = "Name the commit to compare with: --base REV (in CI, fetch the whole history)."


def base_commit(root: Path, revision: str | None = None) -> str:
    """Give the commit that the tree at `root` is compared with, as its full object name.

    Where HEAD left `revision`, by default origin's default branch. At its very tip that is HEAD
    where something is not committed yet, else the commit before. Raises SproutError where there
    is none: with nothing to compare with, nothing can pass.
    """
    inside = _git(root, "rev-parse", "--git-dir")
    if inside.status != 0:
        problem = f"{root}: is no git checkout: {inside.last_line()}"
        raise SproutError(problem, "Work in a clone of the repository.")
    head = _commit(root, "HEAD")
    if head is None:
        raise SproutError(f"{root}: has no commit to compare with", _HINT)
    if revision is not None:
        named = _commit(root, revision)
        if named is None:
            raise SproutError(f"--base {revision}: no such commit here", _HINT)
        base = _merge_base(root, head, named, revision)
        if base == head and not _dirty(root):
            raise SproutError(f"--base {revision}: is the commit that is checked out", _HINT)
        return base
    for branch in _DEFAULT_BRANCHES:
        tip = _commit(root, branch)
        if tip is not None:
            base = _merge_base(root, head, tip, branch)
            break
    else:
        base = head
    if base != head or _dirty(root):
        return base
    parent = _commit(root, "HEAD~1")
    if parent is None:
        raise SproutError(f"{root}: there is no commit before this one to compare with", _HINT)
    return parent


def at_commit(root: Path, commit: str, measure: Callable[[Path], T], *, scratch: Path) -> T:
    """Give `measure(tree)` for the tree that `root` was at `commit`, checked out for the while.

    The checkout is a temporary git worktree below the directory `scratch`, removed again; what a
    killed process left there goes too. Raises SproutError when git cannot make it, and what
    `measure` raises.
    """
    inside = check(_words("rev-parse", "--show-prefix"), _HINT, cwd=root, env=_environment())
    scratch.mkdir(parents=True, exist_ok=True)
    sweep(scratch)
    _forget(root, scratch)
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("base"), dir=scratch) as work:
        checkout = Path(work) / "tree"
        # No hook of the user's runs for a checkout that he never sees.
        add = _words("-c", "core.hooksPath=/dev/null", "worktree", "add", "--detach", "--quiet")
        try:
            check([*add, checkout, commit], _HINT, cwd=root, env=_environment(), timeout=_TIMEOUT_S)
            return measure(checkout / inside.decode(errors="surrogateescape").removesuffix("\n"))
        finally:
            _git(root, "worktree", "remove", "--force", "--force", str(checkout))


def _forget(root: Path, scratch: Path) -> None:
    """Unregister the worktrees of `scratch` that are gone.

    Not by `git worktree prune`: the user's own one on a disk that is not mounted has to stay.
    """
    scratch = scratch.resolve()  # as git has it
    listed = _git(root, "worktree", "list", "--porcelain", "-z").stdout
    for field in listed.decode(errors="surrogateescape").split("\0"):
        word, _, name = field.partition(" ")
        if word == "worktree" and Path(name).is_relative_to(scratch) and not Path(name).exists():
            _git(root, "worktree", "remove", "--force", "--force", name)


def _words(*words: str) -> list[str | Path]:
    return ["git", *words]


def _environment() -> dict[str, str]:
    # Inside a hook these name another checkout's index and directory.
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


def _git(root: Path, *words: str) -> Output:
    return run(_words(*words), cwd=root, env=_environment(), timeout=_TIMEOUT_S)


def _commit(root: Path, revision: str) -> str | None:
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    output = _git(root, *words)
    return output.stdout.decode().strip() if output.status == 0 else None


def _merge_base(root: Path, head: str, other: str, name: str) -> str:
    output = _git(root, "merge-base", head, other)
    if output.status != 0:
        raise SproutError(f"{name}: has no commit in common with HEAD here", _HINT)
    return output.stdout.decode().split("\n")[0]


def _dirty(root: Path) -> bool:
    # A report or a cache that git does not know makes no difference to the tree; to compare with
    # an older commit because of it would be no mistake, with this very one it would.
    words = _words("status", "--porcelain", "--untracked-files=no")
    return bool(check(words, _HINT, cwd=root, env=_environment()).strip())
