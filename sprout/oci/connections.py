"""The connections that requests are made on: each can be ended, by a clock or by another thread.

A socket's own time limit starts anew with every byte. Who sends a byte of a header now and then, or
says "100 Continue" for ever, never meets it; the clock here runs over all of an answer's header,
and a body has to come at a pace. (A handshake of TLS has one limit for all of it.)
"""

from __future__ import annotations

import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError, NewConnectionError

# What moves at fewer bytes per second than this, after so long, never ends.
TRICKLE = 1024
PATIENCE_S = 30.0


class Connections:
    """All connections of one client; `limit` is in seconds."""

    def __init__(self, limit: float) -> None:
        """Begin without any."""
        self.limit = limit
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._aborted = threading.Event()

    @property
    def aborted(self) -> bool:
        """Tell whether `abort` was called."""
        return self._aborted.is_set()

    def wait(self, seconds: float) -> None:
        """Wait, but not after an abort."""
        self._aborted.wait(seconds)

    def abort(self) -> None:
        """End every connection, and each that is made later as soon as it is."""
        self._aborted.set()
        with self._lock:
            for connected in self._open:
                _shut(connected)

    def pools(self) -> dict[str, type[HTTPConnectionPool]]:
        """Give what urllib3 makes its connections with, by scheme."""
        http: Any = type("HTTPConnection", (_Watched, HTTPConnection), {"connections": self})
        https: Any = type("HTTPSConnection", (_Watched, HTTPSConnection), {"connections": self})
        return {
            "http": type("HTTPConnectionPool", (HTTPConnectionPool,), {"ConnectionCls": http}),
            "https": type("HTTPSConnectionPool", (HTTPSConnectionPool,), {"ConnectionCls": https}),
        }

    def watch(self, connected: socket.socket) -> None:
        """Remember a connection, for as long as anybody uses it."""
        with self._lock:
            self._open.add(connected)
            if self.aborted:
                _shut(connected)

    def clock(self, connected: socket.socket) -> _Clock:
        """Give a clock that runs, and ends a connection at the limit unless it is stopped."""
        return _Clock(self.limit, connected)


class _Clock:
    """Ends a connection after some seconds."""

    def __init__(self, seconds: float, connected: socket.socket) -> None:
        self._connected = connected
        self._ended = False
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        self._ended = True
        _shut(self._connected)

    def stop(self) -> None:
        """Stop; raises OSError when it is too late: a header that ends early looks whole."""
        self._timer.cancel()
        if self._ended:
            raise OSError("what comes before the body does not end")


class Pace:
    """Ends a connection whose body comes too slowly: one read of it may be many of the socket.

    Only the time is counted in which somebody waits for bytes.
    """

    def __init__(self, connected: socket.socket, limit: float) -> None:
        """Begin; the connection may take `limit` seconds before it has to be at pace."""
        self._connected = connected
        self._limit = limit
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._waited, self._since, self._bytes = 0.0, 0.0, 0
        self.ended = False
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Pace:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the watching."""
        self._done.set()

    @contextmanager
    def waiting(self) -> Iterator[Callable[[int], None]]:
        """Count the time of the block; gives what counts its bytes."""
        with self._lock:
            self._since = time.monotonic()
        try:
            yield self._count
        finally:
            with self._lock:
                self._waited += time.monotonic() - self._since
                self._since = 0.0

    def _count(self, size: int) -> None:
        self._bytes += size

    def _watch(self) -> None:
        while not self._done.wait(self._limit / 4):
            with self._lock:
                now = time.monotonic() - self._since if self._since else 0.0
                waited = self._waited + now
                if now and waited > self._limit and self._bytes / waited < TRICKLE:
                    self.ended = True
                    _shut(self._connected)
                    return


def _shut(connected: socket.socket) -> None:
    # That of TLS would take its state away from a thread that reads.
    with suppress(OSError):  # it has ended by itself
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


class _Watched(HTTPConnection):
    """What is added to urllib3's connections."""

    connections: Connections
    _early: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        # As urllib3 does it, but each socket is known before it waits for an answer.
        host, port = self._dns_host, self.port or self.default_port
        try:
            rows = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        except OSError as error:
            raise NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]
        last: OSError = OSError("it has no address")
        for family, kind, protocol, _, address in rows:
            if self.connections.aborted:
                break
            connected = socket.socket(family, kind, protocol)
            connected.settimeout(self.timeout)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.watch(connected)
            try:
                connected.connect(address)
            except OSError as error:
                connected.close()
                last = error
                continue
            # A handle of our own, for as long as TLS is being agreed on: it takes this one away.
            self._early = connected.dup()
            self.connections.watch(self._early)
            return connected
        raise NewConnectionError(self, f"no connection: {last}") from last

    def connect(self) -> None:
        try:
            super().connect()
            self.connections.watch(_plain(self.sock))
        finally:
            if self._early is not None:
                self._early.close()

    def getresponse(self) -> Any:  # noqa: ANN401 - as urllib3 has it
        connected = _plain(self.sock)
        clock = self.connections.clock(connected)
        try:
            answer: Any = super().getresponse()
        finally:
            clock.stop()
        answer.pace = Pace(connected, self.connections.limit)
        return answer


def _plain(connected: Any) -> socket.socket:  # noqa: ANN401 - a socket, or TLS within TLS
    found = connected
    while not isinstance(found, socket.socket):
        found = found.socket
    return found
