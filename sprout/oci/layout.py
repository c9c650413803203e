"""An OCI image layout on disk (image-spec 1.1, image-layout.md): the source of truth.

DIR/oci-layout, DIR/index.json, DIR/blobs/ALGORITHM/HEX. A new layout appears under its name whole
or not at all, and the same contents always make the same bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import cannot_read, read_bounded, staged_directory, staged_file
from sprout.oci.digest import check_bytes, check_hash, digest_of, hasher
from sprout.oci.model import (
    MAX_MANIFEST_BYTES,
    REF_NAME,
    Descriptor,
    Index,
    Manifest,
    parse_manifest,
)
from sprout.oci.refused import altered, malformed
from sprout.oci.strict_json import parse_json, write_json

_MARK = {"imageLayoutVersion": "1.0.0"}
_MAX_MARK_BYTES = 4096
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Layout:
    """An image layout, whose `index.json` was read."""

    path: Path
    index: Index

    def blob_path(self, digest: str) -> Path:
        """Give where the blob of a parsed digest lies."""
        return self.path / "blobs" / digest.replace(":", "/", 1)

    def root(self, name: str | None) -> Descriptor:
        """Give the entry of `index.json` with this name, or the only artifact when it is None.

        Raises SproutError when there is none, or more than one.
        """
        rows = [row for row in self.index.manifests if REF_NAME in row.annotations]
        names = ", ".join(row.annotations[REF_NAME] for row in rows) or "none"
        found = [row for row in rows if name in (None, row.annotations[REF_NAME])]
        if len(found) != 1:
            problem = f"holds no artifact {name}" if name else "holds not exactly one artifact"
            raise SproutError(f"{self.path}: {problem}", f"Name one of: {names}.")
        return found[0]

    def manifest(self, row: Descriptor) -> tuple[bytes, Manifest | Index]:
        """Give a manifest's bytes, verified against its descriptor, and what they say.

        Raises RefusedError when they differ or are malformed, SproutError when there are none.
        """
        where = f"{self.path}: {row.digest}"
        if row.size > MAX_MANIFEST_BYTES:
            raise malformed(where, f"the manifest is longer than {MAX_MANIFEST_BYTES:,} bytes")
        data = read_bounded(self.regular(row), row.size + 1)
        check_size(len(data), row, where)
        check_bytes(data, row.digest, where)
        return data, parse_manifest(data, where, row.media_type)

    def check_blob(self, row: Descriptor) -> Path:
        """Give the path of a blob that was hashed and is as its descriptor says.

        Raises RefusedError when it is not, SproutError when it is not there.
        """
        path, where, found = self.regular(row), f"{self.path}: {row.digest}", hasher(row.digest)
        check_size(path.stat().st_size, row, where)
        with path.open("rb", buffering=0) as stream:
            buffer = memoryview(bytearray(_CHUNK))
            while count := stream.readinto(buffer):
                found.update(buffer[:count])
        check_hash(found, row.digest, where)
        return path

    def regular(self, row: Descriptor) -> Path:
        """Give the path of a blob that is there, and no link; it was not hashed.

        Raises SproutError when it is not there.
        """
        path = self.blob_path(row.digest)
        if path.is_symlink() or not path.is_file():
            raise SproutError(
                f"{path}: no such blob, though a manifest of the layout names it",
                "Pack or copy the layout again.",
            )
        return path


def check_size(size: int, row: Descriptor, where: str) -> None:
    """Raise RefusedError when something is longer or shorter than its descriptor says."""
    if size != row.size:
        word = "longer" if size > row.size else "shorter"
        raise altered(where, f"is {word} than the {row.size:,} bytes declared ({size:,})")


def is_layout(path: Path) -> bool:
    """Tell whether a directory looks like an image layout."""
    return (path / "oci-layout").is_file() and (path / "index.json").is_file()


def open_layout(path: Path) -> Layout:
    """Read a layout's mark and index; raises SproutError when it is none, or is malformed."""
    if not is_layout(path):
        raise SproutError(
            f"{path}: is no OCI image layout", "Name a directory that `sprout pack` made."
        )
    mark = parse_json(read_bounded(path / "oci-layout", _MAX_MARK_BYTES), f"{path}: oci-layout")
    if mark.get("imageLayoutVersion") != _MARK["imageLayoutVersion"]:
        raise malformed(f"{path}: oci-layout", "its version is unknown")
    where = f"{path}: index.json"
    index = parse_manifest(read_bounded(path / "index.json", MAX_MANIFEST_BYTES), where)
    if not isinstance(index, Index):
        raise malformed(where, "is no index")
    return Layout(path, index)


class NewLayout:
    """A layout that is being written; `finish` makes it one."""

    def __init__(self, path: Path) -> None:
        """Begin in the empty directory `path`."""
        self._path = path
        (path / "blobs" / "sha256").mkdir(parents=True)

    def add(self, data: bytes) -> str:
        """Store some bytes and give their digest; twice the same is stored once."""
        digest = digest_of(data)
        target = self._path / "blobs" / digest.replace(":", "/", 1)
        if not target.exists():
            with staged_file(target) as staging:
                staging.write_bytes(data)
        return digest

    def add_file(self, source: Path) -> tuple[str, int]:
        """Store a file's bytes, read once in pieces, and give their digest and number.

        Raises SproutError when the file cannot be read or the copy not be written.
        """
        found, size = hashlib.sha256(), 0
        folder = self._path / "blobs" / "sha256"
        staging = folder / f".{source.name}.tmp"
        try:
            with source.open("rb", buffering=0) as reader, staging.open("wb") as writer:
                while chunk := reader.read(_CHUNK):
                    found.update(chunk)
                    writer.write(chunk)
                    size += len(chunk)
                writer.flush()
                os.fsync(writer.fileno())
        except OSError as error:
            raise cannot_read(source, error) from error
        staging.replace(folder / found.hexdigest())
        return f"sha256:{found.hexdigest()}", size

    def finish(self, roots: list[Descriptor]) -> None:
        """Write `index.json`, then the mark that makes this a layout."""
        (self._path / "index.json").write_bytes(Index(tuple(roots)).to_bytes())
        (self._path / "oci-layout").write_bytes(write_json(_MARK))


@contextmanager
def new_layout(path: Path) -> Iterator[NewLayout]:
    """Give a layout to write; it stands at `path` once the block is left without an error."""
    with staged_directory(path) as staging:
        yield NewLayout(staging)
