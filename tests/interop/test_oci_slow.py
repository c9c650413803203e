"""A registry that never comes to an end, and a user who has waited long enough."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from commands import ROOT, Sprout, assert_one_error
from oci_content import signed_artifact, signer
from oci_server import Handler, blob_of, serving

from sprout.oci.definition import Definition, FileRow
from sprout.oci.pack import pack

RELEASE = signer("release")
QUICK = ("--timeout", "1", "--attempts", "1")


def _drop_by_drop(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.sendall(b"a")
        time.sleep(0.1)


def _always_goes_on(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.1)


_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def _trailers(connection: socket.socket) -> None:
    connection.sendall(_OK + b"2\r\n{}\r\n0\r\n")
    while True:
        connection.sendall(b"X: y\r\n")
        time.sleep(0.1)


def _size_of_a_chunk(connection: socket.socket) -> None:
    connection.sendall(_OK + b"2;")
    while True:
        connection.sendall(b"a")
        time.sleep(0.1)


def _body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        connection.sendall(b"a")
        time.sleep(0.1)


def _challenge(connection: socket.socket) -> None:
    long = b"a" * 60_000
    connection.sendall(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer " + long + b"\r\n")
    connection.sendall(b"Content-Length: 0\r\n\r\n")


def _handshake(connection: socket.socket) -> None:
    # The header of a TLS record of 16,384 bytes, which come one by one.
    connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
    while True:
        connection.sendall(b"\0")
        time.sleep(0.1)


@contextmanager
def talking(act: Callable[[socket.socket], None]) -> Iterator[str]:
    """Answer every connection on loopback with `act`; give where."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def one(connection: socket.socket) -> None:
            with suppress(OSError), connection:
                connection.recv(65536)
                act(connection)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    threading.Thread(target=one, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("act", "words", "said"),
    [
        (_drop_by_drop, ("--insecure",), "what comes before the body does not end"),
        (_always_goes_on, ("--insecure",), "what comes before the body does not end"),
        (_trailers, ("--insecure",), "it sends next to nothing"),
        (_size_of_a_chunk, ("--insecure",), "it sends next to nothing"),
        (_body, ("--insecure",), "it sends next to nothing"),
        (_challenge, ("--insecure",), "its way to log in is not understood"),
        (_handshake, (), "timed out"),
    ],
)
def test_answer_ends(
    sprout: Sprout,
    tmp_path: Path,
    act: Callable[[socket.socket], None],
    words: tuple[str, ...],
    said: str,
) -> None:
    """Each byte is in time, and all of them never are: without an end this test has none."""
    key = RELEASE.write(tmp_path / "k.pub")
    with talking(act) as host:
        output = sprout("pull", f"{host}/a:1", "--key", key, "-o", tmp_path / "out", *words, *QUICK)
    assert_one_error(output, host, said)
    assert not (tmp_path / "out").exists()


def _started(*words: str | Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sprout", *map(str, words), "--timeout", "3000"]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


def _interrupted(reached: threading.Event, *words: str | Path, after_s: float = 0) -> None:
    """Interrupt a command once it has `reached` what holds it up; it has to end as told."""
    process = _started(*words)
    try:
        assert reached.wait(60)
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=60)[1].decode()
    finally:
        process.kill()
    assert process.returncode == 130, error
    assert "Traceback" not in error


@pytest.mark.parametrize("verb", ["pull", "verify", "layout"])
def test_interrupt_ends_downloads(tmp_path: Path, verb: str) -> None:
    """Nobody waits for a registry that says nothing more, however long it may be silent."""
    content, made = signed_artifact(RELEASE)
    key = RELEASE.write(tmp_path / "k.pub")
    reached, over = threading.Event(), threading.Event()
    more: dict[str, tuple[str | Path, ...]] = {
        "pull": ("-o", tmp_path / "out", "--arch", "amd64"),
        "verify": (),
        "layout": ("-o", tmp_path / "out", "--layout"),
    }
    with serving(content, tmp_path) as server:

        def silent(handler: Handler) -> bool:
            if blob_of(handler.path) != made.files["kernel/image"].digest:
                return False
            handler.send_response(200)
            handler.send_header("Content-Length", "10000")
            handler.end_headers()
            handler.wfile.write(b"image")
            reached.set()
            over.wait(300)
            return True

        server.tricks.append(silent)
        name = "verify" if verb == "verify" else "pull"
        words = (server.reference, "--key", key, "--ca", server.authority, *more[verb])
        try:
            _interrupted(reached, name, *words)
        finally:
            over.set()
    assert not (tmp_path / "out").exists()


def test_interrupt_ends_a_push(tmp_path: Path) -> None:
    rows, layout = (FileRow("image", "kernel", "x/y"),), tmp_path / "layout"
    pack(layout, [Definition("k", "", "a/b", {}, rows)], {"amd64": {"kernel": b"image" * 100_000}})
    content, _ = signed_artifact(RELEASE)
    reached, over = threading.Event(), threading.Event()
    with serving(content, tmp_path) as server:

        def silent(handler: Handler) -> bool:
            if handler.command != "POST":
                return False
            reached.set()
            over.wait(300)
            return True

        server.tricks.append(silent)
        words = ("--unsigned", "--ca", server.authority)
        try:
            _interrupted(reached, "push", layout, server.reference, *words)
        finally:
            over.set()


def test_interrupt_ends_what_waits_for_a_connection(tmp_path: Path) -> None:
    """A blob is elsewhere, and there nobody answers: neither yes nor no."""
    content, made = signed_artifact(RELEASE)
    key = RELEASE.write(tmp_path / "k.pub")
    reached = threading.Event()
    # Whoever has a full backlog lets the others wait.
    with (
        serving(content, tmp_path) as server,
        socket.create_server(("127.0.0.1", 0), backlog=0) as deaf,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        time.sleep(0.2)

        def elsewhere(handler: Handler) -> bool:
            if blob_of(handler.path) != made.files["kernel/image"].digest:
                return False
            place = f"https://127.0.0.1:{deaf.getsockname()[1]}/x"
            handler.answer(307, Location=place)
            reached.set()
            return True

        server.tricks.append(elsewhere)
        words = ("pull", server.reference, "--key", key, "--ca", server.authority)
        _interrupted(reached, *words, "-o", tmp_path / "out", "--arch", "amd64", after_s=1)


def test_registry_that_starts_anew_for_ever_is_given_up(sprout: Sprout, tmp_path: Path) -> None:
    """A few bytes, then all from the beginning, and less of it: that is no progress."""
    content, made = signed_artifact(RELEASE)
    asked = 0

    def anew(handler: Handler) -> bool:
        nonlocal asked
        if blob_of(handler.path) != made.files["kernel/image"].digest:
            return False
        asked += 1
        handler.send_response(200 if asked % 2 == 0 else 206)
        handler.send_header("Content-Length", "10000")
        handler.end_headers()
        handler.wfile.write(b"image" * (1 if asked % 2 == 0 else 2))
        handler.close_connection = True
        return True

    with serving(content, tmp_path) as server:
        server.tricks.append(anew)
        words = ("--key", RELEASE.write(tmp_path / "k.pub"), "--ca", server.authority)
        more = ("-o", tmp_path / "out", "--arch", "amd64", "--attempts", "3")
        output = sprout("pull", server.reference, *words, *more)
    assert_one_error(output, "the registry broke off")
    assert asked < 12
