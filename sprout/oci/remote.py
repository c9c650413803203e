"""One repository in a registry (distribution-spec 1.1): manifests, blobs, and what refers to them.

Nothing that it answers is believed: whatever is named by a digest is hashed here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urljoin

import requests

from sprout.base.errors import SproutError
from sprout.oci.digest import check_bytes, check_hash, digest_of, hasher, parse_digest, tag_of
from sprout.oci.layout import check_size
from sprout.oci.model import (
    EMPTY_BYTES,
    INDEX,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    Manifest,
    parse_manifest,
)
from sprout.oci.names import Reference
from sprout.oci.refused import RefusedError, altered
from sprout.oci.sending import Sending
from sprout.oci.web import Access, Web, pieces, read_body

_ACCEPT = f"{MANIFEST}, {INDEX}"
_CHUNK = 1 << 20
_MAX_REFERRERS = 1024
_MAX_PAGES = 16


@dataclass(frozen=True)
class _Answer:
    """What was read: status, body of a 200, headers, and the address of the next page."""

    status: int
    data: bytes
    headers: Mapping[str, str]
    following: str | None


class Remote:
    """A repository, as the source and the target of artifacts."""

    def __init__(self, reference: Reference, access: Access) -> None:
        """Prepare to speak to it; nothing is sent yet."""
        self.reference = reference
        self.web = Web(reference, access)
        self._attempts = access.attempts

    def abort(self) -> None:
        """End all that is under way, in whichever thread."""
        self.web.abort()

    def manifest(self, name: str) -> tuple[bytes, str] | None:
        """Give the bytes of a manifest by its tag or digest, and its media type.

        None when there is none of that name. Raises RefusedError when it is too long or has
        another digest than was asked for, SproutError when the registry does not answer.
        """
        where = f"{self.reference.name}: {name}"
        found = self._read(f"manifests/{name}", MAX_MANIFEST_BYTES, where, Accept=_ACCEPT)
        if found.status != 200:
            return None
        if ":" in name:
            check_bytes(found.data, name, where)
        said = found.headers.get("Docker-Content-Digest")
        if said is not None:
            check_bytes(found.data, parse_digest(said, where), where)
        return found.data, found.headers.get("Content-Type", "").partition(";")[0].strip()

    def _read(
        self,
        path: str,
        limit: int,
        where: str,
        *,
        wanted: tuple[int, ...] = (200, 404),
        **headers: str,
    ) -> _Answer:
        """Give a whole answer of at most `limit` bytes; what breaks off is asked for again."""
        failures = 0
        while True:
            with self.web.ask("GET", path, wanted=wanted, headers=headers) as answer:
                try:
                    data = read_body(answer, limit, where) if answer.status_code == 200 else b""
                except requests.exceptions.RequestException as error:
                    failures += 1
                    if failures >= self._attempts:
                        raise _broken(where, error) from error
                else:
                    following = answer.links.get("next", {}).get("url")
                    return _Answer(answer.status_code, data, answer.headers, following)
            self.web.rest(failures, path)

    def root(self) -> tuple[Descriptor, Manifest | Index]:
        """Give what the reference names; the digest in its descriptor was computed here.

        Raises as `manifest` does, and SproutError when there is nothing.
        """
        found = self.manifest(self.reference.digest or str(self.reference.tag))
        if found is None:
            raise SproutError(
                f"{self.reference}: the registry has no such artifact", "Check its tag or digest."
            )
        data, kind = found
        parsed = parse_manifest(data, str(self.reference), kind or None)
        return Descriptor(parsed.media_type, digest_of(data), len(data)), parsed

    def small_blob(self, row: Descriptor, limit: int) -> bytes:
        """Give a blob of at most `limit` bytes, verified; raises as `fetch` does."""
        where = f"{self.reference.name}: {row.digest}"
        if row.size > limit:
            raise altered(where, f"is longer than {limit:,} bytes")
        if row.digest == digest_of(EMPTY_BYTES):
            return EMPTY_BYTES
        found = self._read(f"blobs/{row.digest}", row.size + 1, where)
        if found.status != 200:
            raise altered(where, "is named, but not there")
        check_size(len(found.data), row, where)
        check_bytes(found.data, row.digest, where)
        return found.data

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """Give what refers to a manifest: by the API, else by the fallback tag (1.1).

        The list may come in several pages (RFC 8288, "next"). Raises RefusedError when it is
        malformed or too long.
        """
        where = f"{self.reference.name}: referrers of {digest}"
        rows: tuple[Descriptor, ...] = ()
        place = f"referrers/{digest}"
        for _ in range(_MAX_PAGES):
            found = self._read(place, MAX_MANIFEST_BYTES, where, wanted=(200, 400, 404, 405))
            listed = found.headers.get("Content-Type", "").partition(";")[0] == INDEX
            if found.status != 200 or not listed:
                break
            rows += _referrers(found.data, where)
            if found.following is None:
                return rows
            place = self._same_registry(f"{self.web.base}{place}", found.following, where)
        else:
            raise altered(where, f"is a list of more than {_MAX_PAGES} pages")
        tagged = self.manifest(tag_of(digest))
        return () if tagged is None else _referrers(tagged[0], where)

    def _same_registry(self, base: str, following: str, where: str) -> str:
        """Give the address of a list's next page when it is in this repository."""
        try:
            url = urljoin(base, following)
        except ValueError as error:
            raise altered(where, "goes on at what is no address") from error
        if not url.startswith(self.web.base):
            raise altered(where, f"goes on elsewhere: {url[:120]!r}")
        return url

    def fetch(self, row: Descriptor, target: Path, advance: Callable[[int], None]) -> None:
        """Download a blob to `target`, which is on the disk and verified when this returns.

        What `target` already holds is the beginning: it is hashed, and only the rest is fetched
        (RFC 9110, section 14, Range). Raises RefusedError when the blob is not as described (then
        `target` is gone), SproutError when the registry fails for good (it stays), OSError when
        the file system refuses.
        """
        where = f"{self.reference.name}: {row.digest}"
        failures, shown, begun = 0, 0, target.exists()

        def reached(count: int) -> None:
            # What is fetched again after a broken connection is not counted again.
            nonlocal shown
            if count > shown:
                advance(count - shown)
                shown = count

        while True:
            before = shown
            try:
                self._fetch_rest(row, target, reached, where)
            except requests.exceptions.RequestException as error:
                # Only what was never there before is progress: a registry may start anew for ever.
                failures = failures + 1 if shown <= before else 1
                begun = True
                if failures >= self._attempts:
                    raise _broken(where, error) from error
                self.web.rest(failures, where)
            except RefusedError:
                target.unlink(missing_ok=True)
                if not begun:
                    raise
                begun = False  # what came before it broke off may have been wrong: once, afresh
            else:
                return

    def _fetch_rest(
        self, row: Descriptor, target: Path, reached: Callable[[int], None], where: str
    ) -> None:
        found = hasher(row.digest)
        with target.open("a+b", buffering=0) as file:
            file.seek(0)
            there = 0
            while chunk := file.read(_CHUNK):
                found.update(chunk)
                there += len(chunk)
            if there > row.size:
                raise altered(where, "what was fetched of it before is longer than it")
            reached(there)
            if there < row.size:
                headers = {"Range": f"bytes={there}-"} if there else {}
                with self.web.ask(
                    "GET", f"blobs/{row.digest}", wanted=(200, 206), headers=headers
                ) as answer:
                    if there and answer.status_code == 200:  # it does not know Range
                        file.truncate(0)
                        found, there = hasher(row.digest), 0
                    for piece in pieces(answer, row.size - there + 1):
                        found.update(piece)
                        file.write(piece)
                        there += len(piece)
                        reached(there)
            check_size(there, row, where)
            check_hash(found, row.digest, where)
            os.fsync(file.fileno())

    def check_blob(self, row: Descriptor, advance: Callable[[int], None]) -> None:
        """Read a blob and keep nothing of it; raises RefusedError when it is not as described."""
        where = f"{self.reference.name}: {row.digest}"
        failures, shown = 0, 0
        while True:
            found, there = hasher(row.digest), 0
            try:
                with self.web.ask("GET", f"blobs/{row.digest}", wanted=(200,)) as answer:
                    for piece in pieces(answer, row.size + 1):
                        found.update(piece)
                        there += len(piece)
                        advance(max(there - shown, 0))
                        shown = max(there, shown)
            except requests.exceptions.RequestException as error:
                failures += 1
                if failures >= self._attempts:
                    raise _broken(where, error) from error
                self.web.rest(failures, where)
            else:
                break
        check_size(there, row, where)
        check_hash(found, row.digest, where)

    def has_blob(self, digest: str) -> bool:
        """Tell whether the repository has a blob."""
        with self.web.ask("HEAD", f"blobs/{digest}", wanted=(200, 404)) as answer:
            return answer.status_code == 200

    def send_blob(
        self, row: Descriptor, body: bytes | Callable[[], Sending], *, mount: str | None = None
    ) -> bool:
        """Upload a blob that is not there yet; False when it was, or was mounted from `mount`.

        `body` is called for each attempt. Raises RefusedError when what it gives is not as `row`
        says, SproutError when the registry does not take it.
        """
        if self.has_blob(row.digest):
            return False
        params = {"mount": row.digest, "from": mount} if mount else None
        with self.web.ask("POST", "blobs/uploads/", wanted=(201, 202), params=params) as answer:
            if answer.status_code == 201:
                return False
            place = urljoin(self.web.base, answer.headers.get("Location", ""))
        joint = "&" if "?" in place else "?"
        headers = {"Content-Type": "application/octet-stream"}
        url = f"{place}{joint}digest={quote(row.digest, safe='')}"
        with self.web.ask("PUT", url, wanted=(201,), headers=headers, body=body):
            return True

    def send_manifest(self, data: bytes, media_type: str, name: str) -> None:
        """Store a manifest under a tag or its digest; raises SproutError when it is not taken."""
        headers = {"Content-Type": media_type}
        with self.web.ask(
            "PUT", f"manifests/{name}", wanted=(200, 201), headers=headers, body=data
        ) as answer:
            said = answer.headers.get("Docker-Content-Digest")
            if said is not None and said != digest_of(data):
                raise altered(f"{self.reference.name}: {name}", "the registry stored other bytes")

    def send_referrer(self, data: bytes, row: Descriptor) -> bool:
        """Store a manifest that has a subject; False when the registry does not list it itself.

        One that does not answer with OCI-Subject has no referrers API, and the list is ours to keep
        with `list_referrers` (distribution-spec 1.1, "Pushing Manifests with Subject").
        """
        with self.web.ask(
            *("PUT", f"manifests/{row.digest}"),
            wanted=(200, 201),
            headers={"Content-Type": row.media_type},
            body=data,
        ) as answer:
            return "OCI-Subject" in answer.headers

    def list_referrers(self, subject: str, rows: Sequence[Descriptor]) -> None:
        """Add to the list of what refers to `subject`, under its fallback tag."""
        tag = tag_of(subject)
        found = self.manifest(tag)
        old = () if found is None else _referrers(found[0], f"{self.reference.name}: {tag}")
        listed = {row.digest: row for row in (*old, *rows)}
        self.send_manifest(Index(tuple(listed.values())).to_bytes(), INDEX, tag)


def _referrers(data: bytes, where: str) -> tuple[Descriptor, ...]:
    index = parse_manifest(data, where)
    if not isinstance(index, Index) or len(index.manifests) > _MAX_REFERRERS:
        raise altered(where, f"is no list of at most {_MAX_REFERRERS} referrers")
    return index.manifests


def _broken(where: str, error: Exception) -> SproutError:
    words = str(error)[:160] or type(error).__name__
    return SproutError(f"{where}: the registry broke off: {words}", "Try again.")
