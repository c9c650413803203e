"""Baselines: what an image's boots cost when somebody last agreed to it, `ci/baseline/IMAGE.json`.

A file holds an array of records. Each is keyed by the kind of boot and by all that its figures
hold for (sprout.cost.model.Key), and says why it is as it is. When it was accepted, git knows.

A change may be accepted on a machine whose figures no commit before has. Then the record says
itself what they were (`was`), so that other machines know what was accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import write_file
from sprout.cost.compare import Accepted, Change, compare, floor
from sprout.cost.fields import Fields, json_text, load_json
from sprout.cost.figures import BYTES, INSTRUCTIONS, MEMORY, WAIT, Figure, figures
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
_KINDS = (INSTRUCTIONS, WAIT, BYTES, MEMORY)
_HINT = "Take it from git again, or accept a new one: sprout cost IMAGE --accept --reason TEXT."


@dataclass(frozen=True)
class Record:
    """One accepted measurement, cut to what is worth keeping, and why it was accepted.

    `was` has the figures on the same machine before the first record of its key, where that record
    came with a change of them.
    """

    measurement: Measurement
    reason: str
    was: dict[Figure, int] | None = None

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
    was = _was(row.fields("was")) if "was" in row.keys() else None  # noqa: SIM118 - is no dict
    record = Record(measurement, row.text("reason"), was)
    row.finish()
    return record


def _was(row: Fields) -> dict[Figure, int]:
    found = {
        Figure(kind, name): value
        for kind in _KINDS
        for name, value in read_numbers(row.fields(kind)).items()
    }
    row.finish()
    return found


def write_baseline(path: Path, records: Sequence[Record]) -> None:
    """Write records to `path`, whole or not at all, so that a change of one shows as that."""
    ordered = sorted(records, key=lambda record: (record.measurement.boot, _order(record)))
    write_file(path, json_text([_json(record) for record in ordered]).encode())


def _order(record: Record) -> tuple[str, ...]:
    return tuple(map(str, asdict(record.measurement.key).values()))


def _json(record: Record) -> dict[str, object]:
    measurement = record.measurement
    was = {"was": _was_json(record.was)} if record.was is not None else {}
    return {
        "boot": measurement.boot,
        "reason": record.reason,
        "key": asdict(measurement.key),
        **was,
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


def _was_json(was: dict[Figure, int]) -> dict[str, dict[str, int]]:
    return {
        kind: {figure.name: value for figure, value in was.items() if figure.kind == kind}
        for kind in _KINDS
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


def accept(
    records: Sequence[Record],
    now: Measurement,
    reason: str,
    *,
    base: Measurement | None = None,
    base_records: Sequence[Record] = (),
) -> list[Record]:
    """Give the records with `now` in place of its predecessor.

    Where there is none, `base` is the commit before, measured on this machine, and `base_records`
    its baseline. Records of the same kind of boot with other keys go when `now` costs something
    else than either of them: they then describe what is no more, and nobody could mend them but on
    a machine like theirs. Without a record the gate compares with the base commit, and learns from
    `Record.was` what was accepted.
    """
    predecessor = next((record for record in records if record.fits(now)), None)
    rest = [record for record in records if record is not predecessor]
    kept = [record for record in rest if record.measurement.boot != now.boot]
    was, changed = None, False
    if predecessor is not None:
        was = predecessor.was
        changed = _moved(compare(now, predecessor.measurement))
        if changed and was is None and len(kept) < len(rest):
            # An older commit may have the others' records alone, which go.
            was = figures(predecessor.measurement)
    elif base is not None:
        accepted = accepted_between(base_records, records, now.boot)
        changed = _moved(compare(now, base, accepted=accepted))
        if _moved(compare(now, base)):
            was = figures(base)
    return [*(kept if changed else rest), Record(cut(now), reason, was)]


def _moved(changes: Iterable[Change]) -> bool:
    return any(change.grew or change.improved for change in changes)


def accepted_between(before: Sequence[Record], now: Sequence[Record], boot: str) -> Accepted | None:
    """Give what the baselines of two commits say was accepted between them for a kind of boot.

    A record is held against the one of its key in `before`, where that has none against its own
    `was`. None when neither is there for any key, or nothing differs.
    """
    for record in now:
        if record.measurement.boot != boot:
            continue
        other = next((one for one in before if one.fits(record.measurement)), None)
        old = figures(other.measurement) if other is not None else record.was
        new = figures(record.measurement)
        if old is not None and old != new:
            return Accepted(old, new)
    return None
