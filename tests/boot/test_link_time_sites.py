"""Returns, sealed functions and lists that are written when the kernel is linked."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from spinning_machine import spinning, spinning_initramfs, symbols_of

_PLAIN = bytes.fromhex("c3cccccccc")
_TRAMPOLINE = bytes.fromhex("0fb9cc")  # ud1, behind the jump of a static call's trampoline
_JUMP = 0xE9
_SITES = 20_000  # there are more
_LOADED_AT = 0x100_0000  # CONFIG_PHYSICAL_START
_LINKED_AT = 0xFFFF_FFFF_8000_0000  # __START_KERNEL_map


class Kernel:
    """What a linked kernel holds, by its addresses."""

    def __init__(self, image: Path) -> None:
        self.image = image
        self.places = symbols_of(image)
        with (image.parent / "vmlinux").open("rb") as file:
            self._segments = [
                (segment["p_vaddr"], segment.data())
                for segment in ELFFile(file).iter_segments("PT_LOAD")
            ]

    def read(self, address: int, size: int) -> bytes:
        for start, data in self._segments:
            if start <= address and address + size <= start + len(data):
                return bytes(data[address - start : address - start + size])
        raise AssertionError(f"{address:#x} is in no segment")

    def listed(self, first: str, end: str) -> list[int]:
        """Give the addresses in a list of relative ones, between two symbols."""
        start, size = self.places[first], self.places[end] - self.places[first]
        entries = struct.iter_unpack("<i", self.read(start, size))
        return [start + 4 * index + offset for index, (offset,) in enumerate(entries)]

    def plain_returns(self) -> list[int]:
        return self.listed("__tramp_return_sites_end", "__plain_return_sites_end")


@pytest.fixture(scope="module")
def kernel(zone_kernel: Path) -> Kernel:
    return Kernel(zone_kernel)


@pytest.fixture(scope="module")
def initramfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spinning_initramfs(tmp_path_factory.mktemp("sites"))


def test_all_returns_are_written_and_all_seals(kernel: Kernel) -> None:
    assert kernel.listed("__return_sites", "__return_sites_end") == []
    assert kernel.listed("__ibt_endbr_seal", "__ibt_endbr_seal_end") == []
    trampolines = kernel.listed("__return_sites_end", "__tramp_return_sites_end")
    plain = kernel.plain_returns()
    assert len(plain) > _SITES and len(trampolines) > 100
    for site in trampolines:
        assert kernel.read(site, 8) == _PLAIN + _TRAMPOLINE, f"{site:#x}"
    for site in plain:
        assert kernel.read(site, 5) == _PLAIN, f"{site:#x}"
        assert kernel.read(site + 5, 3) != _TRAMPOLINE, f"{site:#x}"


def test_no_jump_to_the_thunk_is_left(kernel: Kernel) -> None:
    start, end = kernel.places["_stext"], kernel.places["_etext"]
    text, thunk = kernel.read(start, end - start), kernel.places["__x86_return_thunk"]
    left = []
    at = text.find(_JUMP)
    while at >= 0 and at + 5 <= len(text):
        (offset,) = struct.unpack_from("<i", text, at + 1)
        if start + at + 5 + offset == thunk:
            left.append(start + at)
        at = text.find(_JUMP, at + 1)
    assert left == []


def test_sites_of_a_static_call_are_together(kernel: Kernel) -> None:
    """The kernel looks for a key's sites from the first on, and ends at another key's."""
    start, end = (kernel.places[f"__{which}_static_call_sites"] for which in ("start", "stop"))
    keys = []
    for at in range(start, end, 8):
        (offset,) = struct.unpack("<i", kernel.read(at + 4, 4))
        keys.append((at + 4 + offset) & ~3)  # two flags
    assert len(keys) > 500
    runs = [key for key, _ in itertools.groupby(keys)]
    assert len(runs) == len(set(runs)) < len(keys)


@pytest.mark.parametrize(
    ("cpu", "thunk"),
    [
        ("max", None),
        ("EPYC-Milan", "srso_alias_return_thunk"),
        ("Skylake-Server", "its_return_thunk"),
    ],
)
def test_processor_gets_the_returns_that_it_wants(
    cpu: str, thunk: str | None, kernel: Kernel, initramfs: Path, tmp_path: Path
) -> None:
    start = kernel.places["_text"]
    end = kernel.places["_etext"]
    with spinning(cpu, "nokaslr", kernel.image, initramfs, tmp_path / "console") as machine:
        assert "Unpatched return thunk" not in machine.console()
        machine.ask("stop")
        text = machine.physical(start - _LINKED_AT, end - start, tmp_path)
    assert start - _LINKED_AT == _LOADED_AT
    jumps = returns = 0
    for site in kernel.plain_returns():
        if not start <= site < end:
            continue  # thrown away after booting
        found = text[site - start : site - start + 5]
        if found == _PLAIN:
            returns += 1
            # ITS leaves those in a line's second half (arch/x86/kernel/alternative.c).
            assert thunk is None or (thunk == "its_return_thunk" and site & 0x20), f"{site:#x}"
        else:
            assert thunk is not None and found[0] == _JUMP, f"{site:#x}"
            (offset,) = struct.unpack_from("<i", found, 1)
            assert site + 5 + offset == kernel.places[thunk], f"{site:#x}"
            jumps += 1
    assert returns + jumps > _SITES
    assert bool(jumps) == (thunk is not None)
