"""An image layout as the source of artifacts and of what refers to them."""

from __future__ import annotations

from collections.abc import Sequence

from sprout.oci.digest import tag_of
from sprout.oci.layout import Layout
from sprout.oci.model import REF_NAME, Descriptor, Index


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

    def strays(self, roots: Sequence[Descriptor]) -> list[Descriptor]:
        """Give what `index.json` lists and neither belongs to one of `roots` nor refers to it.

        Raises RefusedError for what is malformed.
        """
        own = {row.digest for row in roots}
        for root in roots:
            parsed = self.layout.manifest(root)[1]
            own |= {row.digest for row in parsed.manifests} if isinstance(parsed, Index) else set()
        tags = {tag_of(digest, ".sig") for digest in own}
        return [
            row
            for row in self.layout.index.manifests
            if row.digest not in own
            and row.annotations.get(REF_NAME) not in tags
            and self._subject(row) not in own
        ]

    def _subject(self, row: Descriptor) -> str | None:
        # Each is read once, however often the index names it and somebody asks.
        if row.digest not in self._subjects:
            subject = self.layout.manifest(row)[1].subject
            self._subjects[row.digest] = None if subject is None else subject.digest
        return self._subjects[row.digest]
