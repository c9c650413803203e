"""Baselines: what an image's boots cost when somebody last agreed to it, `ci/baseline/IMAGE.json`.

A file holds an array of records. Each is keyed by the kind of boot and by all that its figures
hold for (sprout.cost.model.Key), and says why it is as it is. When it was accepted, git knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import write_file
from sprout.cost.compare import Accepted, compare, floor
from sprout.cost.fields import Fields, json_text, load_json
from sprout.cost.figures import figures
from sprout.cost.model import Measurement
from sprout.cost.record import (
    functions_json,
    read_boot,
    read_functions,
    read_key,
    read_numbers,
    read_phases,
)

SCHEMA = Path(__file__).with_name("schema") / "baseline.json"
BASELINES = Path("ci/baseline")
MAX_BYTES = 8 << 20
_MIN_INITCALL = 1000
_HINT = "Take it from git again, or accept a new one: sprout cost IMAGE --accept --reason TEXT."


@dataclass(frozen=True)
class Record:
    """One accepted measurement, cut to what is worth keeping, and why it was accepted."""

    measurement: Measurement
    reason: str

    def fits(self, measurement: Measurement) -> bool:
        """Tell whether `measurement` may be compared with this record."""
        mine = self.measurement
        return (mine.boot, mine.key) == (measurement.boot, measurement.key)


def baseline_path(root: Path, image: str) -> Path:
    """Give where the baseline of an image of the tree at `root` is."""
    return root / BASELINES / f"{image}.json"


def load_baseline(path: Path, image: str) -> list[Record]:
    """Read the records of `image`.

    Raises SproutError, naming file and field, when the file is not exactly a baseline.
    """
    value = load_json(path, MAX_BYTES, _HINT)
    if not isinstance(value, list):
        raise SproutError(f"{path}: its top level: is not an array", _HINT)
    records = [
        _record(Fields(str(path), f"[{n}]", row, _HINT), image) for n, row in enumerate(value)
    ]
    for index, record in enumerate(records):
        if any(other.fits(record.measurement) for other in records[:index]):
            raise SproutError(f"{path}: [{index}].key: is there twice", _HINT)
    return records


def _record(row: Fields, image: str) -> Record:
    measurement = Measurement(
        image=image,
        boot=read_boot(row),
        key=read_key(row.fields("key")),
        phases=read_phases(row, wall=False),
        emulator_instructions=row.number("emulator_instructions"),
        bytes_of=read_numbers(row.fields("bytes")),
        memory_kib=row.number("memory_kib"),
        functions=read_functions(row.fields("functions")),
        initcalls=read_numbers(row.fields("initcalls")),
        frames={},
    )
    record = Record(measurement, row.text("reason"))
    row.finish()
    return record


def write_baseline(path: Path, records: Sequence[Record]) -> None:
    """Write records to `path`, whole or not at all, so that a change of one shows as that."""
    ordered = sorted(records, key=lambda record: (record.measurement.boot, _order(record)))
    write_file(path, json_text([_json(record) for record in ordered]).encode())


def _order(record: Record) -> tuple[str, ...]:
    return tuple(map(str, asdict(record.measurement.key).values()))


def _json(record: Record) -> dict[str, object]:
    measurement = record.measurement
    return {
        "boot": measurement.boot,
        "reason": record.reason,
        "key": asdict(measurement.key),
        "phases": [
            {"name": p.name, "instructions": p.instructions, "wait_ns": p.wait_ns}
            for p in measurement.phases
        ],
        "emulator_instructions": measurement.emulator_instructions,
        "bytes": dict(measurement.bytes_of),
        "memory_kib": measurement.memory_kib,
        "initcalls": dict(sorted(measurement.initcalls.items())),
        "functions": functions_json(measurement.functions),
    }


def cut(measurement: Measurement) -> Measurement:
    """Give a measurement with what a baseline keeps of it: no wall time, no small functions."""
    least = {phase.name: floor(phase.instructions) for phase in measurement.phases}
    return replace(
        measurement,
        phases=tuple(replace(phase, wall_ms=0.0) for phase in measurement.phases),
        functions={
            phase: {
                name: cost for name, cost in sorted(costs.items()) if cost.total >= least[phase]
            }
            for phase, costs in measurement.functions.items()
            if phase in least
        },
        initcalls={
            name: amount
            for name, amount in sorted(measurement.initcalls.items())
            if amount >= _MIN_INITCALL
        },
        frames={},
    )


def accept(records: Sequence[Record], now: Measurement, reason: str) -> list[Record]:
    """Give the records with `now` in place of its predecessor.

    Records of the same kind of boot with other keys go when `now` costs something else than its
    predecessor: they then describe what is no more, and nobody could mend them but on a machine
    like theirs. Without a record the gate compares with the base commit.
    """
    predecessor = next((record for record in records if record.fits(now)), None)
    changed = predecessor is not None and any(
        change.grew or change.improved for change in compare(now, predecessor.measurement)
    )
    kept = [
        record
        for record in records
        if not record.fits(now) and not (changed and record.measurement.boot == now.boot)
    ]
    return [*kept, Record(cut(now), reason)]


def accepted_between(before: Sequence[Record], now: Sequence[Record], boot: str) -> Accepted | None:
    """Give what the baselines of two commits say was accepted between them for a kind of boot.

    None when no key has a record in both that differs.
    """
    for record in now:
        if record.measurement.boot != boot:
            continue
        for other in before:
            if other.fits(record.measurement):
                pair = figures(other.measurement), figures(record.measurement)
                if pair[0] != pair[1]:
                    return Accepted(*pair)
    return None
