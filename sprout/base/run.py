"""Runs other programs: argument lists only, bounded in time, and never left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sprout.base.errors import SproutError


@dataclass(frozen=True)
class Output:
    """What a program that ended left: its exit status and the bytes it wrote."""

    status: int
    stdout: bytes
    stderr: bytes

    def last_line(self) -> str:
        """Give the last line that says something, standard error first."""
        for stream in (self.stderr, self.stdout):
            lines = [line for line in stream.decode(errors="replace").splitlines() if line.strip()]
            if lines:
                return lines[-1].strip()
        return "it printed nothing"


def find_program(name: str, hint: str = "Run ./sprout.sh, which installs what is missing.") -> Path:
    """Give the absolute path of a program on PATH (or in the sbin directories).

    Raises SproutError with `hint` when there is none.
    """
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    found = shutil.which(name, path=path)
    if found is None:
        raise SproutError(f"{name}: no such program on this machine", hint)
    return Path(found)


@contextmanager
def started(
    arguments: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = subprocess.PIPE,
    stderr: int | IO[bytes] | None = subprocess.PIPE,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program in a process group of its own, and end the group when the block is left.

    `env` is the whole environment when given; the program inherits the descriptors `pass_fds`
    under the same numbers. Raises SproutError when the program is missing.
    """
    program = find_program(str(arguments[0]))
    process = subprocess.Popen(  # the block below owns it
        [str(program), *map(str, arguments[1:])],
        cwd=cwd,
        env=env,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        process_group=0,
    )
    try:
        yield process
    finally:
        end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process started by `started` together with its children, and reap it."""
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, None)):
        if process.poll() is not None and number == signal.SIGTERM:
            break
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def run(
    arguments: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    data: bytes | None = None,
    timeout: float | None = None,
) -> Output:
    """Run a program to its end and give what it wrote; the caller judges its exit status.

    `timeout` is in seconds. Raises SproutError when the program is missing or takes longer.
    """
    stdin = subprocess.DEVNULL if data is None else subprocess.PIPE
    with started(arguments, cwd=cwd, env=env, stdin=stdin) as process:
        try:
            stdout, stderr = process.communicate(data, timeout)
        except subprocess.TimeoutExpired as error:
            raise SproutError(
                f"{arguments[0]}: did not end within {timeout} s",
                "Run the command again; if it hangs again, run that program by hand.",
            ) from error
        return Output(process.returncode, stdout, stderr)


def check(
    arguments: Sequence[str | Path],
    hint: str,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    data: bytes | None = None,
    timeout: float | None = None,
) -> bytes:
    """Run a program that has to succeed and give its standard output.

    Raises SproutError with its last line and `hint` when it fails.
    """
    output = run(arguments, cwd=cwd, env=env, data=data, timeout=timeout)
    if output.status != 0:
        name = Path(str(arguments[0])).name
        raise SproutError(f"{name} failed (status {output.status}): {output.last_line()}", hint)
    return output.stdout
