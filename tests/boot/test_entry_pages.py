"""What a program's page tables hold of the kernel, read from outside while the program runs."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sprout.base.run import started
from sprout.initramfs.assemble import write_headers
from sprout.initramfs.compile import compile_program
from sprout.initramfs.cpio import Entry, write_cpio

_GUESTS = Path(__file__).resolve().parent / "entry_guest"
_WAIT_S = 90.0
# Models of which Meltdown is known, and Zen 3, which has no such flaw but SRSO.
_FLAWED, _ZEN3 = "Skylake-Server", "EPYC-Milan"
_PROMPT = b"(qemu) "
# The kernel's half, its image, and what each CPU enters it through (Documentation/arch/x86/x86_64).
_KERNEL = 0xFFFF_8000_0000_0000
_IMAGE = 0xFFFF_FFFF_8000_0000
_ENTRY_AREA = range(0xFFFF_FE00_0000_0000, 0xFFFF_FE80_0000_0000)
_LARGE = 2 << 20


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
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()
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
        return [(address, flags) for address, flags in pages if address >= _KERNEL]


@contextlib.contextmanager
def spinning(cpu: str, words: str, kernel: Path, initramfs: Path, log: Path) -> Iterator[Spinning]:
    arguments: list[str | Path] = ["qemu-system-x86_64", "-machine", "q35", "-cpu", cpu]
    arguments += ["-accel", "tcg", "-m", "256", "-nodefaults", "-no-user-config"]
    arguments += ["-display", "none", "-serial", f"file:{log}", "-monitor", "stdio"]
    arguments += ["-kernel", kernel, "-initrd", initramfs]
    arguments += ["-append", f"console=ttyS0 panic=-1 {words}"]
    with started(arguments, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        machine = Spinning(process, log)
        machine.wait_for("spinning")
        machine.ask("info status")
        yield machine


@pytest.fixture(scope="module")
def initramfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("entry")
    write_headers(work)
    compile_program([_GUESTS / "spin.c"], work / "spin", base=_GUESTS, include=work)
    entries = [
        Entry("dev", stat.S_IFDIR | 0o755),
        Entry("dev/console", stat.S_IFCHR | 0o600, major=5, minor=1),
        Entry("init", stat.S_IFREG | 0o755, (work / "spin").read_bytes()),
    ]
    path = work / "spin.cpio"
    path.write_bytes(write_cpio(entries, epoch=1))
    return path


@pytest.fixture(scope="module")
def places(zone_kernel: Path) -> dict[str, int]:
    """Where the kernel's symbols lie without KASLR."""
    lines = (zone_kernel.parent / "System.map").read_text().splitlines()
    return {line.split()[2]: int(line.split()[0], 16) for line in lines}


@pytest.fixture(scope="module")
def entry_pages(places: dict[str, int]) -> set[int]:
    """The addresses of the pages of the entry code."""
    first, last = places["__entry_text_start"], places["__entry_text_end"] - 1
    return set(range(first & -4096, last + 1, 4096))


def in_image(pages: list[tuple[int, str]]) -> list[tuple[int, str]]:
    return [(address, flags) for address, flags in pages if address >= _IMAGE]


@pytest.mark.parametrize("cpu", [_FLAWED, _ZEN3])
def test_program_sees_the_pages_of_the_entry_code_and_no_more(
    cpu: str, zone_kernel: Path, initramfs: Path, entry_pages: set[int], tmp_path: Path
) -> None:
    log = tmp_path / "console"
    with spinning(cpu, "nokaslr pti=on", zone_kernel, initramfs, log) as machine:
        assert "page tables isolation: enabled" in machine.console()
        assert ("Safe RET" in machine.console()) == (cpu == _ZEN3)
        machine.stop_in_program()
        pages = machine.pages()
        assert {address for address, _ in in_image(pages)} == entry_pages
        for _, flags in in_image(pages):
            # No large page, nothing to write to, for the kernel only, to be run; and not global:
            # the kernel knows the same address in a large page.
            assert not set(flags) & set("PWUXG")
        # Beside them what a CPU enters the kernel through, and the page with its TSS.
        others = [address for address, _ in pages if address < _IMAGE]
        assert len([address for address in others if address not in _ENTRY_AREA]) == 1


def test_isolation_without_process_numbers_shares_the_whole_text(
    zone_kernel: Path, initramfs: Path, places: dict[str, int], tmp_path: Path
) -> None:
    """Linux does so where all of the TLB goes at each entry, unless isolation is asked for."""
    log = tmp_path / "console"
    with spinning(_FLAWED, "nokaslr", zone_kernel, initramfs, log) as machine:
        assert "page tables isolation: enabled" in machine.console()
        machine.stop_in_program()
        pages = in_image(machine.pages())
        assert {address & -_LARGE for address, _ in pages} == set(
            range(places["_text"], places["__end_rodata_aligned"], _LARGE)
        )
        assert not any("W" in flags for _, flags in pages)


def test_without_isolation_the_kernel_keeps_its_large_pages(
    zone_kernel: Path, initramfs: Path, entry_pages: set[int], tmp_path: Path
) -> None:
    """So that the two above see what they ask about."""
    log = tmp_path / "console"
    with spinning(_ZEN3, "", zone_kernel, initramfs, log) as machine:
        machine.stop_in_program()
        pages = in_image(machine.pages())
        assert len(pages) > len(entry_pages)
        assert any("P" in flags for _, flags in pages)
