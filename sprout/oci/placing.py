"""Where a pull collects what it fetches, and how files come to their names: all, or none."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.oci.refused import RefusedError

SCRATCH_INSIDE = ".sprout-pull"


class OutOfSpaceError(SproutError):
    """What is to be fetched does not fit; what was fetched before is of no use."""


def check_places(target: Path, names: Iterable[str]) -> None:
    """Refuse to write through a link, or over what is no file, inside the target directory."""
    if target.exists() and not target.is_dir():
        raise SproutError(f"{target}: is no directory", "Name another place with -o.")
    for name in names:
        path = target
        for part in name.split("/"):
            path = path / part
            last = path == target / name
            with suppress(FileNotFoundError):
                mode = path.lstat().st_mode
                if not (stat.S_ISREG(mode) if last else stat.S_ISDIR(mode)):
                    kind = "regular file" if last else "directory"
                    raise SproutError(f"{path}: is there and is no {kind}", "Move it away.")


@contextmanager
def scratch_for(target: Path) -> Iterator[Path]:
    """Give a directory for what is fetched, on the same file system as the target.

    It is beside the target, and stays there for the next try when a registry breaks off or the user
    does; where it cannot be beside (the target is a mount point, or its parent is not ours to write
    to) it is inside, and stays only when this process is killed. What is refused is removed, and
    with it the directories that were made for it. Raises SproutError when others decide what is in
    it, OSError when the file system refuses.
    """
    target = target.absolute()
    made = _make_parents(target.parent)
    inside = _must_be_inside(target)
    scratch = target / SCRATCH_INSIDE if inside else target.with_name(f".{target.name}.sprout-pull")
    keep = False
    try:
        with ExitStack() as stack:
            try:
                _make_scratch(scratch)
                stack.enter_context(_alone(scratch))
            except SproutError:
                keep = True  # it is somebody else's
                raise
            try:
                yield scratch
            except (RefusedError, OutOfSpaceError, OSError):
                raise
            except BaseException:
                keep = not inside
                raise
    finally:
        if not keep:
            shutil.rmtree(scratch, ignore_errors=True)
            for folder in made:
                _remove_empty(folder)


def _make_parents(folder: Path) -> list[Path]:
    """Make a directory and what it lies in; give those that were made, the deepest first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
    return missing


def _must_be_inside(target: Path) -> bool:
    if not target.name:
        return True
    if not target.is_dir():
        return False
    if not os.access(target.parent, os.W_OK | os.X_OK):
        return True
    return _mount_of(target) != _mount_of(target.parent)


def _mount_of(folder: Path) -> str:
    """Give the number of the mount that a directory is on (proc(5), fdinfo, mnt_id).

    Not its device: between two mounts of one file system nothing can be moved either.
    """
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        lines = Path(f"/proc/self/fdinfo/{number}").read_text().splitlines()
    finally:
        os.close(number)
    return next(line.split()[1] for line in lines if line.startswith("mnt_id:"))


def _make_scratch(scratch: Path) -> None:
    """Make the scratch directory, or take the one that this user's last run left there."""
    with suppress(FileExistsError):
        scratch.mkdir(0o700)
    status = scratch.lstat()
    own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    if not own or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SproutError(
            f"{scratch}: is there, and others decide what is in it",
            "Remove it, or name another place.",
        )


@contextmanager
def _alone(scratch: Path) -> Iterator[None]:
    """Hold a scratch directory for one process; raises SproutError when another one has it."""
    with (scratch / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SproutError(
                f"{scratch}: another pull into this directory is running", "Wait for it."
            ) from error
        yield


def install(target: Path, scratch: Path, files: Mapping[str, Path]) -> None:
    """Move fetched files to their names below `target`; a file that two names have is copied.

    A target that is new appears whole. In one that is there files are replaced one by one, and put
    back when one of them cannot be. Raises OSError.
    """
    new = scratch / ".new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    left = list(files.values())
    for name, source in files.items():
        place = new / name
        place.parent.mkdir(parents=True, exist_ok=True)
        left.remove(source)
        if source in left:
            shutil.copyfile(source, place)
            _sync([place])
        else:
            source.replace(place)
    _sync(path for path in new.rglob("*") if path.is_dir())
    if not target.exists():
        new.rename(target)
        _sync((target, target.absolute().parent))
        return
    _replace(target, new, scratch / ".old", files)


def _replace(target: Path, new: Path, old: Path, names: Iterable[str]) -> None:
    shutil.rmtree(old, ignore_errors=True)
    with ExitStack() as undo:
        folders = {target}
        for name in names:
            place, before = target / name, old / name
            for folder in reversed(_make_parents(place.parent)):
                undo.callback(_remove_empty, folder)
            if place.exists():
                before.parent.mkdir(parents=True, exist_ok=True)
                _put_aside(place, before)
                undo.callback(before.replace, place)
            else:
                undo.callback(place.unlink, missing_ok=True)
            (new / name).replace(place)
            folders.add(place.parent)
        _sync(folders)
        undo.pop_all()


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # somebody else has put something there
        folder.rmdir()


def install_directory(target: Path, scratch: Path, made: Path, last: str) -> None:
    """Move a directory that was made in a scratch directory to its place, which is new or empty.

    What it holds is on the disk then. Into a mount point its entries are moved one by one, the one
    named `last` at the end: without it nobody takes the rest for whole. Raises OSError.
    """
    _sync(path for path in made.rglob("*") if path.is_file() or path.is_dir())
    if scratch.parent == target:
        for path in sorted(made.iterdir(), key=lambda path: path.name == last):
            path.rename(target / path.name)
        _sync([target])
        return
    made.rename(target)
    _sync((target, target.parent))


def _put_aside(place: Path, before: Path) -> None:
    try:
        os.link(place, before)
    except OSError:  # FAT has no second names
        place.rename(before)


def _sync(paths: Iterable[Path]) -> None:
    """Have files or directories written to the disk."""
    for path in paths:
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
