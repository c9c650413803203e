"""Measurements for the gate's tests: small, whole, and easy to make worse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sprout.cost.budget import Budget
from sprout.cost.figures import figures
from sprout.cost.model import Cost, Key, Measurement, Phase

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
OTHER_KEY = replace(KEY, qemu="10.0.3", machine="pc-q35-10.0", toolchain="e2" * 32)
FUNCTIONS = {
    "firmware": {"firmware:DxeCore": Cost(900_000_000, 1_082_000_000, 10)},
    "stub": {
        "stub:efi_main": Cost(1_000, 2_100_000, 1),
        "stub:placement_make": Cost(600_000, 640_000, 1),
        "firmware:VariableRuntimeDxe": Cost(1_400_000, 1_400_000, 6_000),
    },
    # start_kernel -> do_one_initcall -> acpi_init -> acpi_ns_lookup -> memcmp
    #                                 -> pty_init  -> tty_register_driver
    "kernel": {
        "kernel:start_kernel": Cost(50_000_000, 140_000_000, 1),
        "kernel:do_one_initcall": Cost(1_000_000, 40_000_000, 300),
        "kernel:acpi_init": Cost(500_000, 15_000_000, 1),
        "kernel:acpi_ns_lookup": Cost(9_000_000, 12_000_000, 4_000),
        "kernel:memcmp": Cost(20_000_000, 20_000_000, 900_000),
        "kernel:pty_init": Cost(1_000, 60_000, 1),
        "kernel:tty_register_driver": Cost(30_000, 900_000, 4),
        "kernel:tty_register_device_attr": Cost(100_000, 800_000, 16),
        "kernel:small": Cost(9_000, 9_000, 3),
    },
    "init": {"init:_start_c": Cost(1_000, 340_000, 1), "init:mount_all": Cost(2_000, 300_000, 1)},
}
INITCALLS = {"acpi_init": 15_000_000, "pty_init": 60_000, "tiny_init": 20}


def measurement(image: str = "zone", boot: str = "uefi", key: Key = KEY) -> Measurement:
    """Give a boot whose phases sum to the emulator's total, less 2 instructions."""
    phases = (
        Phase("firmware", 1_082_000_000, 0, 9_939.8),
        Phase("stub", 2_100_000, 0, 51.2),
        Phase("kernel", 140_000_000, 2_000_000, 1_748.8),
        Phase("init", 340_000, 0, 4.0),
    )
    return Measurement(
        image=image,
        boot=boot,
        key=key,
        phases=phases,
        emulator_instructions=sum(phase.instructions for phase in phases) - 2,
        bytes_of={
            "kernel": 4_785_152,
            "initramfs": 23_580,
            "image": 4_824_064,
            "read": 4_808_751,
            "copied": 4_808_732,
        },
        memory_kib=39_096,
        functions=FUNCTIONS,
        initcalls=INITCALLS,
        frames={},
    )


def changed(
    before: Measurement,
    phase: str,
    delta: int,
    functions: dict[str, tuple[int, int, int]] | None = None,
    *,
    wait_ns: int = 0,
) -> Measurement:
    """Give `before` with a phase `delta` instructions dearer.

    `functions` says what is added to own, total and calls of each function; new ones are made.
    """
    costs = dict(before.functions.get(phase, {}))
    for name, (own, total, calls) in (functions or {}).items():
        cost = costs.get(name, Cost(0, 0, 0))
        costs[name] = Cost(cost.own + own, cost.total + total, cost.calls + calls)
    return replace(
        before,
        phases=tuple(
            replace(p, instructions=p.instructions + delta, wait_ns=p.wait_ns + wait_ns)
            if p.name == phase
            else p
            for p in before.phases
        ),
        emulator_instructions=before.emulator_instructions + delta,
        functions={**before.functions, phase: costs},
    )


def with_new_phase(before: Measurement, name: str, instructions: int) -> Measurement:
    """Give `before` with one phase more at its end."""
    return replace(
        before,
        phases=(*before.phases, Phase(name, instructions, 0, 1.0)),
        emulator_instructions=before.emulator_instructions + instructions,
        functions={
            **before.functions,
            name: {"init:late_work": Cost(instructions, instructions, 1)},
        },
    )


def with_bytes(before: Measurement, name: str, delta: int) -> Measurement:
    """Give `before` with one of its sizes larger."""
    sizes = {**before.bytes_of, name: before.bytes_of[name] + delta}
    return replace(before, bytes_of=sizes)


# 32.4 million more in an initcall that hardly cost anything, below its callers; what it calls is
# called more often, and by others too.
LEGACY_PTYS = {
    "kernel:start_kernel": (0, 32_400_000, 0),
    "kernel:do_one_initcall": (0, 32_400_000, 0),
    "kernel:pty_init": (5_000, 32_400_000, 0),
    "kernel:tty_register_driver": (300_000, 32_395_000, 2),
    "kernel:tty_register_device_attr": (32_000_000, 32_000_000, 640),
}


def budget_of(one: Measurement, **limits: int) -> Budget:
    """Give a budget of twice what `one` costs and more, but for the named figures."""
    found = {figure: value * 2 + 10_000_000 for figure, value in figures(one).items()}
    found |= {figure: limits.get(figure.name, value) for figure, value in found.items()}
    return Budget(Path("ci/budgets.toml"), found, dict.fromkeys(found, 7))


ROOM = budget_of(measurement())
