"""Debian's docker-registry on loopback: plain, or with TLS and basic authentication."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sprout.base.run import check, started

USER, PASSWORD = "release", "correct-horse"
# htpasswd(1) with bcrypt, cost 4, of PASSWORD.
_HTPASSWD = "release:$2b$04$3QfqTSgpQS3.QMTGKdzgVeW/RXBOG7UoqklZuNIRVDJATeAzeOTgS"


@dataclass(frozen=True)
class Registry:
    """A running registry: its host and port, its files, and how clients reach it."""

    host: str
    data: Path
    authority: Path | None = None
    docker_config: Path | None = None

    def words(self) -> list[str]:
        """Give the options by which `sprout` speaks to it."""
        return ["--insecure"] if self.authority is None else ["--ca", str(self.authority)]

    def blob(self, digest: str) -> Path:
        """Give the file in which it keeps a blob or manifest."""
        value = digest.removeprefix("sha256:")
        folder = self.data / "docker/registry/v2/blobs/sha256"
        return folder / value[:2] / value / "data"


def free_port() -> int:
    """Give a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def certificate(folder: Path, name: str = "IP:127.0.0.1") -> tuple[Path, Path]:
    """Make a key and its own certificate for a host, and give their paths."""
    key, made = folder / "tls.key", folder / "tls.crt"
    words: list[str | Path] = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
    words += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=registry"]
    words += ["-addext", f"subjectAltName={name}", "-keyout", key, "-out", made]
    check(words, "openssl")
    return key, made


@contextmanager
def running(folder: Path, *, secured: bool = False) -> Iterator[Registry]:
    """Start a registry whose files are below `folder`, and end it with the block."""
    port = free_port()
    host, data = f"127.0.0.1:{port}", folder / "registry"
    data.mkdir(parents=True)
    config: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(data)}},
    }
    http: dict[str, object] = {"addr": host}
    authority = docker = None
    if secured:
        key, authority = certificate(folder)
        http["tls"] = {"certificate": str(authority), "key": str(key)}
        passwords = folder / "htpasswd"
        passwords.write_text(_HTPASSWD + "\n")
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(passwords)}}
        docker = folder / "docker"
        docker.mkdir()
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        (docker / "config.json").write_text(json.dumps({"auths": {host: {"auth": login}}}))
    config["http"] = http
    path = folder / "registry.yml"
    path.write_text(json.dumps(config))
    with (
        (folder / "registry.log").open("wb") as log,
        started(["docker-registry", "serve", path], stdout=log, stderr=log) as process,
    ):
        _wait(port, process.poll)
        yield Registry(host, data, authority, docker)


def _wait(port: int, ended: object) -> None:
    for _ in range(200):
        assert not callable(ended) or ended() is None, "docker-registry ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("docker-registry does not listen")
