"""A blob of a layout on its way out: hashed while it is read, so that it is read only once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sprout.oci.digest import check_hash, hasher
from sprout.oci.layout import check_size
from sprout.oci.model import Descriptor

_PIECE = 1 << 20


class Sending:
    """A file as the body of a request; its last piece is given out only when its digest is right.

    A registry that does not check digests itself so never has a whole blob that is another.
    """

    def __init__(self, row: Descriptor, path: Path) -> None:
        """Open the file; raises RefusedError when it has another size than described."""
        self._row = row
        self._where = str(path)
        check_size(path.stat().st_size, row, self._where)
        self._file: IO[bytes] = path.open("rb", buffering=0)
        self._hash = hasher(row.digest)
        self._read = 0

    def __len__(self) -> int:
        """Give the size; requests sends it as Content-Length."""
        return self._row.size

    def __iter__(self) -> Iterator[bytes]:
        """Give the pieces; that there are any tells requests that this is a stream."""
        while piece := self.read(_PIECE):
            yield piece

    def read(self, size: int = _PIECE) -> bytes:
        """Give the next piece; raises RefusedError at the end when the digest is another."""
        piece = self._file.read(size if size > 0 else _PIECE)
        self._hash.update(piece)
        self._read += len(piece)
        if self._read >= self._row.size or not piece:
            check_size(self._read, self._row, self._where)
            check_hash(self._hash, self._row.digest, self._where)
        return piece

    def close(self) -> None:
        """Close the file."""
        self._file.close()
