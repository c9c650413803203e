"""`sprout keys enroll`: the writes that make a machine trust its owner's keys."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from commands import assert_one_error, command
from keyrings import make_keyring, passphrase, profiles, secret_file

from sprout.base.errors import SproutError
from sprout.base.run import Output, check
from sprout.format import levels
from sprout.signing import keyring, siglist
from sprout.signing.enrolment import level_owner, writes
from sprout.signing.makers import FileMaker
from sprout.signing.public import Public, revoke, set_levels
from sprout.signing.variables import VENDOR_OF, verify_update
from sprout.signing.varstore import read_store

TIME = datetime(2026, 7, 1, tzinfo=UTC)
WRITTEN_AT = "2026-07-01T00:00:00Z"
FIRMWARE = ("PK", "KEK", "db")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of which PK, KEK and db were rotated once, with something revoked and a level."""
    folder = tmp_path_factory.mktemp("enroll")
    make_keyring(folder / "release", FIRMWARE)
    for role in FIRMWARE:
        maker = FileMaker(passphrase())
        keyring.rotate(folder / "release", role, profiles()[role], maker, TIME, drop=False)
    shared = keyring.public(folder / "release")
    revoke(shared, siglist.images(shared.owner, [b"\x11" * 32]))
    set_levels(shared, {"sprout-stub": 2}, TIME, lower=False)
    secret_file(folder / "pass")
    return folder


@pytest.fixture(scope="module")
def shared(folder: Path) -> Public:
    return keyring.public(folder / "release")


def enroll(folder: Path, *words: str | Path) -> Output:
    return command("keys", "enroll", folder / "release", *words)


@pytest.fixture(scope="module")
def enrolled(folder: Path) -> Path:
    """The files for real machines, with noPK."""
    words = ["--no-pk", "--time", WRITTEN_AT, "--passphrase-file", str(folder / "pass")]
    output = enroll(folder, "-o", folder / "out", *words)
    assert output.status == 0, output.stderr.decode()
    return folder / "out"


def test_every_write_is_signed_by_its_key(enrolled: Path, shared: Public) -> None:
    for label, variable, stem in (
        ("PK", "PK", "PK"),
        ("PK-update", "PK", "PK-1"),
        ("KEK", "KEK", "PK"),
        ("db", "db", "KEK"),
        ("dbx", "dbx", "KEK"),
        (levels.VARIABLE, levels.VARIABLE, "KEK-1"),
        ("noPK", "PK", "PK"),
    ):
        data = (enrolled / f"{label}.auth").read_bytes()
        found = verify_update(
            data, variable, VENDOR_OF[variable], [shared.certificate(stem)], label
        )
        assert found.time == TIME + timedelta(seconds=label == "noPK")
        contents = enrolled / f"{label}.esl"
        if label == levels.VARIABLE:
            contents = enrolled / f"{label}.bin"
        if contents.exists():
            assert contents.read_bytes() == found.data


def test_contents_are_old_and_new(enrolled: Path, shared: Public) -> None:
    def certificates(name: str) -> list[bytes]:
        rows = siglist.parse((enrolled / f"{name}.esl").read_bytes(), name)
        assert {signature.owner for row in rows for signature in row.signatures} == {shared.owner}
        return [signature.data for row in rows for signature in row.signatures]

    assert len(certificates("PK")) == 1
    assert len(certificates("KEK")) == 2
    assert len(certificates("db")) == 2
    assert certificates("dbx") == [b"\x11" * 32]
    level = (enrolled / f"{levels.VARIABLE}.bin").read_bytes()
    assert levels.unpack(level, "level") == {"sbat": 1, "sprout-stub": 2}


def test_store_has_the_same_contents(enrolled: Path) -> None:
    found = {row.name: row for row in read_store(enrolled / "OVMF_VARS.fd")}
    for name in (*FIRMWARE, "dbx"):
        assert found[name].data == (enrolled / f"{name}.esl").read_bytes()
        assert found[name].time == TIME
    assert "certdb" in found
    assert found["SecureBootEnable"].data == b"\x01"


