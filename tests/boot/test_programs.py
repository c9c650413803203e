"""Real servers out of Debian's packages in a zone: they answer whoever asks from outside of it."""

from __future__ import annotations

import os
import secrets
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from debian_root import Contents, make_root
from program_machine import Zone, zone_running

_START = Path(__file__).parent / "programs" / "start"
_PACKAGES = ("coreutils", "dash", "iproute2", "mount", "nginx", "redis-server", "util-linux")
T = TypeVar("T")
_LIMIT_S = 120.0
_HTTP, _REDIS = 80, 6379
# As Debian's maintainer scripts make them.
_USERS = """root:x:0:0:root:/root:/bin/sh
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
redis:x:100:100::/var/lib/redis:/usr/sbin/nologin
"""
_GROUPS = "root:x:0:\nadm:x:4:\nwww-data:x:33:\nredis:x:100:\n"


def contents(page: bytes, blob: bytes) -> Contents:
    """Give what the packages' maintainer scripts would add, and what the web server is to serve."""
    return Contents(
        files={
            "etc/passwd": (0o644, _USERS.encode()),
            "etc/group": (0o644, _GROUPS.encode()),
            "bin/start": (0o755, _START.read_bytes()),
            "var/www/html/index.html": (0o644, page),
            "var/www/html/blob": (0o644, blob),
        },
        links={"etc/nginx/sites-enabled/default": "/etc/nginx/sites-available/default"},
    )


@pytest.fixture(scope="module")
def page() -> bytes:
    """A page that nobody has seen before: an answer with it is from this run's zone."""
    return f"<p>{secrets.token_hex(32)}</p>\n".encode()


@pytest.fixture(scope="module")
def blob() -> bytes:
    return secrets.token_bytes(3 << 20)


@pytest.fixture(scope="module")
def zone(
    zone_kernel: Path, page: bytes, blob: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zone]:
    work = tmp_path_factory.mktemp("programs")
    make_root(_PACKAGES, contents(page, blob), work / "root.squashfs")
    ports = (_HTTP, _REDIS)
    with zone_running(
        zone_kernel, work / "root.squashfs", "-- /bin/start", work, ports=ports
    ) as it:
        yield it


def answered(zone: Zone, ask: Callable[[], T]) -> T:
    """Ask until there is an answer: the server may not be up yet."""
    deadline = time.monotonic() + _LIMIT_S
    while True:
        try:
            return ask()
        except OSError as error:
            assert zone.process.poll() is None, f"the zone ended:\n{zone.text()}"
            assert time.monotonic() < deadline, f"{error}\n{zone.text()}"
            time.sleep(0.5)


def got(zone: Zone, path: str) -> bytes:
    address = f"http://127.0.0.1:{zone.ports[_HTTP]}{path}"
    with urllib.request.urlopen(address, timeout=20) as answer:
        assert answer.headers["Server"].partition("/")[0] == "nginx"
        body: bytes = answer.read()
        return body


def told(zone: Zone, *commands: bytes) -> list[bytes]:
    """Send commands to Redis on one connection, and give a line of answer to each."""
    with socket.create_connection(("127.0.0.1", zone.ports[_REDIS]), 20) as link:
        stream = link.makefile("rb")
        answers = []
        for command in commands:
            link.sendall(command + b"\r\n")
            line = stream.readline()
            if not line:
                raise ConnectionError("Redis is not there yet")
            answers.append(stream.readline() if line.startswith(b"$") else line)
        return [answer.rstrip(b"\r\n") for answer in answers]


def test_nginx_serves_pages_to_the_outside(zone: Zone, page: bytes, blob: bytes) -> None:
    assert answered(zone, lambda: got(zone, "/")) == page
    assert got(zone, "/blob") == blob


def test_redis_keeps_what_the_outside_gives_it(zone: Zone) -> None:
    assert answered(zone, lambda: told(zone, b"PING")) == [b"+PONG"]
    token = secrets.token_hex(32).encode()
    assert told(zone, b"SET key " + token, b"INCR count") == [b"+OK", b":1"]
    assert told(zone, b"GET key", b"INCR count") == [token, b":2"]
    # It forks to write its memory to a file, below the overlay.
    assert told(zone, b"SAVE", b"BGSAVE") == [b"+OK", b"+Background saving started"]


def test_root_is_the_same_each_time(tmp_path: Path) -> None:
    """Made at another place and time, by somebody whose files nobody else may read."""
    held = contents(b"a page", b"a blob")
    made = []
    for folder, mask in (("one", 0o022), ("quite/another", 0o077)):
        (tmp_path / folder).mkdir(parents=True)
        before = os.umask(mask)
        try:
            make_root(("dash", "nginx-common"), held, tmp_path / folder / "root.squashfs")
        finally:
            os.umask(before)
        made.append((tmp_path / folder / "root.squashfs").read_bytes())
    assert made[0] == made[1]
