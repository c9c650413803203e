"""Owns one QEMU process for its whole life and watches it: QMP events, console, its own errors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO

from qemu.qmp import QMPClient, QMPError

from sprout.base.files import read_bounded, write_file
from sprout.base.run import started
from sprout.vm.console import Console, Failures, clean
from sprout.vm.firmware import Firmware
from sprout.vm.qemu import Machine, Qemu, arguments

_CHUNK = 1 << 16
_MAX_ERRORS = 64 << 10
_MAX_STORE = 64 << 20
# After a failure the lines that explain it are still to come: a call trace, a register dump.
_LINGER_S = 0.5
# How long QEMU may take to close its streams once it has said that it ends.
_ENDING_S = 3.0


class End(Enum):
    """How a machine's run ended."""

    REACHED = "the judge saw what it waited for"
    FAILED = "a console line told of a failure"
    POWERED_OFF = "the guest powered off"
    RESET = "the guest reset the machine"
    STOPPED = "QEMU stopped the machine"
    DIED = "QEMU ended by itself"
    TIMED_OUT = "the time limit passed"


@dataclass(frozen=True)
class Verdict:
    """What a judge makes of a line: the run's end, and a phrase that says why."""

    end: End
    text: str = ""


# Takes a console line and the seconds since QEMU was started; None lets the machine go on.
Judge = Callable[[str, float], Verdict | None]


@dataclass(frozen=True)
class Run:
    """A run that ended: how, a phrase that says why, and how long after QEMU was started (s)."""

    end: End
    text: str
    seconds: float


def run_machine(
    qemu: Qemu,
    machine: Machine,
    *,
    console: Console,
    judge: Judge,
    timeout_s: float,
    inherited: Sequence[int] = (),
    ending_s: float = _ENDING_S,
    keep: Path | None = None,
) -> Run:
    """Start `machine`, show `judge` each line of its console, and end it when the run is over.

    `inherited` are descriptors that QEMU's command line names; `ending_s` is how long QEMU may
    take to end when it is told to. The variable store that the machine has written to is lost
    with it, or kept as the file `keep` when the run is over.
    However this function is left, QEMU has ended and nothing of it remains; when this very
    process is killed, the kernel ends QEMU (see `sprout.vm.qemu.arguments`).
    Raises SproutError when QEMU cannot be started at all.
    """
    with _started(qemu, machine, inherited, keep) as (process, qmp):
        watch = _Watch(process, console, judge)
        # SIGINT cancels what asyncio.run runs; any exception passes through both blocks.
        run = asyncio.run(watch.run(qmp, timeout_s))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ending_s if watch.told_to_quit else 0)
        return run


def run_until_off(qemu: Qemu, machine: Machine, *, console: Console, timeout_s: float) -> Run:
    """Run `machine` until it powers itself off; a panic or an oops on its console ends it too.

    For a guest that says nothing of being ready. Raises SproutError as `run_machine` does.
    """
    failures = Failures()

    def judge(line: str, _seconds: float) -> Verdict | None:
        why = failures.see(line)
        return None if why is None else Verdict(End.FAILED, why)

    return run_machine(qemu, machine, console=console, judge=judge, timeout_s=timeout_s)


@contextmanager
def _started(
    qemu: Qemu, machine: Machine, inherited: Sequence[int], keep: Path | None
) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """Start QEMU with a connected socket as its standard input, and give the other end.

    The variable store is a copy in memory without a name, so that no way to end can leave it.
    """
    with contextlib.ExitStack() as stack:
        passed = list(inherited)
        variables = None
        if isinstance(machine.firmware, Firmware):
            store = stack.enter_context(os.fdopen(os.memfd_create("variables"), "w+b"))
            store.write(read_bounded(machine.firmware.nvram_template, _MAX_STORE))
            store.flush()
            passed.append(store.fileno())
            variables = Path(f"/proc/self/fd/{store.fileno()}")
        ours, theirs = map(stack.enter_context, socket.socketpair())
        command = arguments(qemu, machine, variables=variables)
        with started(command, stdin=theirs.fileno(), pass_fds=passed) as process:
            theirs.close()  # QEMU holds the only other end, so its death is an end of file
            yield process, ours
        if keep is not None and variables is not None:
            store.seek(0)
            write_file(keep, store.read())