def test_detached_signatures_give_the_same_files(
    folder: Path, enrolled: Path, tmp_path: Path
) -> None:
    words = ["--no-pk", "--time", WRITTEN_AT]
    output = enroll(folder, "--export", tmp_path / "ex", *words)
    assert output.status == 0, output.stderr.decode()
    said = output.stdout.decode()
    assert "exported 7 files" in said
    assert not list((tmp_path / "ex").glob("*.auth"))
    for line in said.splitlines():
        if line.startswith("  openssl "):
            first, *rest = line.split(" -sign ")
            key, *names = " ".join(rest).split()
            sign = [*first.split(), "-passin", f"file:{folder / 'pass'}", "-sign"]
            check([*sign, folder / "release" / key, *names], "openssl", cwd=tmp_path / "ex")
    attached = enroll(folder, "--attach", tmp_path / "ex", "--no-pk", "-o", tmp_path / "out")
    assert attached.status == 0, attached.stderr.decode()
    for path in (path for path in enrolled.rglob("*") if path.is_file()):
        name = path.relative_to(enrolled)
        assert (tmp_path / "out" / name).read_bytes() == path.read_bytes(), name

    (tmp_path / "ex/db.sig").write_bytes(bytes(256))
    wrong = enroll(folder, "--attach", tmp_path / "ex", "-o", tmp_path / "wrong")
    assert_one_error(wrong, "db.sig: is no signature by CN=release key exchange key over db")
    assert not (tmp_path / "wrong").exists()


def test_efivarfs_files_are_the_same_writes(enrolled: Path) -> None:
    found = {str(path.relative_to(enrolled)): path for path in enrolled.glob("efivars*/*")}
    for label, name in {
        **{label: label for label in (*FIRMWARE, "dbx", levels.VARIABLE)},
        **{"PK-update": "PK", "noPK": "PK"},
    }.items():
        folder = "efivars" if label == name else f"efivars-{label}"
        path = found.pop(f"{folder}/{name}-{VENDOR_OF[name]}")
        auth = (enrolled / f"{label}.auth").read_bytes()
        assert path.read_bytes() == b"\x27\0\0\0" + auth
    assert not found


def part_of(folder: Path, target: Path, *stems: str) -> Path:
    """Give a copy of the keys that has the private keys `stems` alone."""
    shutil.copytree(folder / "release.pub", target / "release.pub")
    (target / "release").mkdir(0o700)
    for stem in stems:
        shutil.copy2(folder / f"release/{stem}.key", target / "release")
    return target


def test_keys_that_are_not_here_leave_out_what_they_sign(folder: Path, tmp_path: Path) -> None:
    apart = part_of(folder, tmp_path, "KEK-1", "KEK", "db")
    words = ["--passphrase-file", str(folder / "pass"), "--time", WRITTEN_AT]
    output = enroll(apart, "-o", tmp_path / "out", *words)
    assert output.status == 0, output.stderr.decode()
    said = output.stdout.decode()
    for label, stem in (("KEK", "PK"), ("PK", "PK"), ("PK-update", "PK-1")):
        assert f"{label + '.auth':<16} left out: the private key {stem} is not here" in said
    written = {path.name for path in (tmp_path / "out").glob("*.auth")}
    assert written == {"db.auth", "dbx.auth", "SbatLevel.auth"}
    assert "SbatLevel.auth   signed by KEK-1" in said
    assert (tmp_path / "out/OVMF_VARS.fd").exists()  # what it takes is public

    # A key file that is put back is found again.
    shutil.copy2(folder / "release/PK.key", apart / "release")
    again = enroll(apart, "-o", tmp_path / "out", *words)
    assert again.status == 0, again.stderr.decode()
    assert "PK.auth          signed by PK" in again.stdout.decode()

    for path in (apart / "release").iterdir():
        path.unlink()
    none = enroll(apart, "-o", tmp_path / "none", *words, "--only", "dbx")
    assert_one_error(none, "has no private key KEK")
    assert not (tmp_path / "none").exists()


