"""Which compiled files end in a kernel: from what was linked back to what was compiled.

Each link is followed to its objects, and where an archive is searched the linker itself is asked
which of its members it took. So an object that was compiled and left out does not count, nor does
a program that only the build runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.base.run import check
from sprout.kernel.cmdfiles import Note, note_of, read_note

_MAX_LIST_BYTES = 16 << 20
_MAX_OBJECTS = 200_000
_LINKER = "ld"
# Programs of the build itself lie here; what they are linked of is in no kernel.
_BUILD_TOOLS = ("scripts", "tools")
_PLAIN_WORD = re.compile(r"[\w./@+=,:-]+", re.ASCII)
# ld --trace names a member of a thin archive by its file, of another one as (ARCHIVE)MEMBER.
_MEMBER = re.compile(r"\(?(?P<archive>[^()\s]+\.a)[()](?P<member>[^()\s]+\.o)\)?")
_HINT = "Report this version of the source with the build's log."


def linked_notes(out: Path, roots: Iterable[str], scratch: Path) -> list[Note]:
    """Give the notes on every compiled file that ends in one of `roots`, in their targets' order.

    `roots` are linked files or objects in the build directory `out`; `scratch` is a file that may
    be written. Raises SproutError where it is not known how a file was made.
    """
    found: dict[str, Note | None] = {}
    waiting = [_plain(root) for root in roots]
    while waiting:
        target = waiting.pop()
        if target in found:
            continue
        note = read_note(out, target)
        found[target] = note if note.source is not None else None
        if note.source is None:
            waiting += _inputs(out, note, scratch)
        if len(found) > _MAX_OBJECTS:
            raise SproutError(f"{out}: has more than {_MAX_OBJECTS:,} objects", _HINT)
    return [note for _, note in sorted(found.items()) if note is not None]


def links(out: Path) -> list[str]:
    """Give what a linker made in `out` other than an object that goes on into another link."""
    found = []
    for top, folders, files in os.walk(out):
        if Path(top) == out:
            folders[:] = [name for name in folders if name not in _BUILD_TOOLS]
        for name in files:
            target = (Path(top) / name[1:-4]).relative_to(out)
            if not name.startswith(".") or not name.endswith(".cmd") or target.suffix == ".o":
                continue
            # A header that is checked has a note too, in which there is no command line of ld.
            if _starts_with_linker(Path(top) / name):
                found.append(str(target))
    return sorted(found)


def _starts_with_linker(note: Path) -> bool:
    with note.open("rb") as stream:
        _, _, command = stream.readline(_MAX_LIST_BYTES).partition(b" := ")
    return command.split(maxsplit=1)[:1] == [_LINKER.encode()]


def _inputs(out: Path, note: Note, scratch: Path) -> list[str]:
    words = note.words()
    if any(word.endswith(".a") for word in words):
        return _traced(out, note, words, scratch)
    objects = []
    for word in words:
        if word.startswith("@"):
            listed = read_bounded(out / word[1:], _MAX_LIST_BYTES).decode(errors="replace")
            objects += [_plain(line) for line in listed.split() if line.endswith(".o")]
        elif word.endswith(".o") and _plain(word) != note.target:
            objects.append(_plain(word))
    return objects


def _traced(out: Path, note: Note, words: list[str], scratch: Path) -> list[str]:
    """Link again, elsewhere, and have the linker tell which objects it takes."""
    if words[0] != _LINKER or not all(map(_PLAIN_WORD.fullmatch, words)) or "-o" not in words:
        raise SproutError(f"{note.target}: is made of an archive by no plain link", _HINT)
    words[words.index("-o") + 1] = str(scratch)
    # Given once it names archives, given twice their members (ld(1)).
    trace = check([*words, "--trace", "--trace"], _HINT, cwd=out).decode(errors="replace")
    scratch.unlink(missing_ok=True)
    objects = []
    for line in trace.splitlines():
        if member := _MEMBER.fullmatch(line.strip()):
            objects.append(_plain(str(PurePosixPath(member["archive"]).parent / member["member"])))
        elif line.endswith(".o"):
            objects.append(_plain(line.strip()))
    return objects


def _plain(path: str) -> str:
    """Give the path of a target without `./` and the like, as its note has it."""
    return os.path.normpath(path)


def has_note(out: Path, target: str) -> bool:
    """Tell whether make noted in `out` how it made `target`."""
    return (out / note_of(target)).is_file()
