"""The list of the files that a kernel was compiled from: `sources.json`.

An object with three lists, each sorted. `sources` are the C and assembler files that were compiled
or that such a file includes, `headers` what else those include; of each the path in the (patched)
source tree and its SHA-256. `generated` are the paths, in the build directory, of C and assembler
files that the build itself wrote: what they are made from is no file that somebody wrote.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import cannot_read, sha256_file
from sprout.kernel.cmdfiles import Note
from sprout.kernel.kbuild import Kbuild
from sprout.kernel.linked import has_note, linked_notes, links

_COMPILED = (".c", ".S", ".s")
# Linked by scripts/link-vmlinux.sh, which leaves no note of it.
_BESIDE_VMLINUX = ("init/version-timestamp.o", ".vmlinux.export.o")


@dataclass(frozen=True)
class _Trees:
    """Where a path can lead that a compiler was given: the source tree, or the build directory.

    A relative one is of the build directory, else of `directory`, which make was called for.
    """

    source: Path
    directory: Path
    out: Path

    def place(self, name: str) -> tuple[Path, str] | None:
        """Give the tree and the path in it; None for a file of the compiler's own."""
        path, there = self.out / name, self.directory / name
        if there.exists() and not path.exists():
            path = there
        path = Path(os.path.normpath(path))
        # Xen's makefiles compile some files through links to them in the build directory.
        if _inside(path, self.out) and _inside(path.resolve(), self.source):
            path = path.resolve()
        for tree in (self.out, self.source):
            inside = _inside(path, tree)
            if inside:
                return tree, inside
        return None


def _inside(path: Path, tree: Path) -> str | None:
    """Give the path in `tree`, which may be named with or without the links on the way to it."""
    for top in (tree, tree.resolve()):
        if path.is_relative_to(top):
            return str(path.relative_to(top))
    return None


def list_linux(kbuild: Kbuild, target: Path) -> None:
    """Write the list of what the kernel and modules in `kbuild.out` were compiled from.

    Raises SproutError where it is not known how a part of it was made.
    """
    out = kbuild.out
    # bzImage's parts, modules, and what the kernel holds as data: vDSO, real-mode code.
    roots = ["vmlinux.o", *links(out)]
    roots += [name for name in _BESIDE_VMLINUX if has_note(out, name)]
    notes = linked_notes(out, roots, out / "traced")
    _write(target, notes, _Trees(kbuild.source, kbuild.source, out))


def list_xen(kbuild: Kbuild, top: Path, target: Path) -> None:
    """Write the list of what the hypervisor in `kbuild.out` was compiled from.

    `top` is the top of Xen's tree, to which paths are relative. Raises SproutError where it is not
    known how a part of it was made.
    """
    out = kbuild.out
    # The first code is linked on its own and held as data; no note says so (arch/x86/boot).
    boot = sorted(out.glob("arch/*/boot/.*.o.cmd"))
    roots = [str((path.parent / path.name[1:-4]).relative_to(out)) for path in boot]
    notes = linked_notes(out, ["prelink.o", *roots], out / "traced")
    _write(target, notes, _Trees(top, kbuild.source, out))


def write_empty(target: Path) -> None:
    """Write the list of a kernel whose sources are not known: one that came compiled."""
    _dump(target, {}, {}, set())


def _write(target: Path, notes: Iterable[Note], trees: _Trees) -> None:
    sources: dict[str, str] = {}
    headers: dict[str, str] = {}
    generated: set[str] = set()
    named = {name for note in notes for name in (note.source, *note.includes) if name}
    for name in named:
        place = trees.place(name)
        if place is None:
            continue
        tree, path = place
        compiled = path.endswith(_COMPILED)
        if tree == trees.out:
            generated |= {path} if compiled else set()
        elif compiled:
            sources[path] = _digest(tree / path)
        else:
            headers[path] = _digest(tree / path)
    if not sources:
        raise SproutError(f"{trees.out}: no source of it is known", "Report this as a bug.")
    _dump(target, sources, headers, generated)


def _digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise cannot_read(path, error) from error


def _dump(
    target: Path, sources: dict[str, str], headers: dict[str, str], generated: set[str]
) -> None:
    lists: dict[str, object] = {
        name: [{"path": path, "sha256": digest} for path, digest in sorted(files.items())]
        for name, files in (("sources", sources), ("headers", headers))
    }
    lists["generated"] = sorted(generated)
    target.write_text(json.dumps(lists, indent=1) + "\n")
