"""A blob of a layout on its way out: hashed beside the sending, which does not wait for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from sprout.oci.connections import PATIENCE_S, TRICKLE
from sprout.oci.layout import Layout, check_size
from sprout.oci.model import Descriptor

_PIECE = 1 << 20


class _ClosedError(Exception):
    """Nobody wants to know any more."""


class Sending:
    """A file as the body of a request; its last piece is given out only when its digest is right.

    A registry that does not check digests itself so never has a whole blob that is another.
    """

    def __init__(self, layout: Layout, row: Descriptor) -> None:
        """Open the blob; raises SproutError when it is not there."""
        self._row = row
        self._where = f"{layout.path}: {row.digest}"
        self._file = layout.opened(row)
        self._read = 0
        self._closed = False
        self._started = time.monotonic()
        self._pool = ThreadPoolExecutor(1)
        self._checked: Future[None] = self._pool.submit(layout.check_blob, row, self._count)

    def __len__(self) -> int:
        """Give the size; requests sends it as Content-Length."""
        return self._row.size

    def __iter__(self) -> Iterator[bytes]:
        """Give the pieces; that there are any tells requests that this is a stream."""
        while piece := self.read(_PIECE):
            yield piece

    def _count(self, _: int) -> None:
        if self._closed:
            raise _ClosedError

    def read(self, size: int = _PIECE) -> bytes:
        """Give the next piece; raises RefusedError at the end when the digest is another.

        Raises ConnectionError when whoever takes them takes next to nothing.
        """
        elapsed = time.monotonic() - self._started
        if elapsed > PATIENCE_S and self._read / elapsed < TRICKLE:
            raise ConnectionError("it takes next to nothing")
        piece = self._file.read(size if size > 0 else _PIECE) or b""
        self._read += len(piece)
        if self._read >= self._row.size or not piece:
            check_size(self._read, self._row, self._where)
            self._checked.result()
        return piece

    def close(self) -> None:
        """Close the file, and end what reads it."""
        self._closed = True
        self._pool.shutdown(cancel_futures=True)
        self._file.close()
