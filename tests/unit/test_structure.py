"""The walls of the house: imports go down only, and no test can pass by not running."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEVELS = (
    ("cli",),
    ("build", "cost"),
    ("kernel", "initramfs", "image", "signing", "oci", "vm"),
    ("format",),
    ("base",),
)
ALLOWED_BESIDE = {("oci", "signing")}


def level(room: str) -> int:
    return next(index for index, rooms in enumerate(LEVELS) if room in rooms)


def imported_rooms(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    rooms = {name.split(".")[1] for name in names if name.startswith("sprout.")}
    return {room for room in rooms if any(room in rooms_of for rooms_of in LEVELS)}


@pytest.mark.parametrize("path", sorted((ROOT / "sprout").rglob("*.py")), ids=str)
def test_imports_go_down_only(path: Path) -> None:
    room = path.relative_to(ROOT / "sprout").parts[0]
    if room.endswith(".py"):
        return
    for other in imported_rooms(path) - {room}:
        assert level(other) > level(room) or (room, other) in ALLOWED_BESIDE, (
            f"{room} may not import {other}"
        )


def test_no_test_is_skipped_by_design() -> None:
    marks = re.compile(r"pytest\.(?:skip|xfail|importorskip)|mark\.(?:skip|xfail|skipif)")
    for path in (ROOT / "tests").rglob("*.py"):
        if path != Path(__file__):
            assert not marks.search(path.read_text()), path


def test_files_hold_one_concern() -> None:
    for pattern in ("*.py", "*.c", "*.h"):
        for path in (ROOT / "sprout").rglob(pattern):
            assert len(path.read_text().splitlines()) <= 400, path


def test_names_no_machine_and_no_index() -> None:
    # Written so that this file does not contain what it looks for.
    words = ["/" + "work/", "/" + "root/", "deb." + "debian.org", "py" + "pi.org"]
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        hidden = {".git", ".venv", "build", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
        if hidden & set(parts) or not path.is_file() or path.suffix in (".pyc", ".dblite"):
            continue
        text = path.read_text(errors="replace")
        for word in words:
            assert word not in text, f"{path}: {word}"
