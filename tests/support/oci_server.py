"""A small OCI 1.1 registry with TLS on loopback that can be told to behave badly."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from oci_content import Content
from oci_registry import certificate

from sprout.oci.model import INDEX, Descriptor, Index, parse_manifest

Trick = Callable[["Handler"], bool]


@dataclass
class Server:
    """A running server: `tricks` are asked first, and answer a request when they give True."""

    content: Content
    host: str = ""
    authority: Path = Path()
    tricks: list[Trick] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    sent: int = 0

    @property
    def reference(self) -> str:
        return f"{self.host}/kernels/zone:1"


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD as distribution-spec 1.1 has it."""

    protocol_version = "HTTP/1.1"
    state: Server

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer; header names have _ for -."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.state.sent += len(body)

    def do_GET(self) -> None:
        self.state.paths.append(self.path)
        if any(trick(self) for trick in self.state.tricks):
            return
        content = self.state.content
        kind, name = self.path.split("?")[0].rsplit("/", 2)[1:]
        if kind == "manifests":
            digest = content.tags.get(name, name)
            if digest in content.manifests:
                data, media_type = content.manifests[digest]
                self.answer(200, data, Content_Type=media_type)
                return
        elif kind == "blobs" and name in content.blobs:
            self._blob(content.blobs[name])
            return
        elif kind == "referrers":
            rows = Index(tuple(content.referrers.get(name, [])))
            self.answer(200, rows.to_bytes(), Content_Type=INDEX)
            return
        self.answer(404)

    def do_POST(self) -> None:
        self._take("uploads", lambda _: self.answer(202, Location=f"{self.path}1"))

    def do_PUT(self) -> None:
        kind = "uploads" if "/blobs/" in self.path else "manifests"
        self._take(kind, self._stored if kind == "uploads" else self._listed)

    def _take(self, kind: str, take: Callable[[bytes], None]) -> None:
        """Read a request's body and have it stored, unless a trick answers."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.state.paths.append(f"{self.command} {self.path}")
        if not any(trick(self) for trick in self.state.tricks):
            take(body) if f"/{kind}/" in self.path else self.answer(404)

    def _stored(self, body: bytes) -> None:
        (digest,) = parse_qs(urlsplit(self.path).query)["digest"]
        if self.state.content.blob(body).digest != digest:
            self.answer(400)
            return
        self.answer(201)

    def _listed(self, body: bytes) -> None:
        """Store a manifest, and list it for its subject, as a registry of version 1.1 does."""
        name, kind = self.path.rpartition("/")[2], self.headers["Content-Type"]
        row = self.state.content.manifest(body, kind, None if ":" in name else name)
        manifest = parse_manifest(body, name, kind)
        if manifest.subject is None:
            self.answer(201, Docker_Content_Digest=row.digest)
            return
        rows = self.state.content.referrers.setdefault(manifest.subject.digest, [])
        found = Descriptor(
            kind, row.digest, row.size, manifest.annotations, artifact_type=manifest.artifact_type
        )
        if found not in rows:
            rows.append(found)
        self.answer(201, OCI_Subject=manifest.subject.digest)

    do_HEAD = do_GET  # noqa: N815 - named by the library

    def _blob(self, data: bytes) -> None:
        first = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-")
        start = int(first)
        if start:
            said = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.answer(206, data[start:], Content_Range=said)
        else:
            self.answer(200, data)


@contextmanager
def serving(content: Content, folder: Path, name: str = "IP:127.0.0.1") -> Iterator[Server]:
    """Serve `content` with a certificate for `name`, which lies in `folder`."""
    key, authority = certificate(folder, name)
    state = Server(content, authority=authority)
    handler = type("Bound", (Handler,), {"state": state})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, key)
    with _Quiet(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        state.host = f"127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield state
        finally:
            server.shutdown()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that broke."""


def blob_of(path: str) -> str:
    """Give the digest that the path of a blob names."""
    return path.split("?", maxsplit=1)[0].rpartition("/")[2]
