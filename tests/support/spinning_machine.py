"""A machine that runs one program for ever, looked into through QEMU's monitor."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sprout.base.run import started
from sprout.initramfs.assemble import write_headers
from sprout.initramfs.compile import compile_program
from sprout.initramfs.cpio import Entry, write_cpio

_PROGRAM = Path(__file__).resolve().parents[1] / "boot" / "entry_guest" / "spin.c"
_WAIT_S = 90.0
_PROMPT = b"(qemu) "
# The kernel's half of the addresses, and its image (Documentation/arch/x86/x86_64/mm.rst).
KERNEL = 0xFFFF_8000_0000_0000
IMAGE = 0xFFFF_FFFF_8000_0000


class Spinning:
    """A machine that runs one program for ever, and QEMU's monitor to look into it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def console(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def wait_for(self, words: str) -> None:
        end = time.monotonic() + _WAIT_S
        while words not in self.console():
            assert time.monotonic() < end and self._process.poll() is None, self.console()
            time.sleep(0.1)

    def ask(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> str:
        """Give what the monitor says until it prompts: once to begin with, and for each command."""
        assert self._process.stdout is not None
        said = b""
        while not said.endswith(_PROMPT):
            said += os.read(self._process.stdout.fileno(), 1 << 16)
            assert self._process.poll() is None, said
        return said.decode(errors="replace")

    def stop_in_program(self) -> None:
        """Halt the machine while the program runs, and not an interrupt's handler."""
        for _ in range(50):
            self.ask("stop")
            if re.search(r"CPL=3", self.ask("info registers")):
                return
            self.ask("cont")
            time.sleep(0.05)
        raise AssertionError("the program never runs")

    def pages(self) -> list[tuple[int, str]]:
        """Give the pages of the kernel's half that the current tables map: address, flags."""
        found = re.findall(r"([0-9a-f]{16}): [0-9a-f]{16} (\S{9,})", self.ask("info tlb"))
        pages = [(int(address, 16), flags) for address, flags in found]
        return [(address, flags) for address, flags in pages if address >= KERNEL]

    def physical(self, start: int, size: int, work: Path) -> bytes:
        """Give `size` bytes of the machine's memory from the physical address `start` on."""
        return self._saved(f"pmemsave {start:#x} {size:#x}", work)

    def virtual(self, start: int, size: int, work: Path) -> bytes:
        """Give `size` bytes that lie at the address `start` for what runs now."""
        return self._saved(f"memsave {start:#x} {size:#x}", work)

    def _saved(self, command: str, work: Path) -> bytes:
        path = work / "memory"
        path.unlink(missing_ok=True)
        self.ask(f'{command} "{path}"')
        return path.read_bytes()


@contextlib.contextmanager
def spinning(
    cpu: str,
    words: str,
    kernel: Path,
    initramfs: Path,
    log: Path,
    *,
    more: Sequence[str | Path] = (),
) -> Iterator[Spinning]:
    """Start the machine, with `more` arguments of QEMU, and wait until its program runs."""
    arguments: list[str | Path] = ["qemu-system-x86_64", "-machine", "q35", "-cpu", cpu]
    arguments += ["-accel", "tcg", "-m", "256", "-nodefaults", "-no-user-config"]
    arguments += ["-display", "none", "-serial", f"file:{log}", "-monitor", "stdio"]
    arguments += ["-kernel", kernel, "-initrd", initramfs]
    arguments += ["-append", f"console=ttyS0 panic=-1 {words}", *more]
    with started(arguments, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        machine = Spinning(process, log)
        machine.wait_for("spinning")
        machine.answer()
        yield machine


def symbols_of(image: Path) -> dict[str, int]:
    """Give where the symbols of a built kernel lie without KASLR, from the map beside its image."""
    lines = (image.parent / "System.map").read_text().splitlines()
    return {line.split()[2]: int(line.split()[0], 16) for line in lines}


def spinning_initramfs(work: Path) -> Path:
    """Make the initramfs with that program in the directory `work`."""
    write_headers(work)
    compile_program([_PROGRAM], work / "spin", base=_PROGRAM.parent, include=work)
    entries = [
        Entry("dev", stat.S_IFDIR | 0o755),
        Entry("dev/console", stat.S_IFCHR | 0o600, major=5, minor=1),
        Entry("init", stat.S_IFREG | 0o755, (work / "spin").read_bytes()),
    ]
    path = work / "spin.cpio"
    path.write_bytes(write_cpio(entries, epoch=1))
    return path
