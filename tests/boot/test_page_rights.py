"""What the kernel may do with each of its own pages, read from its tables while a program runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from spinning_machine import IMAGE, KERNEL, spinning, spinning_initramfs, symbols_of

# Without Meltdown, and so with one set of tables for the program and the kernel.
_CPU = "EPYC-Milan"
_LARGE, _SMALL = 2 << 20, 4096
_DIRECT = range(0xFFFF_8880_0000_0000, 0xFFFF_8880_1000_0000)  # all of 256 MiB, without KASLR
_LOW = range(_DIRECT.start, _DIRECT.start + (1 << 20))  # what other processors start in is here
_LOADED_AT = IMAGE - _DIRECT.start  # what is at an address of the image, in the direct map


@pytest.fixture(scope="module")
def symbols(zone_kernel: Path) -> dict[str, int]:
    return symbols_of(zone_kernel)


@pytest.fixture(scope="module")
def pages(zone_kernel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """The flags of each 4 KiB that the kernel's half maps: W writable, X not to be executed."""
    work = tmp_path_factory.mktemp("rights")
    initramfs = spinning_initramfs(work)
    with spinning(_CPU, "nokaslr", zone_kernel, initramfs, work / "console") as machine:
        machine.stop_in_program()
        found: dict[int, str] = {}
        for address, flags in machine.pages():
            size = _LARGE if "P" in flags else _SMALL
            found.update((page, flags) for page in range(address, address + size, _SMALL))
        return found


def _between(symbols: dict[str, int], first: str, end: str) -> range:
    return range(symbols[first] & -_SMALL, symbols[end], _SMALL)


def test_no_page_can_be_written_and_executed(pages: dict[int, str]) -> None:
    assert len(pages) > 60_000
    assert [
        f"{page:#x}" for page, flags in pages.items() if "W" in flags and "X" not in flags
    ] == []


def test_only_the_text_can_be_executed(pages: dict[int, str], symbols: dict[str, int]) -> None:
    text = _between(symbols, "_text", "_etext")
    executable = {page for page, flags in pages.items() if "X" not in flags and page not in _LOW}
    assert executable >= set(text)
    # A large page's rest; and nothing above what is read only.
    assert max(executable) < -(-symbols["_etext"] // _LARGE) * _LARGE
    assert min(executable) == symbols["_text"]


@pytest.mark.parametrize(
    ("first", "end", "executable"),
    [("_text", "_etext", True), ("__start_rodata", "__end_rodata", False)],
)
def test_what_does_not_change_cannot_be_written_by_either_address(
    pages: dict[int, str], symbols: dict[str, int], first: str, end: str, *, executable: bool
) -> None:
    for page in _between(symbols, first, end):
        assert "W" not in pages[page], f"{page:#x}"
        assert ("X" not in pages[page]) == executable, f"{page:#x}"
        direct = page - _LOADED_AT
        assert "W" not in pages[direct] and "X" in pages[direct], f"{direct:#x}"


@pytest.mark.parametrize(
    ("first", "end"),
    [
        ("_etext", "__start_rodata"),
        ("__end_rodata", "_sdata"),
        ("__init_begin", "__init_end"),
    ],
)
def test_what_is_given_back_is_memory_like_any_other(
    pages: dict[int, str], symbols: dict[str, int], first: str, end: str
) -> None:
    start = -(-symbols[first] // _SMALL) * _SMALL
    gap = range(start, symbols[end] & -_SMALL, _SMALL)
    assert len(gap) > 100
    for page in gap:
        assert {"W", "X"} <= set(pages.get(page, "WX")), f"{page:#x}"
        direct = page - _LOADED_AT
        assert {"W", "X"} <= set(pages[direct]), f"{direct:#x}"


def test_the_direct_map_is_data(pages: dict[int, str]) -> None:
    direct = {page: flags for page, flags in pages.items() if page in _DIRECT}
    assert len(direct) > 0.9 * len(_DIRECT) / _SMALL
    assert all("X" in flags for page, flags in direct.items() if page not in _LOW)
    assert min(pages) >= KERNEL
