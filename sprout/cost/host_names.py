"""Names for addresses of a host's boot: the hypervisor's, its host's and the zones' functions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sprout.cost.firmware import Modules, name_address, name_image
from sprout.cost.measure import header_of
from sprout.cost.symbols import KERNEL_HALF, LOW_END, Table
from sprout.vm.counted import HYPERVISOR_SPACE, SPACES, ZONE_SPACE, Counted, LoadedImage

_LAST_BYTES = 64 << 10
_UNITS = {HYPERVISOR_SPACE: "xen", ZONE_SPACE: "zone"}


@dataclass(frozen=True)
class HostSymbols:
    """Tables of all that runs; `hypervisor` is None where its functions are not known.

    `launcher` is the host's program that lies at a fixed address, from its `start` to its `end`.
    """

    hypervisor: Table | None
    kernel: Table
    zone: Table
    stub: Table
    modules: Modules
    launcher: Table | None = None


class HostNamer:
    """Names addresses of one counted boot; remembers, because the same ones come often.

    Units are "firmware", "stub", "xen", "kernel" (the host's), "zone" (its kernel), "launcher" and
    "programs" (the rest of the user space of host or zones).
    """

    def __init__(self, symbols: HostSymbols, counted: Counted, image: Path) -> None:
        self._symbols = symbols
        self._slide = counted.slide
        self._stub = header_of(image)
        self._images = counted.images
        self._known: dict[tuple[int, int], tuple[str, str]] = {}

    def name(self, pc: int, image: int) -> tuple[str, str]:
        """Give (unit, function) for an address; `image` is as in `Counted.counts`."""
        key = (pc, image)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._find(pc, image)
        return known

    def begins(self, pc: int, image: int) -> bool:
        """Tell whether a function begins at an address."""
        table, address = self._place(pc, image)
        return table is not None and table.begins(address)

    def _place(self, pc: int, image: int) -> tuple[Table | None, int]:
        symbols = self._symbols
        if image in SPACES and pc >= KERNEL_HALF:
            if image == HYPERVISOR_SPACE:
                return symbols.hypervisor, pc
            if image == ZONE_SPACE:
                return symbols.zone, pc
            return symbols.kernel, pc - self._slide
        if self._is_launcher(pc, image):
            return symbols.launcher, pc
        loaded = self._images.get(image)
        if loaded is not None and self._is_stub(loaded):
            return symbols.stub, pc - loaded.base
        return None, pc

    def _is_launcher(self, pc: int, image: int) -> bool:
        table = self._symbols.launcher
        if table is None or image in SPACES or image in self._images:
            return False
        return table.addresses[0] <= pc < table.addresses[-1] + _LAST_BYTES

    def _find(self, pc: int, image: int) -> tuple[str, str]:
        table, address = self._place(pc, image)
        name = table.name(address) if table is not None else None
        if image in SPACES:
            if pc < KERNEL_HALF:
                return ("programs", "the zones'" if image == ZONE_SPACE else "the host's")
            return (_UNITS.get(image, "kernel"), name or "?")
        if pc >= LOW_END:
            return ("programs", "where counting begins") if pc < KERNEL_HALF else ("kernel", "?")
        return self._find_low(pc, image, name)

    def _find_low(self, pc: int, image: int, name: str | None) -> tuple[str, str]:
        if self._is_launcher(pc, image):
            return ("launcher", name or "?")
        loaded = self._images.get(image)
        modules = self._symbols.modules
        if loaded is None:
            # Xen's first steps, and a PVH kernel's, are in low memory too.
            return ("firmware", name_address(modules, pc) or "outside any module")
        if self._is_stub(loaded):
            return ("stub", name or "?")
        found = name_image(
            modules, loaded.stamp, loaded.size, loaded.entry, loaded.code, loaded.checksum
        )
        return ("firmware", found or "unknown module")

    def _is_stub(self, image: LoadedImage) -> bool:
        return (image.stamp, image.size, image.entry) == self._stub
