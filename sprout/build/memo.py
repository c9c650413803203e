"""Remembers what was worked out about a file for as long as the file stays what it was.

Hashing a compiler takes longer than asking whether it has changed. An entry holds while path,
size, modification time, change time and inode are equal.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import write_file

_VERSION = 1


class Memo:
    """A file of remembered answers. A damaged file is an empty one: it only costs time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = False
        self._entries: dict[str, dict[str, object]] = {}
        try:
            stored = json.loads(path.read_bytes())
            if stored["version"] == _VERSION:
                self._entries = {
                    name: {"state": entry["state"], "answer": [*map(str, entry["answer"])]}
                    for name, entry in stored["entries"].items()
                }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._entries = {}

    def remember(
        self, kind: str, path: Path, work: Callable[[Path], list[str]], *, least: int = 0
    ) -> list[str]:
        """Give `work(path)`, from memory when the file has not changed since.

        An answer has at least `least` parts; a remembered one that has fewer is not one.
        """
        stat = path.stat()
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        name = f"{kind}:{path}"
        entry = self._entries.get(name)
        if entry is not None and entry.get("state") == state:
            answer = entry.get("answer")
            if isinstance(answer, list) and len(answer) >= least:
                return [str(part) for part in answer]
        answer = work(path)
        self._entries[name] = {"state": state, "answer": answer}
        self._changed = True
        return answer

    def save(self) -> None:
        """Write what is new to the file."""
        if self._changed:
            data = json.dumps({"version": _VERSION, "entries": self._entries})
            self._changed = False
            with suppress(SproutError):  # it only costs time
                write_file(self._path, data.encode())
