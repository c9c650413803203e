"""The history of an image's baseline, as git has it: what each accepted change made of a boot.

A baseline is a file in git (a JSON list of records), so its history needs no other memory. Read
are: "key" (an object), "boot" (in the record or its key; "uefi" where there is none), "phases"
with "name", "instructions" and "wait_ns", and "reason"; other fields are for others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sprout.base.errors import SproutError
from sprout.base.run import Output, run

MAX_REVISIONS = 40
MAX_RECORDS = 64
MAX_PHASES = 32
MAX_FILE_BYTES = 8 << 20
_MAX_SUBJECT = 200
_TIMEOUT_S = 60.0
_GIT = ("git", "-c", "core.quotePath=false", "-c", "log.showSignature=false", "--no-pager")


@dataclass(frozen=True)
class PastPhase:
    """A phase as a baseline has it: instructions, and virtual ns waited."""

    name: str
    instructions: int
    wait_ns: int


@dataclass(frozen=True)
class PastRecord:
    """A boot as a baseline has it. `key` says what its figures hold for (as text, by name)."""

    boot: str
    key: dict[str, str]
    phases: tuple[PastPhase, ...]
    reason: str


@dataclass(frozen=True)
class Revision:
    """The baseline as one commit left it; `problem` says why its records could not be read."""

    commit: str
    subject: str
    records: tuple[PastRecord, ...]
    problem: str = ""


@dataclass(frozen=True)
class History:
    """The last revisions of a baseline, oldest first.

    `cut` says that there may be older ones: beyond the limit, or because the clone is shallow.
    """

    revisions: tuple[Revision, ...]
    cut: bool = False


def read_history(file: Path, *, limit: int = MAX_REVISIONS) -> History:
    """Read the history of the baseline `file`, `limit` revisions at most, out of its git checkout.

    A file that was never committed has an empty history, and a revision that cannot be read stays
    in it with its problem. Raises SproutError when git is missing or fails, or `file` lies in no
    checkout.
    """
    directory = file.absolute().parent
    if not directory.is_dir():
        raise SproutError(f"{directory}: no such directory", "Accept a baseline first.")
    top = _git(directory, "rev-parse", "--show-prefix", "--is-shallow-repository")
    if top.status != 0:
        raise SproutError(
            f"{directory}: no git checkout to read a baseline's history from: {top.last_line()}",
            "Work in a clone of the repository.",
        )
    if _git(directory, "rev-parse", "--verify", "--quiet", "HEAD").status != 0:
        return History(())  # a repository without a commit
    prefix, shallow = top.stdout.decode(errors="surrogateescape").rsplit("\n", 2)[:2]
    commits = _commits(directory, file.name, limit + 1)
    cut = shallow == "true" or len(commits) > limit
    commits = commits[:limit]
    names = [f"{commit}:{prefix}{file.name}" for commit, _, _ in commits]
    blobs = _blobs(directory, names)
    revisions = [
        _revision(short, subject, blob)
        for (_, short, subject), blob in zip(commits, blobs, strict=True)
    ]
    return History(tuple(reversed(revisions)), cut)


def _git(directory: Path, *words: str, data: bytes | None = None) -> Output:
    return run([*_GIT, *words], cwd=directory, data=data, timeout=_TIMEOUT_S)


def _checked(directory: Path, *words: str, data: bytes | None = None) -> bytes:
    output = _git(directory, *words, data=data)
    if output.status != 0:
        raise SproutError(
            f"git {words[0]} failed (status {output.status}): {output.last_line()}",
            f"Try `git {words[0]}` in {directory}.",
        )
    return output.stdout


def _commits(directory: Path, name: str, limit: int) -> list[tuple[str, str, str]]:
    """Give the commits that touched the file: id, short id and subject, newest first."""
    out = _checked(
        directory,
        "log",
        "-z",
        f"--max-count={limit}",
        "--no-color",
        "--format=%H %h %s",
        "--",
        f":(literal){name}",
    )
    found = []
    for entry in out.decode(errors="replace").split("\0"):
        words = entry.strip("\n").split(" ", 2)
        if len(words) == 3:
            found.append((words[0], words[1], words[2][:_MAX_SUBJECT]))
    return found


def _blobs(directory: Path, names: list[str]) -> list[bytes | str]:
    """Give the bytes of each object, or why there are none; sizes are asked for first."""
    sizes = _checked(
        directory, "cat-file", "--batch-check=%(objecttype) %(objectsize)", data=_lines(names)
    ).splitlines()
    if len(sizes) != len(names):
        raise SproutError(f"{directory}: git cat-file gave too little", "Run `git fsck`.")
    blobs: list[bytes | str] = []
    for name, answer in zip(names, sizes, strict=True):
        kind, _, size = answer.decode(errors="replace").rpartition(" ")
        if kind != "blob" or not size.isdigit():
            blobs.append("removed by this commit")
        elif int(size) > MAX_FILE_BYTES:
            blobs.append(f"has {int(size):,} bytes")
        else:
            blobs.append(_checked(directory, "cat-file", "blob", name))
    return blobs


def _lines(names: list[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode(errors="surrogateescape")


def _revision(commit: str, subject: str, blob: bytes | str) -> Revision:
    if isinstance(blob, str):
        return Revision(commit, subject, (), blob)
    try:
        return Revision(commit, subject, _records(json.loads(blob)))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        return Revision(commit, subject, (), f"is no baseline: {str(error)[:_MAX_SUBJECT]}")


def _records(values: Any) -> tuple[PastRecord, ...]:  # noqa: ANN401 - JSON from outside
    records = []
    for value in _kind(values, list, "the file")[:MAX_RECORDS]:
        record = _kind(value, dict, "a record")
        key = {str(name): str(part) for name, part in _kind(record.get("key"), dict, "key").items()}
        phases = tuple(
            PastPhase(
                _kind(phase["name"], str, "name"),
                _amount(phase["instructions"], "instructions"),
                _amount(phase.get("wait_ns", 0), "wait_ns"),
            )
            for phase in _kind(record.get("phases"), list, "phases")[:MAX_PHASES]
        )
        boot = _kind(record.get("boot", key.get("boot", "uefi")), str, "boot")
        reason = _kind(record.get("reason", ""), str, "reason")
        records.append(PastRecord(boot, key, phases, reason[:_MAX_SUBJECT]))
    return tuple(records)


def _kind(value: Any, kind: type, name: str) -> Any:  # noqa: ANN401 - callers narrow it
    if not isinstance(value, kind):
        raise TypeError(f"{name} is not a {kind.__name__}")
    return value


def _amount(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise TypeError(f"{name} is no amount")
    return value
