"""The content-addressed cache outside the checkout: a step's outputs under the step's key."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import copy_sparse, sha256_file, staged_directory
from sprout.base.lock import held

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Cache:
    """A directory of earlier results; deleting it loses nothing but time."""

    root: Path

    def _entry(self, key: str) -> Path:
        return self.root / "steps" / key

    def making(self, key: str, waiting: str) -> AbstractContextManager[None]:
        """Hold `key` for one process of any tree; `waiting` is said where another has it."""
        return held(self.root / "locks" / key, waiting)

    def has(self, key: str) -> bool:
        """Tell whether there is a result for `key`."""
        return (self._entry(key) / _MANIFEST).is_file()

    def store(self, key: str, directory: Path, outputs: tuple[str, ...]) -> None:
        """Keep a copy of `outputs` of `directory` under `key`."""
        if self.has(key):
            return
        with staged_directory(self._entry(key)) as staging:
            for name in outputs:
                copy_sparse(directory / name, staging / name)
            digests = {name: sha256_file(staging / name) for name in outputs}
            (staging / _MANIFEST).write_text(json.dumps(digests))

    def restore(self, key: str, directory: Path, outputs: tuple[str, ...]) -> bool:
        """Copy the result for `key` into `directory`; False when there is none.

        A result whose bytes are not the ones that were stored is removed, not used.
        """
        entry = self._entry(key)
        try:
            digests = json.loads((entry / _MANIFEST).read_bytes())
            intact = digests == {name: sha256_file(entry / name) for name in outputs}
        except (OSError, ValueError):
            intact = False
        if not intact:
            shutil.rmtree(entry, ignore_errors=True)
            return False
        # Apart from the check: a full disk here says nothing about the entry.
        for name in outputs:
            copy_sparse(entry / name, directory / name)
        return True


def cache_root() -> Path:
    """Give the cache's place: $SPROUT_CACHE, else `sprout` in the XDG cache directory."""
    if chosen := os.environ.get("SPROUT_CACHE"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "sprout"
    try:
        return Path.home() / ".cache" / "sprout"
    except RuntimeError as error:
        raise SproutError(
            "there is no home directory to keep the cache in", "Set SPROUT_CACHE to a directory."
        ) from error
