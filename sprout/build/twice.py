"""Builds the same tree twice, with nothing kept between and as much different as can be.

The first build is an ordinary one. The second has another path, clock, user, host, locale, time
zone, umask, number of jobs and order of directories. What is the same in both is what reproducible
means (reproducible-builds.org, "Definition"), as far as two builds can show it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sprout.base.errors import SproutError
from sprout.base.files import scratch_prefix, sweep
from sprout.base.progress import say
from sprout.base.run import check, started
from sprout.build.cache import cache_root
from sprout.kernel.kbuild import job_count

# Not whole days: the date and the time of day are others, and certificates still hold.
_AHEAD_S = 3 * 86_400 + 3 * 3_600 + 11 * 60 + 7
_USER, _HOST, _UMASK = "54321", "elsewhere.example", "007"
_COMPILE = ("-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", f"-DOFFSET_S={_AHEAD_S}")
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache")
WHAT_DIFFERS = (
    "path, clock, user, host, locale, time zone, umask, number of jobs, order of directories"
)


@dataclass(frozen=True)
class Pair:
    """The directories that both builds wrote."""

    first: Path
    second: Path


@contextmanager
def built_twice(
    root: Path, commands: Sequence[Sequence[str]], *, keep: Path | None, jobs: int | None
) -> Iterator[Pair]:
    """Run `sprout` with each of these arguments in two copies of the tree at `root`.

    Neither has a cache, nor ccache. The copies are gone when the block is left, unless they are to
    be kept in the directory `keep`. Raises SproutError when a build fails.
    """
    with _place(root, keep) as place:
        first, second = place / "first", place / "the/second/place"
        # Both before the first build: who edits the tree meanwhile changes neither.
        _copy(root, first)
        _copy(root, second)
        count = job_count(jobs)
        ordinary = {name: text for name, text in os.environ.items() if not _is_ours(name)}
        say("building for the first time")
        _build(first, commands, [], ordinary, count)
        others = {
            "LC_ALL": "C.UTF-8" if os.environ.get("LC_ALL") == "C" else "C",
            "LANG": "C",
            "TZ": "Pacific/Kiritimati",
            "USER": "somebody",
            "LOGNAME": "somebody",
            "HOME": str(second / "home"),
        }
        (second / "home").mkdir()
        say(f"building again, with another {WHAT_DIFFERS}")
        _build(second, commands, _elsewhere(second), ordinary | others, count + 1)
        yield Pair(first / "tree/build", second / "tree/build")


@contextmanager
def _place(root: Path, keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        if keep.exists():
            raise SproutError(f"{keep}: is there already", "Name a directory to be made.")
        if keep.absolute().is_relative_to(root.absolute()):
            raise SproutError(f"{keep}: lies in the tree that is copied", "Name one outside.")
        keep.mkdir(parents=True)
        yield keep.absolute()
        return
    scratch = cache_root() / "repro"
    scratch.mkdir(parents=True, exist_ok=True)
    sweep(scratch)
    with TemporaryDirectory(prefix=scratch_prefix("twice"), dir=scratch) as name:
        yield Path(name)


def _is_ours(name: str) -> bool:
    return name.startswith(("SPROUT_", "CCACHE_", "SCONS"))


def _copy(root: Path, side: Path) -> None:
    """Copy the tree, and the tool too: the path of what it compiles must not matter either."""

    def left_out(folder: str, names: list[str]) -> set[str]:
        return _LEFT_OUT(folder, names) | ({"build"} if Path(folder) == root else set())

    shutil.copytree(root, side / "tree", ignore=left_out, symlinks=True)
    tool = Path(__file__).parents[1]
    shutil.copytree(tool, side / "tool/sprout", ignore=_LEFT_OUT)
    # What ccache reads wherever it is called (ccache(1), "Configuration").
    (side / "ccache").mkdir()
    (side / "ccache/ccache.conf").write_text("disable = true\n")


def _elsewhere(side: Path) -> list[str]:
    """Prepare another machine; give the words that run a command on it."""
    etc = side / "etc"
    shutil.copytree("/etc", etc, symlinks=True, ignore=_unreadable)
    library = side / "vary.so"
    source = Path(__file__).with_name("vary.c")
    check(["clang", *_COMPILE, "-o", library, source], "Run ./sprout.sh, which installs clang.")
    (etc / "ld.so.preload").write_text(f"{library}\n")
    namespaces = ["unshare", "--user", "--map-root-user", "--mount", "--uts", "--"]
    python = [sys.executable, "-m", "sprout.build.elsewhere"]
    return [*namespaces, *python, str(side), _HOST, _UMASK, _USER]


def _unreadable(folder: str, names: list[str]) -> set[str]:
    """Name what only root reads, and what is no file: no build needs that."""
    paths = {name: Path(folder, name) for name in names}
    return {
        name
        for name, path in paths.items()
        if not path.is_symlink()
        and not ((path.is_file() or path.is_dir()) and os.access(path, os.R_OK))
    }


def _build(
    side: Path,
    commands: Sequence[Sequence[str]],
    before: Sequence[str],
    environment: Mapping[str, str],
    jobs: int,
) -> None:
    more = {
        "PYTHONPATH": str(side / "tool"),
        "SPROUT_CACHE": str(side / "cache"),
        "CCACHE_DIR": str(side / "ccache"),
    }
    for command in commands:
        words = [*before, sys.executable, "-m", "sprout", "--tree", str(side / "tree"), *command]
        words += ["--jobs", str(jobs)]
        # What the builds print is not what was asked for: that is what they are compared to.
        with started(
            words, cwd=side, env={**environment, **more}, stdout=sys.stderr.fileno(), stderr=None
        ) as process:
            status = process.wait()
        if status != 0:
            raise SproutError(
                f"{' '.join(command)}: the build in {side} failed",
                "Its own message is above; what it wrote is kept with --keep DIR.",
            )
