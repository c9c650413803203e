"""Fetches an artifact that somebody trusted has signed; otherwise nothing is left behind.

From the signed digest everything chains: index → manifest → blobs. Blobs are collected beside the
target directory, under their digests, so that a run that was killed goes on where it was; only when
all of them are verified are files moved into the target.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import cannot_write
from sprout.oci.layout import check_size
from sprout.oci.model import TITLE, Descriptor, Index, Manifest, parse_manifest
from sprout.oci.names import check_file_name
from sprout.oci.policy import Policy, check_manifests, check_policy
from sprout.oci.refused import RefusedError, altered, malformed
from sprout.oci.remote import Remote
from sprout.oci.trust import Accepted

PARALLEL = 4


@dataclass(frozen=True)
class Chosen:
    """An artifact whose signature is good, and the files that will be fetched of it, by name."""

    digest: str
    accepted: Accepted
    architecture: str | None
    files: dict[str, Descriptor]

    @property
    def size(self) -> int:
        """Give the bytes of all files."""
        return sum(row.size for row in self.files.values())


def choose(remote: Remote, policy: Policy, architecture: str) -> Chosen:
    """Resolve the reference, check what `policy` demands, and read the manifest for `architecture`.

    Raises RefusedError when a demand is not met or something is malformed.
    """
    where = str(remote.reference)
    root, parsed = remote.root()
    accepted = check_policy(policy, remote, root, parsed, where)
    if isinstance(parsed, Manifest):
        check_manifests(policy, remote, [root], where)
        return Chosen(root.digest, accepted, None, files_of(parsed, where))
    row = for_architecture(parsed, architecture, where)
    check_manifests(policy, remote, [row], where)
    inner = read_manifest(remote, row, where)
    if isinstance(inner, Index):
        raise malformed(where, "is an index in an index")
    return Chosen(root.digest, accepted, row.architecture, files_of(inner, where))


def for_architecture(index: Index, architecture: str, where: str) -> Descriptor:
    """Give the manifest of an index that is for `architecture`; raises SproutError."""
    rows = [row for row in index.manifests if row.architecture in (None, architecture)]
    if len(rows) != 1:
        there = ", ".join(sorted({row.architecture or "any" for row in index.manifests})) or "none"
        raise SproutError(
            f"{where}: has not exactly one manifest for {architecture}",
            f"Choose another with --arch; it has: {there}.",
        )
    return rows[0]


def files_of(manifest: Manifest, where: str) -> dict[str, Descriptor]:
    """Give a manifest's files by name, whose names lead nowhere else; raises RefusedError."""
    files: dict[str, Descriptor] = {}
    for row in manifest.layers:
        name = check_file_name(row.annotations.get(TITLE, row.digest.replace(":", "-")), where)
        if name in files:
            raise malformed(where, f"has the file {name} twice")
        files[name] = row
    for name in files:
        parents = name.split("/")[:-1]
        if any("/".join(parents[: count + 1]) in files for count in range(len(parents))):
            raise malformed(where, f"has {name} below a file")
    return files


def fetch_manifest(remote: Remote, row: Descriptor, where: str) -> tuple[bytes, Manifest | Index]:
    """Fetch a manifest that a descriptor names: its bytes, and what they say.

    Raises RefusedError when it differs.
    """
    found = remote.manifest(row.digest)
    if found is None:
        raise altered(where, f"{row.digest} is named, but not there")
    check_size(len(found[0]), row, f"{where}: {row.digest}")
    return found[0], parse_manifest(found[0], f"{where}: {row.digest}", row.media_type)


def read_manifest(remote: Remote, row: Descriptor, where: str) -> Manifest | Index:
    """Fetch and read a manifest that a descriptor names; raises RefusedError when it differs."""
    return fetch_manifest(remote, row, where)[1]


def pull(remote: Remote, chosen: Chosen, target: Path, advance: Callable[[int], None]) -> None:
    """Fetch the files of `chosen` into the directory `target`.

    Raises RefusedError when a blob is not as described, SproutError when the registry or the file
    system fails; then `target` is as it was.
    """
    _check_places(target, chosen)
    if not target.absolute().name:
        raise SproutError(f"{target}: there is no place beside it", "Name a directory in it.")
    scratch = target.absolute().with_name(f".{target.absolute().name}.sprout-pull")
    rows = {row.digest: row for row in chosen.files.values()}
    try:
        _make_scratch(scratch)
        free = shutil.disk_usage(scratch).free
    except OSError as error:
        raise cannot_write(scratch, error) from error

    def path_of(row: Descriptor) -> Path:
        return scratch / row.digest.replace(":", "-")

    held = sum(path_of(row).stat().st_size for row in rows.values() if path_of(row).exists())
    needed = sum(row.size for row in rows.values()) - held
    if needed > free:
        _forget(scratch)
        raise SproutError(
            f"{target}: {needed:,} bytes are needed, and {free:,} are free",
            "Free some space or name another place; nothing half-written was left.",
        )
    try:
        with _alone(scratch), ThreadPoolExecutor(PARALLEL) as pool:
            jobs = [pool.submit(remote.fetch, row, path_of(row), advance) for row in rows.values()]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                for job in jobs:
                    job.cancel()
                raise
            _install(target, chosen, path_of)
    except RefusedError:
        _forget(scratch)
        raise
    except OSError as error:
        _forget(scratch)
        raise cannot_write(target, error) from error
    _forget(scratch)


def _check_places(target: Path, chosen: Chosen) -> None:
    """Refuse to write through a link, or over what is no file, inside the target directory."""
    if target.exists() and not target.is_dir():
        raise SproutError(f"{target}: is no directory", "Name another place with -o.")
    for name in chosen.files:
        path = target
        for part in name.split("/"):
            path = path / part
            last = path == target / name
            with suppress(FileNotFoundError):
                mode = path.lstat().st_mode
                if not (stat.S_ISREG(mode) if last else stat.S_ISDIR(mode)):
                    kind = "regular file" if last else "directory"
                    raise SproutError(f"{path}: is there and is no {kind}", "Move it away.")


def _install(target: Path, chosen: Chosen, path_of: Callable[[Descriptor], Path]) -> None:
    """Move the fetched files to their names; one that two names have is copied for the first."""
    left = [row.digest for row in chosen.files.values()]
    folders = {target}
    target.mkdir(parents=True, exist_ok=True)
    for name, row in chosen.files.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        folders.add(place.parent)
        left.remove(row.digest)
        if row.digest in left:
            staging = place.with_name(f".sprout-{os.getpid()}.tmp")
            shutil.copyfile(path_of(row), staging)
            staging.replace(place)
        else:
            path_of(row).replace(place)
    for folder in folders:
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _make_scratch(scratch: Path) -> None:
    """Make the scratch directory, or take the one that this user's last run left there."""
    scratch.parent.mkdir(parents=True, exist_ok=True)
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


def _forget(scratch: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
