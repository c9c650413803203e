"""Real firmware takes the `.auth` writes: enrolment in setup mode, then rotation and revocation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from memory_signers import MemorySigner
from secure import (
    DEFAULT_PATH,
    ENROLLED,
    OWNER,
    Keys,
    Tried,
    boot_options,
    enrolled,
    make_disk_of,
    make_store,
    trusting,
    try_in_turn,
    write_plan,
)

from sprout.format import levels
from sprout.signing import siglist
from sprout.signing.authenticode import sign_image
from sprout.signing.variables import APPEND_WRITE, Variable, authenticated, well_known
from sprout.signing.varstore import read_store, signers_record
from sprout.vm.probe import compile_application

SOURCE = Path(__file__).with_name("machine") / "enroll.c"
TAKEN, REFUSED = "0", "1a"  # EFI_SUCCESS, EFI_SECURITY_VIOLATION
LATER = ENROLLED + timedelta(days=1)
LAST = ENROLLED + timedelta(days=2)


@dataclass(frozen=True)
class Write:
    """One authenticated write, and what the firmware has to say to it."""

    variable: Variable
    signer: MemorySigner
    time: datetime
    answer: str = TAKEN
    append: bool = False

    def data(self) -> bytes:
        return authenticated(self.variable, self.time, self.signer, append=self.append)

    def attributes(self) -> int:
        return self.variable.attributes | (APPEND_WRITE if self.append else 0)


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    target = tmp_path_factory.mktemp("enroll") / "enroll.efi"
    compile_application(SOURCE, target)
    return target.read_bytes()


def written(
    application: bytes, writes: list[Write], variables: list[Variable], folder: Path
) -> tuple[Tried, Path]:
    """Make the writes on a machine with `variables`; give what it said, and its store."""
    plan = write_plan([(row.variable, row.data(), row.attributes()) for row in writes])
    disk = make_disk_of(folder / "writer.img", {DEFAULT_PATH: application, "PLAN": plan})
    store = make_store(folder / "before.fd", [*variables, *boot_options(disk, [DEFAULT_PATH])])
    after = folder / "after.fd"
    tried = try_in_turn(disk, [DEFAULT_PATH], store, until="enroll: done", keep=after)
    assert tried.reached, tried.text()
    for number, row in enumerate(writes):
        said = f"enroll: {number:x} status={row.answer}"
        assert said in tried.lines, f"{row.variable.name}: {tried.text()}"
    return tried, after


def contents(store: Path) -> dict[str, Variable]:
    return {row.name: row for row in read_store(store)}


def level(generation: int) -> Variable:
    return well_known(levels.VARIABLE, levels.pack({"sprout-test": generation}), ENROLLED)


def boots_in_turn(images: dict[str, bytes], store: Path, folder: Path) -> Tried:
    """Try images in turn on a machine that goes on from `store`."""
    disk = make_disk_of(folder / "images.img", images)
    options = boot_options(disk, list(images))
    machine = make_store(folder / "again.fd", options, template=store)
    return try_in_turn(disk, list(images), machine, until="sprout-ready ")


def test_machine_in_setup_mode_is_enrolled_and_enforces(
    application: bytes, zone_image: Path, keys: Keys, tmp_path: Path
) -> None:
    zone = zone_image.read_bytes()
    revoked = siglist.pack([siglist.x509(OWNER, keys.old.certificate)])
    writes = [  # PK last: it ends setup mode
        Write(well_known("dbx", revoked), keys.kek, ENROLLED),
        Write(well_known("db", trusting(keys.db)), keys.kek, ENROLLED),
        Write(well_known("KEK", trusting(keys.kek)), keys.pk, ENROLLED),
        Write(level(1), keys.kek, ENROLLED),
        Write(well_known("PK", trusting(keys.pk)), keys.pk, ENROLLED),
    ]
    tried, store = written(application, writes, [], tmp_path)
    modes = [line for line in tried.lines if line.startswith(("enroll: SetupMode", "enroll: Sec"))]
    assert modes[0] == "enroll: SetupMode=1"
    assert "enroll: SetupMode=0" in modes[2:]

    found = contents(store)
    for row in writes:
        of_machine = found[row.variable.name]
        assert (of_machine.data, of_machine.time) == (row.variable.data, ENROLLED)
    # What our own stores record of the SBAT level's owner is what edk2 itself records.
    assert found["certdb"].data == signers_record({level(1): keys.kek.certificate}).data

    after = boots_in_turn(
        {"T/UNSIGNED.EFI": zone, DEFAULT_PATH: sign_image(zone, [keys.db], "zone")},
        store,
        tmp_path,
    )
    assert after.reached, after.text()
    assert set(after.refused) == {"T/UNSIGNED.EFI"}


def test_enforcing_machine_takes_its_owners_writes_alone(
    application: bytes, zone_image: Path, keys: Keys, tmp_path: Path
) -> None:
    zone = zone_image.read_bytes()
    signed = {
        "T/REVOKED.EFI": sign_image(zone, [keys.db], "zone"),
        DEFAULT_PATH: sign_image(zone, [keys.old], "zone"),
    }
    revoked = siglist.pack([siglist.x509(OWNER, keys.db.certificate)])
    unrelated = siglist.pack([siglist.images(OWNER, [bytes(32)])])
    both = trusting(keys.db, keys.old)
    writes = [
        Write(well_known("db", both), keys.kek, LATER),
        Write(well_known("db", trusting(keys.stranger)), keys.stranger, LAST, REFUSED),
        Write(well_known("db", trusting(keys.db)), keys.kek, ENROLLED, REFUSED),  # a replay
        Write(well_known("dbx", unrelated), keys.kek, LATER),
        Write(well_known("dbx", revoked), keys.kek, LAST, append=True),
        Write(well_known("dbx", b""), keys.stranger, LAST, REFUSED),
        Write(level(2), keys.kek, LATER),
        Write(level(1), keys.stranger, LAST, REFUSED),
        Write(level(1), keys.kek, ENROLLED, REFUSED),
    ]
    owner = signers_record({level(1): keys.kek.certificate})
    before = [*enrolled(keys), level(1), owner]
    _, store = written(sign_image(application, [keys.db], "enroll"), writes, before, tmp_path)
    found = contents(store)
    assert found["db"].data == both
    assert found["dbx"].data == unrelated + revoked
    assert found[levels.VARIABLE].data == level(2).data

    after = boots_in_turn(signed, store, tmp_path)
    assert after.reached, after.text()
    assert set(after.refused) == {"T/REVOKED.EFI"}


def test_level_without_a_record_of_its_owner_cannot_be_raised(
    application: bytes, keys: Keys, tmp_path: Path
) -> None:
    writes = [Write(level(2), keys.kek, LATER, REFUSED)]
    signed = sign_image(application, [keys.db], "enroll")
    written(signed, writes, [*enrolled(keys), level(1)], tmp_path)
