"""A measurement as JSON (schema/measurement.json): exact integers, read back strictly.

The calling contexts (`Measurement.frames`) are not in it: they are ten times the size of all the
rest, and what is compared are functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import write_file
from sprout.cost.fields import Fields, json_text, load_json
from sprout.cost.model import Cost, Key, Measurement, Phase
from sprout.vm.stages import ZoneTimes

MAX_JSON_BYTES = 8 << 20
SCHEMA = Path(__file__).with_name("schema") / "measurement.json"
# Exact mode is TCG's: KVM counts no instructions that repeat.
_ACCELERATOR = "tcg"
_BOOTS = ("uefi", "pvh")
_ZONE_NUMBERS = ("create", "kernel", "init", "ready", "free_kib")
_HINT = "Write it again: sprout cost IMAGE --json FILE."


def measurement_json(measurement: Measurement) -> dict[str, object]:
    """Give a measurement as a JSON object."""
    return {
        "image": measurement.image,
        "arch": measurement.key.arch,
        "accelerator": _ACCELERATOR,
        "exact": True,
        "boot": measurement.boot,
        "key": asdict(measurement.key),
        "phases": [asdict(phase) for phase in measurement.phases],
        "emulator_instructions": measurement.emulator_instructions,
        "bytes": dict(measurement.bytes_of),
        "memory_kib": measurement.memory_kib,
        "zones": [asdict(zone) for zone in measurement.zones],
        "initcalls": dict(sorted(measurement.initcalls.items())),
        "functions": functions_json(measurement.functions),
    }


def functions_json(functions: Mapping[str, Mapping[str, Cost]]) -> dict[str, object]:
    """Give functions by phase and name as a JSON object, the names sorted: [own, total, calls]."""
    return {
        phase: {name: [cost.own, cost.total, cost.calls] for name, cost in sorted(costs.items())}
        for phase, costs in functions.items()
    }


def write_measurements(path: Path, measurements: Sequence[Measurement]) -> None:
    """Write measurements to `path`, whole or not at all: one as an object, more as an array."""
    rows = [measurement_json(measurement) for measurement in measurements]
    write_file(path, json_text(rows[0] if len(rows) == 1 else rows).encode())


def read_measurements(path: Path) -> list[Measurement]:
    """Read what `write_measurements` wrote; `frames` is empty.

    Raises SproutError, naming file and field, for anything that is not exactly that.
    """
    value = load_json(path, MAX_JSON_BYTES, _HINT)
    if not isinstance(value, list):
        return [_measurement(Fields(str(path), "", value, _HINT))]
    found = [
        _measurement(Fields(str(path), f"[{index}]", row, _HINT)) for index, row in enumerate(value)
    ]
    if not found:
        raise SproutError(f"{path}: holds no measurement", _HINT)
    if len({(one.image, one.boot) for one in found}) != len(found):
        raise SproutError(f"{path}: holds two measurements of one image", _HINT)
    return found


def _measurement(row: Fields) -> Measurement:
    row.true("exact")
    if row.text("accelerator") != _ACCELERATOR:
        raise row.error("accelerator", f"is not {_ACCELERATOR}")
    key = read_key(row.fields("key"))
    if row.text("arch") != key.arch:
        raise row.error("arch", "is not that of key.arch")
    measurement = Measurement(
        image=row.text("image"),
        boot=read_boot(row),
        key=key,
        phases=read_phases(row, wall=True),
        emulator_instructions=row.number("emulator_instructions"),
        bytes_of=read_numbers(row.fields("bytes")),
        memory_kib=row.number("memory_kib"),
        functions=read_functions(row.fields("functions")),
        initcalls=read_numbers(row.fields("initcalls")),
        frames={},
        zones=_read_zones(row),
    )
    row.finish()
    return measurement


def _read_zones(row: Fields) -> tuple[ZoneTimes, ...]:
    zones = []
    for entry in row.rows("zones"):
        numbers = {name: entry.number(name) for name in _ZONE_NUMBERS}
        zones.append(ZoneTimes(name=entry.text("name"), **numbers))
        entry.finish()
    return tuple(zones)


def read_boot(row: Fields) -> str:
    """Read the field "boot": "uefi" or "pvh"."""
    boot = row.text("boot")
    if boot not in _BOOTS:
        raise row.error("boot", f"is none of {', '.join(_BOOTS)}")
    return boot


def read_key(row: Fields) -> Key:
    """Read a key from its JSON object; raises SproutError when that is not one."""
    values = {
        field.name: row.number(field.name) if field.type == "int" else row.text(field.name)
        for field in fields(Key)
    }
    row.finish()
    return Key(**values)  # type: ignore[arg-type]  # each by its own type, above


def read_phases(row: Fields, *, wall: bool) -> tuple[Phase, ...]:
    """Read the array "phases", with the host's time or (as 0) without it."""
    phases = []
    for entry in row.rows("phases"):
        name, instructions = entry.text("name"), entry.number("instructions")
        wait_ns = entry.number("wait_ns")
        phases.append(Phase(name, instructions, wait_ns, entry.real("wall_ms") if wall else 0.0))
        entry.finish()
    if not phases:
        raise row.error("phases", "is empty")
    if len({phase.name for phase in phases}) != len(phases):
        raise row.error("phases", "has a name twice")
    return tuple(phases)


def read_numbers(row: Fields) -> dict[str, int]:
    """Read an object whose values are all whole numbers."""
    return {name: row.number(name) for name in row.keys()}  # noqa: SIM118 - is no dict


def read_functions(row: Fields) -> dict[str, dict[str, Cost]]:
    """Read functions by phase and name."""
    found: dict[str, dict[str, Cost]] = {}
    for phase in row.keys():  # noqa: SIM118 - is no dict
        costs, entries = found.setdefault(phase, {}), row.fields(phase)
        for name in entries.keys():  # noqa: SIM118 - is no dict
            own, total, calls = entries.numbers(name, 3)
            costs[name] = Cost(own, total, calls)
    return found
