"""A kernel's modules as one tar archive, each after the ones that it needs.

The archive holds a list of what each module needs, in the format of depmod(8)'s `modules.dep`, and
then the modules, unsigned, as NAME.ko in the order of that list. A kernel without modules has an
archive with an empty list.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from sprout.base.errors import SproutError
from sprout.base.files import cannot_read

_LIST = "modules.dep"
_MAX_MODULES = 8192
_MAX_MODULE_BYTES = 64 << 20
_MAX_LIST_BYTES = 1 << 20
_BLOCK = 512
# A plain file of the ustar format, with its name in one piece.
_HEADER = re.compile(
    rb"(?P<name>[^\0]{1,99}\0+).{8}.{8}.{8}(?P<size>[0-7]{11})\0[0-7]{11}\0"
    rb"(?P<checksum>[0-7]{6})\0 0.{100}ustar\x0000.{64}.{8}.{8}\0{167}",
    re.DOTALL,
)
_LINE = re.compile(r"(\w{1,55})\.ko:((?: \w{1,55}\.ko)*)", re.ASCII)


def module_name(text: str) -> str:
    """Give the kernel's own name of a module: what a file or a need calls snd-pcm is snd_pcm."""
    return text.replace("-", "_")


def write_modules(
    target: Path, modules: Mapping[str, bytes], needs: Mapping[str, Iterable[str]], *, epoch: int
) -> None:
    """Write the archive of `modules` (name to ELF file) with what each of them directly `needs`.

    The same modules give the same bytes; `epoch` is their time in seconds. Raises SproutError
    where a module needs one that is not there.
    """
    ordered: dict[str, None] = {}
    for name in sorted(modules):
        _after_needs(name, needs, ordered)
    missing = sorted(ordered.keys() - modules.keys())
    if missing:
        raise SproutError(
            f"{target.name}: no module {missing[0]} was built, and another needs it",
            "Report this with the kernel's log.",
        )
    lines = [f"{name}.ko:{''.join(f' {n}.ko' for n in sorted(needs[name]))}\n" for name in ordered]
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        _add(archive, _LIST, "".join(lines).encode(), epoch)
        for name in ordered:
            _add(archive, f"{name}.ko", modules[name], epoch)


def _after_needs(
    name: str, needs: Mapping[str, Iterable[str]], ordered: dict[str, None], above: int = 0
) -> None:
    if name in ordered:
        return
    if above > 100:
        raise SproutError(f"{name}: this module needs itself", "Report this as a bug.")
    for need in sorted(needs.get(name, ())):
        _after_needs(need, needs, ordered, above + 1)
    ordered[name] = None


def _add(archive: tarfile.TarFile, name: str, data: bytes, epoch: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(data), epoch, 0o644
    archive.addfile(member, io.BytesIO(data))


def read_modules(archive: Path, names: Iterable[str] | None = None) -> dict[str, bytes]:
    """Give the modules of an archive, name to ELF file, each after the ones that it needs.

    With `names` only those and what they need. Raises SproutError when the archive cannot be
    read, is not as `write_modules` makes it, or lacks one of `names`.
    """
    try:
        with archive.open("rb") as stream:
            needs = _read_list(archive, stream)
            return _read_chosen(archive, stream, needs, _closure(archive, needs, names))
    except OSError as error:
        raise cannot_read(archive, error) from error


def _read_list(archive: Path, stream: IO[bytes]) -> dict[str, tuple[str, ...]]:
    text = _read_next(archive, stream, _LIST, _MAX_LIST_BYTES).decode(errors="replace")
    needs: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        found = _LINE.fullmatch(line)
        if found is None or found[1] in needs or number > _MAX_MODULES:
            raise _damaged(archive, f"{_LIST}:{number} is no line of a module")
        needs[found[1]] = tuple(word.removesuffix(".ko") for word in found[2].split())
        if not needs.keys() >= set(needs[found[1]]) - {found[1]}:
            raise _damaged(archive, f"{_LIST}:{number} needs a module that comes later")
    return needs


def _closure(
    archive: Path, needs: dict[str, tuple[str, ...]], names: Iterable[str] | None
) -> set[str]:
    if names is None:
        return set(needs)
    wanted = {module_name(name) for name in names}
    for name in sorted(wanted - needs.keys()):
        raise SproutError(
            f"{archive.name}: this kernel has no module {name}",
            f"Its modules: {', '.join(sorted(needs)[:20]) or 'none'}.",
        )
    # Whoever needs a module stands after it, so one walk from the end finds all.
    for name in reversed(needs):
        if name in wanted:
            wanted.update(needs[name])
    return wanted


def _read_chosen(
    archive: Path, stream: IO[bytes], needs: Iterable[str], wanted: set[str]
) -> dict[str, bytes]:
    chosen = {}
    for name in needs:
        data = _read_next(archive, stream, f"{name}.ko", _MAX_MODULE_BYTES)
        if name in wanted:
            chosen[name] = data
    if stream.read(_BLOCK) != bytes(_BLOCK):
        raise _damaged(archive, f"it holds more than {_LIST} names")
    return chosen


def _read_next(archive: Path, stream: IO[bytes], name: str, limit: int) -> bytes:
    """Read the next member, which has to be the file `name`: a header and data in whole blocks.

    By hand, because tarfile follows every extension of the format that a file may claim to use
    (the format: POSIX.1-2017, pax, "ustar Interchange Format").
    """
    head = stream.read(_BLOCK)
    found = _HEADER.fullmatch(head)
    if found is None or found["name"].rstrip(b"\0") != name.encode():
        raise _damaged(archive, f"it lacks {name}, or holds it elsewhere")
    blanked = head[:148] + b" " * 8 + head[156:]
    if sum(blanked) != int(found["checksum"], 8):
        raise _damaged(archive, f"{name}: the checksum of its header is wrong")
    size = int(found["size"], 8)
    if size > limit:
        raise _damaged(archive, f"{name} is too long")
    data = stream.read(-(-size // _BLOCK) * _BLOCK)
    if len(data) % _BLOCK or len(data) < size:
        raise _damaged(archive, f"{name} is cut short")
    return data[:size]


def _damaged(archive: Path, why: str) -> SproutError:
    return SproutError(f"{archive}: is no archive of modules: {why}", "Build the kernel again.")