def test_only_some_variables(folder: Path, tmp_path: Path) -> None:
    apart = part_of(folder, tmp_path, "KEK-1", "KEK")
    words = ["--only", "dbx,SbatLevel", "--time", WRITTEN_AT]
    secret = ["--passphrase-file", str(folder / "pass")]
    output = enroll(apart, "-o", tmp_path / "out", *words, *secret)
    assert output.status == 0, output.stderr.decode()
    assert "left out" not in output.stdout.decode()
    files = {path.name for path in (tmp_path / "out").iterdir()}
    names = {"dbx.auth", "dbx.esl", "SbatLevel.auth", "SbatLevel.bin", "efivars"}
    assert files == names
    exported = enroll(apart, "--export", tmp_path / "ex", *words)
    assert exported.status == 0, exported.stderr.decode()
    tbs = {path.name for path in (tmp_path / "ex").iterdir()}
    assert tbs == {"dbx.tbs", "SbatLevel.tbs", "time"}
    signers = keyring.open_signers(apart / "release", ("KEK", "KEK-1"), folder / "pass")
    for name, stem in (("dbx", "KEK"), ("SbatLevel", "KEK-1")):
        signature = signers[stem].sign((tmp_path / f"ex/{name}.tbs").read_bytes(), name)
        (tmp_path / f"ex/{name}.sig").write_bytes(signature)
    attach = ["--attach", str(tmp_path / "ex"), "--only", "dbx,SbatLevel"]
    attached = enroll(apart, "-o", tmp_path / "attached", *attach)
    assert attached.status == 0, attached.stderr.decode()
    for name in ("dbx.auth", "SbatLevel.auth"):
        again = (tmp_path / "attached" / name).read_bytes()
        assert again == (tmp_path / "out" / name).read_bytes()


def test_order_suits_a_machine_in_setup_mode(shared: Public) -> None:
    rows = writes(shared, TIME, "KEK-1", remove_pk=True)
    assert [row.label for row in rows] == [
        *("dbx", "db", "KEK", levels.VARIABLE, "PK"),
        *("PK-update", "noPK"),
    ]
    rows = writes(shared, TIME, level_owner(shared, lambda stem: "-" not in stem))
    assert {row.label: row.stem for row in rows} == {
        **{"dbx": "KEK", "db": "KEK", "KEK": "PK"},
        **{levels.VARIABLE: "KEK", "PK": "PK", "PK-update": "PK-1"},
    }
    rows = writes(shared, TIME, "KEK", only=("dbx", levels.VARIABLE))
    assert [row.label for row in rows] == ["dbx", levels.VARIABLE]


def test_owner_of_the_level_can_be_named(shared: Public) -> None:
    assert level_owner(shared, lambda _: True) == "KEK-1"
    assert level_owner(shared, lambda _: True, "KEK") == "KEK"
    with pytest.raises(SproutError, match="db: is no KEK"):
        level_owner(shared, lambda _: True, "db")


def test_other_files_are_never_replaced(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious").write_text("x")
    output = enroll(folder, "-o", tmp_path / "out", "--passphrase-file", folder / "pass")
    assert_one_error(output, "exists and holds other files")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]


@pytest.mark.parametrize(
    ("words", "problem", "status"),
    [
        ([], "one of -o DIR and --export DIR is needed", 2),
        (["-o", "x", "--export", "y"], "one of -o DIR and --export DIR is needed", 2),
        (["-o", "x", "--time", "yesterday"], "--time: yesterday: is no time", 1),
        (["-o", "x", "--time", "2026-13-01T00:00:00Z"], "is no time", 1),
        (["-o", "x", "--only", "dbx,dby"], "dbx,dby: is not of PK, KEK, db, dbx", 2),
        (["-o", "x", "--only", "dbx", "--no-pk"], "--no-pk: is a write of PK", 2),
        (["-o", "x", "--attach", "nowhere"], "time: cannot be read", 1),
        (["-o", "x", "--level-key", "db", "--time", WRITTEN_AT], "db: is no KEK here", 1),
    ],
)
def test_wrong_words_are_named(folder: Path, words: list[str], problem: str, status: int) -> None:
    assert_one_error(enroll(folder, *words), problem, status=status)
