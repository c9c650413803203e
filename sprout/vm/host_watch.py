"""What the counting plugin watches for where a hypervisor runs a host and its zones.

Host and zones have the same addresses, so an address alone marks nothing of theirs: marks of guests
name the bytes that lie there too, and the phase that has to be before (see counter/config.c).
"""

from __future__ import annotations

MAX_CODE = 32

# With this line all marks of `sprout.vm.watch` are the hypervisor's or its host's.
HYPERVISOR = "hypervisor"


def during_hypervisors(phase: str, address: int) -> str:
    """`phase` lasts while the hypervisor's function at `address` runs, with all that it calls."""
    return f"hypervisor-span {phase} {address:x}"


def during_zones(phase: str, address: int) -> str:
    """`phase` lasts while the function of the zones' kernel linked at `address` runs."""
    return f"zone-span {phase} {address:x}"


def through_hypervisors(address: int, end: int) -> str:
    """Code of the hypervisor from `address` to `end` only passes calls on: thunks."""
    return f"hypervisor-thunk {address:x} {end:x}"


def through_zones(address: int, end: int) -> str:
    """Code of the zones' kernel from `address` to `end` only passes calls on: thunks."""
    return f"zone-thunk {address:x} {end:x}"


def forward_in_zones(address: int) -> str:
    """The clock is put forward when the zones' kernel runs its function linked at `address`."""
    return f"zone-forward {address:x}"


def at_guest(phase: str, address: int, code: bytes, *, after: str) -> str:
    """`phase` begins where a guest's kernel is entered: at `address`, where `code` lies."""
    return f"guest {phase} {after} {address:x} {code[:MAX_CODE].hex()}"


def at_program(phase: str, code: bytes, *, after: str) -> str:
    """`phase` begins at a program in user space that begins with `code`, wherever it lies."""
    return f"program {phase} {after} {code[:MAX_CODE].hex()}"


def at_offset(phase: str, offset: int, code: bytes, *, after: str) -> str:
    """`phase` begins `offset` bytes after user space's first instruction, where `code` lies."""
    return f"at {phase} {after} {offset:x} {code[:MAX_CODE].hex()}"
