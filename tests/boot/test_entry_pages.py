"""What a program's page tables hold of the kernel, read from outside while the program runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from spinning_machine import IMAGE, spinning, spinning_initramfs, symbols_of

# Models of which Meltdown is known, and Zen 3, which has no such flaw but SRSO.
_FLAWED, _ZEN3 = "Skylake-Server", "EPYC-Milan"
# What each CPU enters the kernel through (Documentation/arch/x86/x86_64/mm.rst).
_ENTRY_AREA = range(0xFFFF_FE00_0000_0000, 0xFFFF_FE80_0000_0000)
_LARGE = 2 << 20


@pytest.fixture(scope="module")
def initramfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spinning_initramfs(tmp_path_factory.mktemp("entry"))


@pytest.fixture(scope="module")
def places(zone_kernel: Path) -> dict[str, int]:
    """Where the kernel's symbols lie without KASLR."""
    return symbols_of(zone_kernel)


@pytest.fixture(scope="module")
def entry_pages(places: dict[str, int]) -> set[int]:
    """The addresses of the pages of the entry code."""
    first, last = places["__entry_text_start"], places["__entry_text_end"] - 1
    return set(range(first & -4096, last + 1, 4096))


def in_image(pages: list[tuple[int, str]]) -> list[tuple[int, str]]:
    return [(address, flags) for address, flags in pages if address >= IMAGE]


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
        others = [address for address, _ in pages if address < IMAGE]
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
