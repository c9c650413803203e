"""A tree like another, in which a flavor's options are set otherwise: to see what they cost."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from sprout.base.errors import UsageError
from sprout.base.files import read_bounded
from sprout.build.tree import Tree, load_tree
from sprout.kernel.flavor import load_flavor
from sprout.kernel.fragment import Request

_CHANGE = re.compile(r"(?:CONFIG_)?([A-Z0-9][A-Za-z0-9_]{0,99})=([ymn]|-?[0-9]{1,12}|0x[0-9a-f]+)")
_LINE = re.compile(r"(?:# )?(CONFIG_[A-Za-z0-9_]+)(?:=.*| is not set)")
_FOLDERS = ("kernels", "initramfs", "signing")
_MAX_FRAGMENT_BYTES = 1 << 18


def read_changes(text: str) -> dict[str, str]:
    """Read options to set otherwise, such as "INIT_STACK_ALL_ZERO=n INIT_STACK_NONE=y".

    Gives values by the options' whole names. Raises UsageError where a word is none.
    """
    found: dict[str, str] = {}
    for word in text.split():
        match = _CHANGE.fullmatch(word)
        if match is None or f"CONFIG_{match[1]}" in found:
            raise UsageError(f"{text}: {word} sets no option", 'Write such as "SLUB_DEBUG=n".')
        found[f"CONFIG_{match[1]}"] = match[2]
    if not found:
        raise UsageError("a variant sets at least one option", 'Write such as "SLUB_DEBUG=n".')
    return found


def variant_tree(tree: Tree, flavor: str, changes: Mapping[str, str], place: Path) -> Tree:
    """Copy the kernels of `tree` to the directory `place`, with `changes` made to `flavor`.

    `changes` are values by options' whole names. An option that no fragment of the flavor sets is
    set in the last one. Raises SproutError where the tree's data is at fault.
    """
    for folder in _FOLDERS:
        if (tree.root / folder).is_dir():
            shutil.copytree(tree.root / folder, place / folder)
    shutil.copyfile(tree.root / "images.toml", place / "images.toml")
    open_changes = dict(changes)
    fragments = [fragment.path for fragment in load_flavor(place, flavor).fragments]
    for path in fragments:
        lines = read_bounded(path, _MAX_FRAGMENT_BYTES).decode(errors="replace").splitlines()
        for number, line in enumerate(lines):
            match = _LINE.fullmatch(line)
            if match is not None and match[1] in changes:
                lines[number] = _line(match[1], changes[match[1]])
                open_changes.pop(match[1], None)
        if path == fragments[-1]:
            # After an empty line: they are for every version.
            lines += ["", *(_line(*change) for change in open_changes.items())]
        path.write_text("".join(f"{line}\n" for line in lines))
    return load_tree(place)


def _line(option: str, value: str) -> str:
    return Request(option, value, "").line()
