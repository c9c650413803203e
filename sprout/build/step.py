"""A step: one artifact directory below `build/`, made when its key changes.

`build/STEP/.key.json` says with which key the files beside it were made, and from what, so that
a later run knows whether they are current and, when not, what has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sprout.base.files import staged_directory, write_file
from sprout.base.lock import held
from sprout.base.progress import say
from sprout.build.cache import Cache

STAMP = ".key.json"
Parts = dict[str, str]


@dataclass(frozen=True)
class Step:
    """One unit of work.

    `parts` is all that goes into it, by name, as digests or short texts: the key is their hash.
    `make` writes `outputs` into the directory that it is given.
    """

    name: str
    directory: Path
    outputs: tuple[str, ...]
    needs: tuple[str, ...]
    parts: Parts
    make: Callable[[Path], None]

    @property
    def key(self) -> str:
        """Give the step's key: 64 hexadecimal digits."""
        text = json.dumps([self.name, self.outputs, self.parts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def files(self) -> list[Path]:
        """Give the paths of the outputs."""
        return [self.directory / name for name in self.outputs]

    def is_current(self) -> bool:
        """Tell whether the outputs are there, untouched, and made with this key."""
        stamp = _read_stamp(self.directory)
        return stamp.get("key") == self.key and stamp.get("files") == _states(self.files())

    def why(self) -> str:
        """Say in a few words why the step has to be made."""
        old = _read_stamp(self.directory).get("parts")
        if not isinstance(old, dict):
            return "not built yet"
        changed = sorted(
            n for n in old.keys() | self.parts.keys() if old.get(n) != self.parts.get(n)
        )
        return f"changed: {', '.join(changed)}" if changed else "its files were touched or removed"


def perform(step: Step, cache: Cache) -> None:
    """Make a step's outputs current: nothing to do, from the cache, or by its own work."""
    if step.is_current():
        return
    why = step.why()
    with (
        cache.making(step.key, f"{step.name}: another build is making it: waiting for it"),
        staged_directory(step.directory) as staging,
    ):
        cached = cache.restore(step.key, staging, step.outputs)
        if cached:
            say(f"{step.name}: from the cache ({why})")
        else:
            say(f"{step.name}: making it ({why})")
            step.make(staging)
            cache.store(step.key, staging, step.outputs)
    stamp = {"key": step.key, "parts": step.parts, "files": _states(step.files())}
    write_file(step.directory / STAMP, json.dumps(stamp, indent=1, sort_keys=True).encode())


@contextmanager
def exclusive(build: Path) -> Iterator[None]:
    """Hold the tree's build directory for one process at a time."""
    with held(build / ".lock", "another build of this tree is running: waiting for it"):
        yield


def _states(files: list[Path]) -> list[list[int]] | None:
    try:
        return [[stat.st_size, stat.st_mtime_ns] for stat in (file.stat() for file in files)]
    except OSError:
        return None


def _read_stamp(directory: Path) -> dict[str, object]:
    try:
        stamp = json.loads((directory / STAMP).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return stamp if isinstance(stamp, dict) else {}