class _Watch:
    """The one watch over a running machine; `run` says how it went."""

    def __init__(self, process: subprocess.Popen[bytes], console: Console, judge: Judge) -> None:
        self._process = process
        self._console = console
        self._judge = judge
        self._errors = bytearray()
        self._began = time.monotonic()
        self.told_to_quit = False

    async def run(self, qmp: socket.socket, timeout_s: float) -> Run:
        """Watch until the run is over or `timeout_s` seconds have passed."""
        client = _quiet_client()
        tasks: list[asyncio.Task[Verdict | None]] = []
        try:
            async with asyncio.timeout(timeout_s):
                tasks.append(asyncio.create_task(self._read_console(self._process.stdout)))
                tasks.append(asyncio.create_task(self._read_errors(self._process.stderr)))
                tasks.append(asyncio.create_task(self._read_events(client, qmp)))
                verdict = await self._decide(*tasks)
        except TimeoutError:
            verdict = Verdict(End.TIMED_OUT)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        # Not where an exception passes through: it may have ended QMP's own tasks too, and the
        # process is ended all the same by whoever started it.
        seconds = time.monotonic() - self._began
        await self._quit(client)
        for line in self._console.finish():
            late = self._judge(line, seconds)
            if late is not None and verdict.end is not End.REACHED:
                verdict = late
        return Run(verdict.end, verdict.text, seconds)

    async def _decide(
        self,
        console: asyncio.Task[Verdict | None],
        errors: asyncio.Task[Verdict | None],
        events: asyncio.Task[Verdict | None],
    ) -> Verdict:
        await asyncio.wait({console, events}, return_when=asyncio.FIRST_COMPLETED)
        if console.done() and (seen := console.result()) is not None:
            return seen
        # The machine is over, or never ran. What the console still holds says more than an event.
        await asyncio.wait({console, events}, timeout=_LINGER_S)
        stopped = events.result() if events.done() else None
        if stopped is None or stopped.end is not End.STOPPED:
            await asyncio.wait({console, errors}, timeout=_ENDING_S)
        if console.done() and (seen := console.result()) is not None:
            return seen
        if stopped is None:
            return self._died()
        if stopped.end is End.STOPPED and (why := self._complaint()):
            return Verdict(End.STOPPED, f"{stopped.text}: {why}")
        return stopped

    def _died(self) -> Verdict:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDING_S)
        status = self._process.returncode
        if status == 0:
            return Verdict(End.POWERED_OFF)
        how = f"signal {-status}" if status is not None and status < 0 else f"status {status}"
        return Verdict(End.DIED, f"{how}: {self._complaint() or 'it printed nothing'}")

    def _complaint(self) -> str:
        """Give the first thing that QEMU complained of; what follows is dumps and assertions."""
        for line in self._errors.decode(errors="replace").splitlines():
            text = re.sub(r"^\S*qemu-system-\S+: ", "", clean(line)).strip()
            if text and not text.startswith("warning:"):
                return text
        return ""

    async def _read_console(self, stream: IO[bytes] | None) -> Verdict | None:
        while data := await _read(stream):
            for line in self._console.feed(data):
                verdict = self._judge(line, time.monotonic() - self._began)
                if verdict is not None:
                    if verdict.end is End.FAILED:
                        await self._linger(stream)
                    return verdict
        return None

    async def _linger(self, stream: IO[bytes] | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while data := await _read(stream):
                    self._console.feed(data)

    async def _read_errors(self, stream: IO[bytes] | None) -> Verdict | None:
        while data := await _read(stream):
            self._errors += data[: _MAX_ERRORS - len(self._errors)]
        return None

    async def _read_events(self, client: QMPClient, stream: socket.socket) -> Verdict | None:
        """Give the verdict of the first event that ends a run (QEMU docs/interop, QMP events)."""
        try:
            await client.connect(stream)
            async for event in client.events:
                if event["event"] == "SHUTDOWN":
                    data = event.get("data")
                    reset = isinstance(data, dict) and data.get("reason") == "guest-reset"
                    return Verdict(End.RESET if reset else End.POWERED_OFF)
                if event["event"] == "STOP":
                    status = await client.execute("query-status")
                    name = status.get("status") if isinstance(status, dict) else None
                    if name not in ("running", "shutdown"):
                        return Verdict(End.STOPPED, f"{name}")
        except (QMPError, EOFError, OSError):
            pass  # QEMU is gone; its console and its errors tell why
        return None

    async def _quit(self, client: QMPClient) -> None:
        with contextlib.suppress(QMPError, EOFError, OSError, TimeoutError):
            async with asyncio.timeout(_ENDING_S):
                if client.runstate.name == "RUNNING":
                    self.told_to_quit = True
                    await client.execute("quit")
        with contextlib.suppress(QMPError, EOFError, OSError):
            await client.disconnect()


def _quiet_client() -> QMPClient:
    client = QMPClient()
    # It logs every lost connection as an error; here losing one is news like any other.
    client.logger = logging.Logger("qmp", logging.CRITICAL + 1)
    return client


async def _read(stream: IO[bytes] | None) -> bytes:
    """Wait for bytes on a pipe and give what there is; nothing at its end."""
    if stream is None:
        return b""
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(stream, there.set)
    try:
        await there.wait()
        return os.read(stream.fileno(), _CHUNK)
    finally:
        loop.remove_reader(stream)
