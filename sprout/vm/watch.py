"""What the counting plugin watches for: where each phase of a boot begins (counter/config.c)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Watch:
    """Phases in order, the first from power-on, and the marks at which they begin."""

    phases: tuple[str, ...]
    marks: tuple[str, ...]

    def text(self) -> str:
        """Give the plugin's configuration."""
        lines = [*(f"phase {name}" for name in self.phases), *self.marks]
        return "".join(f"{line}\n" for line in lines)


def at_image(phase: str, *, stamp: int, size: int, entry: int) -> str:
    """`phase` begins at the entry point of the PE image with these header fields.

    They are TimeDateStamp, SizeOfImage and AddressOfEntryPoint.
    """
    return f"image {phase} {stamp:x} {size:x} {entry:x}"


def at_physical(phase: str, address: int) -> str:
    """`phase` begins at an address in memory below 4 GiB."""
    return f"physical {phase} {address:x}"


def at_code(phase: str, code: bytes) -> str:
    """`phase` begins at a block below 4 GiB that begins with these 8 bytes, wherever it lies."""
    return f"code {phase} {int.from_bytes(code[:8], 'little'):x}"


def at_kernel(phase: str, address: int | None = None) -> str:
    """`phase` begins when the kernel runs at its own addresses, first the one linked `address`.

    Without it no function of the kernel can be told, and nothing is checked.
    """
    return f"kernel {phase}" if address is None else f"kernel {phase} {address:x}"


def during(phase: str, address: int) -> str:
    """`phase` lasts while the kernel's function linked at `address` runs, with all that it calls.

    One that begins during another interrupts that one's phase, up to four deep.
    """
    return f"span {phase} {address:x}"


def through(address: int, end: int) -> str:
    """Code of the kernel linked from `address` to `end` only passes calls on: thunks."""
    return f"thunk {address:x} {end:x}"


def forward(address: int) -> str:
    """The clock is put forward to a full step when the kernel's function at `address` begins.

    What the kernel draws from the clock there then does not depend on what ran before. It is no
    wait, and costs no instruction.
    """
    return f"forward {address:x}"


def forward_at(phase: str) -> str:
    """The clock is put forward to a full step when `phase` begins (see `forward`)."""
    return f"forward-phase {phase}"


def at_user(phase: str) -> str:
    """`phase` begins with user space's first instruction."""
    return f"user {phase}"


def until(offset: int) -> str:
    """Counting ends `offset` bytes after user space's first instruction."""
    return f"end {offset:x}"
