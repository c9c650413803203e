"""An OCI image layout (image-spec 1.1, image-layout.md): the source of truth.

oci-layout, index.json, blobs/ALGORITHM/HEX, in a directory or a tar archive. A new layout appears
under its name whole or not at all, and the same contents always make the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import cannot_read, staged_directory, staged_file
from sprout.oci.contents import Contents, Directory, is_tar, open_tar
from sprout.oci.digest import check_bytes, check_hash, digest_of, hasher, is_tag_form
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
_MARK_NAME = "oci-layout"
_INDEX_NAME = "index.json"
_MAX_MARK_BYTES = 4096
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Layout:
    """An image layout, whose `index.json` was read."""

    path: Path
    index: Index
    contents: Contents

    def artifacts(self) -> list[Descriptor]:
        """Give the entries of `index.json` that have a name of their own.

        Others refer to these, or are signatures in cosign's older form, which go by a tag.
        """
        names = ((row, row.annotations.get(REF_NAME)) for row in self.index.manifests)
        return [row for row, name in names if name is not None and not is_tag_form(name)]

    def root(self, name: str | None) -> Descriptor:
        """Give the artifact with this name, or the only one when it is None.

        Raises SproutError when there is none, or more than one.
        """
        rows = self.artifacts()
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
        data = self.small_blob(row, MAX_MANIFEST_BYTES)
        return data, parse_manifest(data, where, row.media_type)

    def small_blob(self, row: Descriptor, limit: int) -> bytes:
        """Give a blob of at most `limit` bytes, verified against its descriptor.

        Raises RefusedError when it differs or is longer, SproutError when it is not there.
        """
        where = f"{self.path}: {row.digest}"
        if row.size > limit:
            raise altered(where, f"is longer than {limit:,} bytes")
        with self.opened(row) as stream:
            data = read_all(stream, row.size + 1)
        check_size(len(data), row, where)
        check_bytes(data, row.digest, where)
        return data

    def check_blob(self, row: Descriptor, advance: Callable[[int], None] = lambda _: None) -> None:
        """Hash a blob, and tell `advance` of the bytes.

        Raises RefusedError when it is not as described, SproutError without it.
        """
        where, found, size = f"{self.path}: {row.digest}", hasher(row.digest), 0
        with self.opened(row) as stream:
            buffer = memoryview(bytearray(_CHUNK))
            while size <= row.size and (count := stream.readinto(buffer)):
                found.update(buffer[:count])
                size += count
                advance(count)
        check_size(size, row, where)
        check_hash(found, row.digest, where)

    def opened(self, row: Descriptor) -> io.RawIOBase:
        """Give a blob to read, which was not hashed yet; the caller closes it.

        Raises SproutError when it is not there.
        """
        name = f"blobs/{row.digest.replace(':', '/', 1)}"
        found = self.contents.opened(name)
        if found is None:
            raise SproutError(
                f"{self.path}: no such blob: {name}, though a manifest of the layout names it",
                "Pack or copy the layout again.",
            )
        return found


def read_all(stream: io.RawIOBase, limit: int) -> bytes:
    """Give the next `limit` bytes of an unbuffered file, or what there is of them."""
    pieces, left = [], limit
    while left and (piece := stream.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def check_size(size: int, row: Descriptor, where: str) -> None:
    """Raise RefusedError when something is longer or shorter than its descriptor says."""
    if size != row.size:
        word = "longer" if size > row.size else "shorter"
        raise altered(where, f"is {word} than the {row.size:,} bytes declared ({size:,})")


def is_layout(path: Path) -> bool:
    """Tell whether something looks like an image layout: a directory, or a tar archive."""
    if path.is_file():
        return is_tar(path)
    return (path / _MARK_NAME).is_file() and (path / _INDEX_NAME).is_file()


def open_layout(path: Path) -> Layout:
    """Read a layout's mark and index; raises SproutError when it is none, or is malformed."""
    contents: Contents = open_tar(path) if path.is_file() and is_tar(path) else Directory(path)
    data = []
    for name, limit in ((_MARK_NAME, _MAX_MARK_BYTES), (_INDEX_NAME, MAX_MANIFEST_BYTES)):
        stream = contents.opened(name)
        if stream is None:
            raise SproutError(
                f"{path}: is no OCI image layout",
                "Name a directory that `sprout pack` made, or an archive of one.",
            )
        with stream:
            data.append(read_all(stream, limit + 1))
        if len(data[-1]) > limit:
            raise malformed(f"{path}: {name}", f"is longer than {limit:,} bytes")
    mark = parse_json(data[0], f"{path}: {_MARK_NAME}")
    if mark.get("imageLayoutVersion") != _MARK["imageLayoutVersion"]:
        raise malformed(f"{path}: {_MARK_NAME}", "its version is unknown")
    where = f"{path}: {_INDEX_NAME}"
    index = parse_manifest(data[1], where)
    if not isinstance(index, Index):
        raise malformed(where, "is no index")
    return Layout(path, index, contents)


class NewLayout:
    """A layout that is being written; `finish` makes it one."""

    def __init__(self, path: Path) -> None:
        """Begin in the empty directory `path`."""
        self._path = path
        (path / "blobs" / "sha256").mkdir(parents=True)

    def add(self, data: bytes, digest: str | None = None) -> str:
        """Store some bytes and give their digest; twice the same is stored once.

        `digest` is the one that they are named by, and were verified by, where there is one.
        """
        digest = digest or digest_of(data)
        target = self.place(digest)
        if not target.exists():
            with staged_file(target) as staging:
                staging.write_bytes(data)
        return digest

    def place(self, digest: str) -> Path:
        """Give where the blob of a parsed digest belongs; its directory is there."""
        path = self._path / "blobs" / digest.replace(":", "/", 1)
        path.parent.mkdir(exist_ok=True)
        return path

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
        (self._path / _INDEX_NAME).write_bytes(Index(tuple(roots)).to_bytes())
        (self._path / _MARK_NAME).write_bytes(write_json(_MARK))


@contextmanager
def new_layout(path: Path) -> Iterator[NewLayout]:
    """Give a layout to write; it stands at `path` once the block is left without an error."""
    with staged_directory(path) as staging:
        yield NewLayout(staging)
