"""Real firmware takes what `sprout keys enroll` writes, from setup mode to rotation and back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from commands import command
from keyrings import make_keyring, passphrase, profiles, secret_file
from secure import DEFAULT_PATH, boot_options, make_disk_of, make_store, try_in_turn, write_plan

from sprout.format import levels
from sprout.signing import keyring
from sprout.signing.makers import FileMaker
from sprout.signing.public import set_levels
from sprout.signing.variables import Variable, well_known
from sprout.signing.varstore import read_store
from sprout.vm.probe import compile_application

SOURCE = Path(__file__).with_name("machine") / "enroll.c"
TAKEN, REFUSED = "0", "1a"  # EFI_SUCCESS, EFI_SECURITY_VIOLATION
FIRMWARE = ("PK", "KEK", "db")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
FIRST, SECOND = "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z"


def enrolled(folder: Path, name: str, time: str) -> Path:
    """Run the real command and give the directory that it wrote."""
    words = ["--no-pk", "--time", time, "--passphrase-file", str(folder / "pass")]
    output = command("keys", "enroll", folder / "fleet", "-o", folder / name, *words)
    assert output.status == 0, output.stderr.decode()
    return folder / name


def test_firmware_takes_the_writes_of_keys_enroll(tmp_path: Path) -> None:
    shared = make_keyring(tmp_path / "fleet", FIRMWARE)
    secret_file(tmp_path / "pass")
    set_levels(shared, {"sprout-test": 1}, NOW, lower=False)
    first = enrolled(tmp_path, "first", FIRST)
    for role in FIRMWARE:
        maker = FileMaker(passphrase())
        keyring.rotate(tmp_path / "fleet", role, profiles()[role], maker, NOW, drop=False)
    set_levels(keyring.public(tmp_path / "fleet"), {"sprout-test": 2}, NOW, lower=False)
    second = enrolled(tmp_path, "second", SECOND)

    files = [
        *((first, label) for label in ("db", "KEK", levels.VARIABLE, "PK")),
        (second, "PK"),  # refused: setup mode is over, and this machine trusts the PK before
        *((second, label) for label in ("PK-update", "KEK", "db", levels.VARIABLE, "noPK")),
    ]
    plan: list[tuple[Variable, bytes, int]] = []
    for folder, label in files:
        name = "PK" if "PK" in label else label
        variable = well_known(name, b"")
        plan.append((variable, (folder / f"{label}.auth").read_bytes(), variable.attributes))
    application = tmp_path / "enroll.efi"
    compile_application(SOURCE, application)
    contents = {DEFAULT_PATH: application.read_bytes(), "PLAN": write_plan(plan)}
    disk = make_disk_of(tmp_path / "writer.img", contents)
    store = make_store(tmp_path / "before.fd", boot_options(disk, [DEFAULT_PATH]))
    after = tmp_path / "after.fd"
    tried = try_in_turn(disk, [DEFAULT_PATH], store, until="enroll: done", keep=after)
    assert tried.reached, tried.text()
    for number, (folder, label) in enumerate(files):
        status = REFUSED if (folder, label) == (second, "PK") else TAKEN
        said = f"enroll: {number:x} status={status}"
        assert said in tried.lines, f"{label}: {tried.text()}"
    modes = [line for line in tried.lines if line.startswith("enroll: SetupMode=")]
    assert modes == ["enroll: SetupMode=1"] * 2  # before the first write, and after noPK

    found = {row.name: row for row in read_store(after)}
    assert "PK" not in found
    assert found["KEK"].data == (second / "KEK.esl").read_bytes()
    assert found["db"].data == (second / "db.esl").read_bytes()
    assert levels.unpack(found[levels.VARIABLE].data, "x") == {"sbat": 1, "sprout-test": 2}
