"""Reads the list of what goes into an initramfs: `initramfs/zone.toml` and the like.

    [[program]]    path, sources (C files, compiled together), mode = "0755"
    [[binary]]     path, from = "xen-tools:PATH" (a program that the build made; its shared
                   libraries come with it), also = [] (libraries that it loads by name),
                   mode = "0755"
    [libraries]    machine = [] (the shared libraries that are taken from this machine)
    [[file]]       path, source, mode = "0644"
    [[directory]]  path, mode = "0755"
    [[link]]       path, target
    [[node]]       path, type ("char" or "block"), major, minor, mode = "0600"

`path` is in the archive, without a leading slash; sources are relative to the list itself.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from sprout.base.table import Table, load_table
from sprout.initramfs.cpio import Entry, name_problem

TOOLS = "xen-tools"  # the step of the build that makes programs
_LIBRARY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_MODE = re.compile(r"[0-7]{3,4}")
_NODE_TYPES = {"char": stat.S_IFCHR, "block": stat.S_IFBLK}
_MAX_MAJOR = 0xFFF  # kernel include/linux/kdev_t.h: 12 and 20 bits
_MAX_MINOR = 0xF_FFFF
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Program:
    """A program to compile: its path in the archive, its mode, its sources beside the list.

    `linked` tells that it is linked with Xen's libraries.
    """

    path: str
    mode: int
    sources: tuple[Path, ...]
    linked: bool = False


@dataclass(frozen=True)
class Listed:
    """A file to copy: its path in the archive, its mode, and where its bytes are."""

    path: str
    mode: int
    source: Path


@dataclass(frozen=True)
class Binary:
    """A program that a step of the build made: its path in the archive, its mode, where it is.

    `source` is its path in the tar of the tools. `also` are libraries that it loads by name, which
    no header tells.
    """

    path: str
    mode: int
    source: str
    also: tuple[str, ...]


@dataclass(frozen=True)
class Definition:
    """A whole list. `base` is the directory that sources are relative to; they exist.

    `machine` are the shared libraries that binaries take from this machine.
    """

    base: Path
    programs: tuple[Program, ...]
    files: tuple[Listed, ...]
    entries: tuple[Entry, ...]
    binaries: tuple[Binary, ...] = ()
    machine: tuple[str, ...] = ()


def load_definition(path: Path) -> Definition:
    """Read the list at `path`.

    Raises SproutError naming the file and the field: an unknown key, a bad path or mode, a path
    that is there twice, a source that is missing or lies outside the list's directory.
    """
    top = load_table(path)
    seen: set[str] = set()

    entries: list[Entry] = []
    for key, read in (("directory", _directory), ("link", _link), ("node", _node)):
        entries.extend(_each(top, key, read, seen))
    definition = Definition(
        base=path.parent,
        programs=_each(top, "program", _program, seen),
        files=_each(top, "file", _file, seen),
        entries=tuple(entries),
        binaries=_each(top, "binary", _binary, seen),
        machine=_machine(top),
    )
    top.finish()
    return definition


def _each(
    top: Table, key: str, read: Callable[[Table, str], _Item], seen: set[str]
) -> tuple[_Item, ...]:
    found = []
    for table in top.tables(key):
        found.append(read(table, _path(table, seen)))
        table.finish()
    return tuple(found)


def _path(table: Table, seen: set[str]) -> str:
    path = table.text("path")
    if problem := name_problem(path):
        raise table.error("path", problem, 'Write a path such as "etc/hostname".')
    if path in seen:
        raise table.error("path", f"{path} is there twice", "Remove one of the two.")
    seen.add(path)
    return path


def _mode(table: Table, kind: int, default: str) -> int:
    mode = table.text("mode", default)
    if not _MODE.fullmatch(mode):
        raise table.error("mode", f"{mode!r} is no file mode", 'Write octal digits, as in "0755".')
    return kind | int(mode, 8)


def _source(table: Table, key: str, name: str) -> Path:
    parts = PurePosixPath(name)
    if not name or parts.is_absolute() or ".." in parts.parts:
        raise table.error(key, f"{name!r} lies elsewhere", "Put the file beside this list.")
    path = table.where.parent / name
    if not path.is_file():
        raise table.error(key, f"{path} is no file", "Correct the name, or add the file.")
    return path


def _program(table: Table, path: str) -> Program:
    names = table.texts("sources")
    if not names:
        raise table.error("sources", "is empty", "Name at least one C file.")
    for name in names:
        if not name.endswith(".c"):
            raise table.error("sources", f"{name!r} is no C file", "List C files only.")
    sources = tuple(_source(table, "sources", name) for name in names)
    libraries = table.text("libraries", "")
    if libraries not in ("", TOOLS):
        raise table.error("libraries", f"{libraries!r} has none", f'Write "{TOOLS}".')
    return Program(path, _mode(table, stat.S_IFREG, "0755"), sources, linked=bool(libraries))


def _file(table: Table, path: str) -> Listed:
    source = _source(table, "source", table.text("source"))
    return Listed(path, _mode(table, stat.S_IFREG, "0644"), source)


def _binary(table: Table, path: str) -> Binary:
    step, _colon, source = table.text("from").partition(":")
    if step != TOOLS or name_problem(source):
        raise table.error(
            "from", "names no program", f'Write e.g. "{TOOLS}:usr/sbin/xl": step and path.'
        )
    also = _libraries(table, "also")
    return Binary(path, _mode(table, stat.S_IFREG, "0755"), source, also)


def _machine(top: Table) -> tuple[str, ...]:
    if not top.has("libraries"):
        return ()
    table = top.table("libraries")
    names = _libraries(table, "machine")
    table.finish()
    return names


def _libraries(table: Table, key: str) -> tuple[str, ...]:
    names = table.texts(key, ())
    for name in names:
        if not _LIBRARY.fullmatch(name):
            raise table.error(key, f"{name!r} is no library", 'Write e.g. "libc.so.6".')
    if len(set(names)) != len(names):
        raise table.error(key, "names one twice", "Remove one of the two.")
    return names


def _directory(table: Table, path: str) -> Entry:
    return Entry(path, _mode(table, stat.S_IFDIR, "0755"))


def _link(table: Table, path: str) -> Entry:
    target = table.text("target")
    if not target or not target.isprintable():
        raise table.error("target", "is no path", 'Write a path such as "/init".')
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def _node(table: Table, path: str) -> Entry:
    kind = table.text("type")
    if kind not in _NODE_TYPES:
        raise table.error("type", f"{kind!r} is no node type", 'Write "char" or "block".')
    major, minor = table.number("major"), table.number("minor")
    for key, value, limit in (("major", major, _MAX_MAJOR), ("minor", minor, _MAX_MINOR)):
        if not 0 <= value <= limit:
            raise table.error(key, f"{value} is no device number", f"Use 0 to {limit}.")
    mode = _mode(table, _NODE_TYPES[kind], "0600")
    return Entry(path, mode, major=major, minor=minor)
