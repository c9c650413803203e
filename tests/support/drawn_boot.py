"""Measurements to draw: shaped like real ones, and as hostile as an ELF file's names can be."""

from __future__ import annotations

import random
from dataclasses import replace

from sprout.cost.model import Cost, Frame, Key, Measurement, Phase

KEY = Key(
    arch="x86_64",
    qemu="7.2.22",
    machine="pc-q35-7.2",
    cpu="max",
    memory_mib=512,
    icount_shift=3,
    firmware="OVMF_CODE_4M.fd",
    firmware_sha256="a1" * 32,
    toolchain="f3" * 32,
)
# What one UEFI boot really cost, in this order.
PHASES = (
    Phase("firmware", 1_082_388_097, 0, 9939.8),
    Phase("stub", 2_123_413, 0, 51.2),
    Phase("decompression", 33_805_145, 0, 191.6),
    Phase("kernel", 140_951_068, 9_250_000, 1748.8),
    Phase("calibration", 27_151_251, 0, 1552.0),
    Phase("init", 340_020, 0, 4.0),
)
HOSTILE = (
    "</title><script>alert(1)</script>",
    "\"' onload='alert(1)",
    "]]>&amp;<!-- -->",
    "{{ 7 * 7 }}{% raw %}",
    "\x00\x1b[31m\u202eevil\ufeff",
    "漢字" * 400,
    "&<>\"'" * 100,
    "",
)
_UNITS = {"decompression": "decompressor", "calibration": "kernel"}


def measurement(
    phases: tuple[Phase, ...] = PHASES,
    *,
    names: tuple[str, ...] = (),
    boot: str = "uefi",
    fan: int = 5,
) -> Measurement:
    """Give a boot whose frames add up to `phases`; `names` are used before made-up ones."""
    chance = random.Random(42)  # noqa: S311 - has to repeat
    frames = {}
    for phase in phases:
        unit = _UNITS.get(phase.name, phase.name)
        frames[phase.name] = root = Frame(phase.name, "phase")
        if phase.instructions:
            _grow(root, phase.instructions, unit, list(names), chance, fan)
    functions = {
        phase.name: {
            f"{child.unit}:{child.name}": Cost(child.own, child.total(), child.calls)
            for child in frames[phase.name].children.values()
        }
        for phase in phases
    }
    initcalls = {name: 1000 * number for number, name in enumerate(names or ("pty_init",), 1)}
    return Measurement(
        image="zone",
        boot=boot,
        key=KEY,
        phases=phases,
        emulator_instructions=sum(phase.instructions for phase in phases),
        bytes_of={"kernel": 4_831_232, "initramfs": 41_472},
        memory_kib=31_520,
        functions=functions,
        initcalls=initcalls,
        frames=frames,
    )


def _grow(  # noqa: PLR0917 - one caller
    root: Frame, amount: int, unit: str, names: list[str], chance: random.Random, fan: int
) -> None:
    """Spread `amount` over frames below `root`, deeper where more is left."""
    pending = [(root, amount, 0)]
    made = 0
    while pending:
        frame, left, depth = pending.pop()
        if left < 2000 or depth > 60 or made > 12_000:
            frame.own += left
            continue
        frame.own += left // 10
        left -= left // 10
        for number in range(fan):
            part = left if number == fan - 1 else int(left * chance.random())
            left -= part
            name = names.pop() if names else f"do_some_of_the_work_{made}"
            made += 1
            child = Frame(name, unit, calls=chance.randrange(5))
            frame.children[unit, f"{name} {made}"] = child
            pending.append((child, part, depth + 1))


def with_image(sample: Measurement, image: str) -> Measurement:
    """Give the same boot under another name."""
    return replace(sample, image=image)
