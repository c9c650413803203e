"""What make noted of each file that it made: the `.NAME.cmd` files of Linux's and Xen's kbuild.

The first line is the command. For a compiled file scripts/basic/fixdep adds its source and what
that includes (the format: scripts/basic/fixdep.c, and scripts/Kbuild.include).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded

_MAX_BYTES = 4 << 20
_COMMAND = re.compile(r"(?:saved)?cmd_(?P<target>\S+) := (?P<command>.*)")
_SOURCE = re.compile(r"^source_(?P<target>\S+) := (?P<file>\S+)$", re.MULTILINE)
_DEPENDENCIES = re.compile(r"^deps_(?P<target>\S+) := \\\n(?P<lines>(?:.*\\\n)*)", re.MULTILINE)
_DEPENDENCY = re.compile(r"\s+(?:\$\(wildcard \S+\)|(?P<file>[^\s$\\]+)) \\")
_HINT = "Report this version of the source with the build's log."


@dataclass(frozen=True)
class Note:
    """How one file was made: by what command, and for a compiled one from what source.

    `includes` are the files that the source includes, as the compiler named them.
    """

    target: str
    command: str
    source: str | None
    includes: tuple[str, ...]

    def words(self) -> list[str]:
        """Give the words of the first program's command line.

        Only for what needs no shell: a link, a copy of an object.
        """
        words = []
        for word in self.command.split():
            if word in ("&&", "||", "|", ";"):
                break
            words.append(word.rstrip(";"))
            if word.endswith(";"):
                break
        return words


def note_of(target: str) -> PurePosixPath:
    """Give where the note on `target` lies, relative to the same directory as that."""
    path = PurePosixPath(target)
    return path.with_name(f".{path.name}.cmd")


def read_note(out: Path, target: str) -> Note:
    """Read the note on `target`, a path in the build directory `out`.

    Raises SproutError when there is none, or it is not as kbuild writes one.
    """
    path = out / note_of(target)
    text = read_bounded(path, _MAX_BYTES).decode(errors="replace")
    first = _COMMAND.match(text)
    if first is None or PurePosixPath(first["target"]) != PurePosixPath(target):
        raise SproutError(f"{path}: does not say how {target} was made", _HINT)
    source, listed = _SOURCE.search(text), _DEPENDENCIES.search(text)
    if (source is None) != (listed is None):
        raise SproutError(f"{path}: has a source without what it includes", _HINT)
    includes = []
    for line in listed["lines"].splitlines() if listed else ():
        found = _DEPENDENCY.fullmatch(line)
        if found is None:
            raise SproutError(f"{path}: a line of deps_ names no file: {line[:80]}", _HINT)
        if found["file"]:
            includes.append(found["file"])
    return Note(target, first["command"], source["file"] if source else None, tuple(includes))
