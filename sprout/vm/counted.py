"""Reads what the counting plugin wrote (counter/main.c, counter/tree.c): lines of hexadecimal."""

from __future__ import annotations

from dataclasses import dataclass

from sprout.base.errors import SproutError

MAX_BYTES = 512 << 20
_HEAD = "sprout-counter 3"
_HINT = "Use plugin and tool of one version; if it persists, report the line above."

# In the place of an image's number, where there is a hypervisor: whose code it is (counter.h).
# Below the kernel's half it stands for all user space of that guest.
HYPERVISOR_SPACE, HOST_SPACE, ZONE_SPACE = SPACES = (0xFF01, 0xFF02, 0xFF03)

# Phase, context, block address, image, instructions, times
Count = tuple[int, int, int, int, int, int]


@dataclass(frozen=True)
class PhaseCount:
    """One phase: instructions, virtual ns waited without any, and ns on the host's clock."""

    name: str
    instructions: int
    wait_ns: int
    host_ns: int


@dataclass(frozen=True)
class LoadedImage:
    """A PE image that code ran in: where it lay, and fields of its header."""

    base: int
    stamp: int
    size: int
    entry: int
    code: int
    checksum: int


@dataclass(frozen=True)
class Context:
    """A calling context: the context it was called from, and the address called.

    Context 0 is the root of all. `image` is the index of the image that the address lies in.
    """

    parent: int
    pc: int
    image: int


@dataclass(frozen=True)
class Counted:
    """A counted boot.

    `instructions` is the sum of the phases, `emulator_instructions` QEMU's own count at the same
    point. `slide` is how far the kernel lay from where it was linked; `first_user` the address of
    user space's first instruction. `calls` says how often a context was called, by (phase,
    context): the phase in which the function that was called began. `counts` are (phase, context,
    block address, image, instructions, how often the block began). `ended_ns` is the virtual time
    at the end; `forwarded` each time that the clock was put forward: its time then, by how much.
    """

    phases: tuple[PhaseCount, ...]
    instructions: int
    emulator_instructions: int
    slide: int
    first_user: int
    images: dict[int, LoadedImage]
    contexts: dict[int, Context]
    calls: dict[tuple[int, int], int]
    counts: list[Count]
    ended_ns: int = 0
    forwarded: tuple[tuple[int, int], ...] = ()


def read_counted(data: bytes) -> Counted:
    """Read the plugin's output.

    Raises SproutError when it is cut short or not of this version, when the boot had more calling
    contexts or images than the plugin holds, or when counting did not end (a mark was not met).
    """
    lines = data.decode("ascii", "replace").split("\n")
    if len(data) > MAX_BYTES or len(lines) < 6 or lines[0] != _HEAD or lines[-2] != "done":
        raise SproutError("counter: its output is cut short", _HINT)
    try:
        return _read(lines[1:-2])
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise SproutError(f"counter: its output is damaged: {error}", _HINT) from error


def _read(lines: list[str]) -> Counted:
    single: dict[str, list[str]] = {}
    phases: list[PhaseCount] = []
    images: dict[int, LoadedImage] = {}
    contexts: dict[int, Context] = {}
    calls: dict[tuple[int, int], int] = {}
    counts: list[Count] = []
    forwarded: list[tuple[int, int]] = []
    for line in lines:
        kind, *words = line.split(" ")
        if kind == "count":
            phase, context, pc, image, amount, times = (int(word, 16) for word in words)
            counts.append((phase, context, pc, image, amount, times))
        elif kind == "node":
            number, *numbers = (int(word, 16) for word in words)
            contexts[number] = Context(*numbers)
        elif kind == "calls":
            phase, context, amount = (int(word, 16) for word in words)
            calls[phase, context] = amount
        elif kind == "image":
            number, *numbers = (int(word, 16) for word in words)
            images[number] = LoadedImage(*numbers)
        elif kind == "forward":
            at, by = (int(word, 16) for word in words)
            forwarded.append((at, by))
        elif kind == "phase":
            phases.append(PhaseCount(words[0], *(int(word, 16) for word in words[1:])))
        else:
            single[kind] = words
    _check_state(single["state"])
    instructions, emulator = (int(word, 16) for word in single["total"])
    slide, first_user = (int(word, 16) for word in single["at"])
    (ended_ns,) = (int(word, 16) for word in single["ended"])
    return Counted(
        *(tuple(phases), instructions, emulator, slide, first_user),
        *(images, contexts, calls, counts),
        ended_ns,
        tuple(forwarded),
    )


def _check_state(words: list[str]) -> None:
    ended, kernel_seen, kernel_fits, truncated = words
    # First: where a table is full marks are missed, so the others may say what is not so.
    if truncated == "1":
        raise SproutError(
            "counter: the boot has more calling contexts, blocks or images than it has room for",
            "Report this, with the image that was booted.",
        )
    if kernel_seen == "1" and kernel_fits == "0":
        raise SproutError(
            "counter: the kernel that ran is not the one whose symbols are there",
            "Build image and kernel again from one tree.",
        )
    if ended == "0":
        raise SproutError(
            "counter: the boot passed its end unseen"
            if kernel_seen == "1"
            else "counter: the kernel was never seen to run",
            "Build the image again; its symbols are of another build.",
        )
