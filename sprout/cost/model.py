"""What one measurement says: phases, figures and functions of one boot, and what they hold for.

Instructions and waits repeat exactly (see `sprout.vm.exact`), so two measurements with the same
key may be compared to the instruction. Wall time is the host's and informs only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sprout.vm.stages import ZoneTimes


@dataclass(frozen=True)
class Phase:
    """One phase: instructions executed, virtual ns waited without any, and ms on the host."""

    name: str
    instructions: int
    wait_ns: int
    wall_ms: float


@dataclass(frozen=True)
class Key:
    """What a measurement's figures depend on besides the image: all of it has to be the same.

    `toolchain` is a digest over the programs that built the image; `icount_shift` says that an
    instruction takes 2^n virtual nanoseconds.
    """

    arch: str
    qemu: str
    machine: str
    cpu: str
    memory_mib: int
    icount_shift: int
    firmware: str
    firmware_sha256: str
    toolchain: str


@dataclass(frozen=True)
class Cost:
    """What a function cost in one phase: instructions of its own, with all that it called, calls.

    A recursive function's `total` counts every instruction once.
    """

    own: int
    total: int
    calls: int


@dataclass
class Frame:
    """One calling context: a function as it was called by the frames above it.

    `unit` is where the function lives: "firmware", "stub", "decompressor", "kernel", "init"; a
    frame's total is `own` and its children's totals.
    """

    name: str
    unit: str
    own: int = 0
    calls: int = 0
    children: dict[tuple[str, str], Frame] = field(default_factory=dict)

    def total(self) -> int:
        """Give the instructions of this context and of everything below it."""
        amount, pending = 0, [self]
        while pending:
            frame = pending.pop()
            amount += frame.own
            pending.extend(frame.children.values())
        return amount


@dataclass(frozen=True)
class Measurement:
    """One image's boot, measured.

    `boot` is "uefi" or "pvh". `bytes_of` holds sizes by name: "kernel", "initramfs", "image" (of
    the files) and "read", "copied" (by the stub); `memory_kib` what the guest has taken when it
    is ready. `functions` is by phase, then by "unit:function"; `initcalls` the instructions of
    each initcall with all that it called. `frames` is one root frame per phase, by its name.
    `zones` are a host's: what each took and when it was ready after the stub's entry, in ticks
    that are virtual ns, and in which more may have run than this zone.
    """

    image: str
    boot: str
    key: Key
    phases: tuple[Phase, ...]
    emulator_instructions: int
    bytes_of: dict[str, int]
    memory_kib: int
    functions: dict[str, dict[str, Cost]]
    initcalls: dict[str, int]
    frames: dict[str, Frame]
    zones: tuple[ZoneTimes, ...] = ()
