"""What the programs of a step add to its key: the bytes of each program and its libraries."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from sprout.base.files import sha256_file
from sprout.base.run import find_program, run
from sprout.build.memo import Memo

_PRELOADED = Path("/etc/ld.so.preload")
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")
# gcc is a driver: the compiler proper is a program of its own.
_BEHIND = {"gcc": ("cc1", "collect2")}


def toolchain_digest(programs: Iterable[str], memo: Memo) -> str:
    """Give one digest over programs found on PATH, what they call, and their shared libraries.

    Raises SproutError when a program is missing.
    """
    lines = []
    for name in sorted(programs):
        path = find_program(name).resolve()
        lines.append(f"{name} {_program_digest(path, memo)}")
        for inner in _BEHIND.get(name, ()):
            found = memo.remember(f"behind-{inner}", path, partial(_behind, inner))
            lines += [f"{name}/{inner} {_program_digest(Path(p), memo)}" for p in found]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _program_digest(path: Path, memo: Memo) -> str:
    digests = [memo.remember("bytes", path, _hashed, least=1)[0]]
    for library in memo.remember("libraries", path, _libraries):
        file = Path(library).resolve()
        if file.is_file():
            digests += memo.remember("bytes", file, _hashed)
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _hashed(path: Path) -> list[str]:
    return [sha256_file(path)]


def _behind(name: str, driver: Path) -> list[str]:
    output = run([driver, f"-print-prog-name={name}"])
    path = Path(output.stdout.decode(errors="replace").strip())
    return [str(path)] if path.is_absolute() and path.is_file() else []


def _libraries(path: Path) -> list[str]:
    """Ask the dynamic linker which libraries a program uses; a script has none."""
    with path.open("rb") as stream:
        if stream.read(4) != b"\x7fELF":
            return []
    output = run(["ldd", path])
    # What the machine loads into every program is no part of this one (ld.so(8)).
    preloaded = _PRELOADED.read_text().split() if _PRELOADED.is_file() else []
    found = _LIBRARY.findall(output.stdout.decode(errors="replace"))
    return sorted(library for library in found if library not in preloaded)
