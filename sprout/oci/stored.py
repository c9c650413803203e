"""An image layout as the source of artifacts and of what refers to them."""

from __future__ import annotations

from sprout.oci.layout import Layout
from sprout.oci.model import REF_NAME, Descriptor


class Stored:
    """A layout, asked for manifests and blobs in the way that a registry is."""

    def __init__(self, layout: Layout) -> None:
        """Take an open layout."""
        self.layout = layout
        self._subjects: dict[str, str | None] = {}

    def manifest(self, name: str) -> tuple[bytes, str] | None:
        """Give a manifest that `index.json` lists, by name or digest; None when it lists none.

        Raises RefusedError when its bytes are not as listed.
        """
        for row in self.layout.index.manifests:
            if name in (row.digest, row.annotations.get(REF_NAME)):
                return self.layout.manifest(row)[0], row.media_type
        return None

    def small_blob(self, row: Descriptor, limit: int) -> bytes:
        """Give a blob of at most `limit` bytes, verified; raises RefusedError."""
        return self.layout.small_blob(row, limit)

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """Give the manifests that `index.json` lists without a name and whose subject this is."""
        rows = {
            row.digest: row
            for row in self.layout.index.manifests
            if REF_NAME not in row.annotations and row.artifact_type is not None
        }
        return tuple(row for row in rows.values() if self._subject(row) == digest)

    def _subject(self, row: Descriptor) -> str | None:
        # Each is read once, however often the index names it and somebody asks.
        if row.digest not in self._subjects:
            subject = self.layout.manifest(row)[1].subject
            self._subjects[row.digest] = None if subject is None else subject.digest
        return self._subjects[row.digest]
