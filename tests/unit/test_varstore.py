from __future__ import annotations

import random
import struct
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from memory_signers import signer

from sprout.base.errors import SproutError
from sprout.signing.variables import Variable, well_known
from sprout.signing.varstore import read_store, signers_record, write_store

TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OTHER = UUID("11111111-2222-3333-4444-555555555555")
ROOM = 0x1000


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    """A small variable store without variables, as firmware packages have a large one."""
    header = 0x48
    volume = struct.pack(
        "<16x16sQ4sIHHHBBIIII",
        *(UUID("fff12b8d-7696-4c8b-a985-2747075b4f50").bytes_le, 0x2000, b"_FVH", 0x4FEFF),
        *(header, 0, 0, 0, 2, 2, 0x1000, 0, 0),
    )
    store = UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le
    store += struct.pack("<IBB6x", ROOM + 28, 0x5A, 0xFE)
    path = tmp_path / "blank.fd"
    path.write_bytes((volume + store).ljust(0x2000, b"\xff"))
    return path


def by_name(path: Path) -> dict[str, Variable]:
    return {row.name: row for row in read_store(path)}


def test_store_gives_back_what_was_written(blank: Path, tmp_path: Path) -> None:
    plain = Variable("Größe", OTHER, 7, b"\x01\x02\x03")
    namesake = Variable("Größe", UUID(int=9), 3, b"")
    level = well_known("SbatLevel", b"table", TIME)
    target = tmp_path / "store.fd"
    write_store(blank, target, [plain, level, namesake])
    assert set(read_store(target)) == {plain, level, namesake}
    assert target.stat().st_size == blank.stat().st_size
    assert read_store(blank) == ()


def test_pk_turns_enforcement_on(blank: Path, tmp_path: Path) -> None:
    write_store(blank, tmp_path / "a.fd", [well_known("PK", b"list", TIME)])
    found = by_name(tmp_path / "a.fd")
    assert found["SecureBootEnable"].data == b"\x01"
    assert found["CustomMode"].data == b"\x00"
    assert (found["PK"].attributes, found["PK"].time) == (0x27, TIME)
    write_store(blank, tmp_path / "b.fd", [well_known("db", b"list", TIME)])
    assert set(by_name(tmp_path / "b.fd")) == {"db"}


def test_store_of_a_machine_is_changed_and_not_lost(blank: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.fd", tmp_path / "second.fd"
    write_store(blank, first, [well_known("db", b"old", TIME), Variable("Kept", OTHER, 7, b"x")])
    write_store(first, second, [well_known("db", b"new", TIME)])
    found = by_name(second)
    assert (found["db"].data, found["Kept"].data) == (b"new", b"x")


def test_states_of_variables_count(blank: Path, tmp_path: Path) -> None:
    """A firmware marks what it replaces by clearing bits, and may be cut off between two steps."""
    path = tmp_path / "store.fd"
    rows = [Variable(f"V{number}", OTHER, 7, b"data") for number in range(3)]
    write_store(blank, path, rows)
    data = bytearray(path.read_bytes())
    starts = [at for at in range(0, len(data), 4) if data[at : at + 2] == b"\xaa\x55"]
    for start, state in zip(starts, (0x3F, 0x3E, 0x3C), strict=True):
        data[start + 2] = state
    path.write_bytes(data)
    assert set(by_name(path)) == {"V0", "V1"}
    assert path.read_bytes() == data

    for older, newer in ((0x3E, 0x3F), (0x3F, 0x3E)):
        twice = bytearray(data)
        name = twice.index("V1".encode("utf-16-le"))
        twice[name : name + 4] = "V0".encode("utf-16-le")
        twice[starts[0] + 2], twice[starts[1] + 2] = older, newer
        twice[starts[1] + 60 + 6 : starts[1] + 60 + 10] = b"next"
        path.write_bytes(twice)
        assert by_name(path)["V0"].data == (b"next" if newer == 0x3F else b"data")


def test_too_little_room_is_named_and_leaves_nothing(blank: Path, tmp_path: Path) -> None:
    target = tmp_path / "store.fd"
    with pytest.raises(SproutError, match=r"blank\.fd: the variables take 5,0\d\d bytes"):
        write_store(blank, target, [Variable("Long", OTHER, 7, bytes(5000))])
    assert list(tmp_path.iterdir()) == [blank]


def test_qcow2_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "store.qcow2"
    path.write_bytes(b"QFI\xfb".ljust(512, b"\0"))
    with pytest.raises(SproutError, match="is in QEMU's format qcow2") as caught:
        read_store(path)
    assert "qemu-img convert" in caught.value.hint


@pytest.mark.parametrize(
    ("offset", "data", "field"),
    [
        (16, b"\0", "firmware volume header: is not that of a variable store"),
        (40, b"\0", "firmware volume header: is not that of a variable store"),
        (32, b"\xff\xff\xff", "firmware volume header: HeaderLength or FvLength cannot be"),
        (48, b"\xff\xff", "firmware volume header: HeaderLength or FvLength cannot be"),
        (48, b"\0\0", "firmware volume header: HeaderLength or FvLength cannot be"),
        (0x48, b"\0", "variable store header: is not that of authenticated variables"),
        (0x48 + 16, b"\xff\xff\xff", "variable store header: Size 16,777,215 cannot be"),
        (0x48 + 20, b"\0", "variable store header: is not formatted and healthy"),
        (0x64 + 36, b"\xff\xff\xff\xff", "variable at 0x64: reaches beyond the store"),
        (0x64 + 40, b"\xff\xff\xff\x7f", "variable at 0x64: reaches beyond the store"),
        (0x64 + 60 + 4, b"x", "variable at 0x64: Name is no text that ends with a zero"),
        (0x64 + 36, b"\x00", "variable at 0x64: Name is no text that ends with a zero"),
        (0x64 + 18, b"\x0d", "db: TimeStamp is no time"),
    ],
)
def test_damaged_store_is_named(
    blank: Path, tmp_path: Path, offset: int, data: bytes, field: str
) -> None:
    path = tmp_path / "store.fd"
    write_store(blank, path, [well_known("db", b"list", TIME)])
    damaged = bytearray(path.read_bytes())
    damaged[offset : offset + len(data)] = data
    path.write_bytes(damaged)
    with pytest.raises(SproutError) as caught:
        read_store(path)
    assert caught.value.message.startswith(f"{path}: {field}")


def test_hostile_bytes_end_in_an_error_or_a_store(blank: Path, tmp_path: Path) -> None:
    source = random.Random(4)  # noqa: S311 - reproducible noise, not a secret
    path = tmp_path / "store.fd"
    write_store(blank, path, [well_known("db", b"list", TIME), well_known("dbx", b"", TIME)])
    good = path.read_bytes()
    for _ in range(400):
        damaged = bytearray(good[: source.choice([len(good), source.randrange(len(good))])])
        for _ in range(source.randrange(1, 6)):
            if damaged:
                damaged[source.randrange(min(len(damaged), 0x180))] = source.randrange(256)
        path.write_bytes(damaged)
        try:
            read_store(path)
        except SproutError as error:
            assert error.message.startswith(f"{path}: ")


def test_record_of_signers_names_variable_and_key() -> None:
    owner, level = signer("owner").certificate, well_known("SbatLevel", b"", TIME)
    record = signers_record({level: owner})
    assert (record.name, record.attributes) == ("certdb", 0x27)
    assert struct.unpack_from("<I", record.data) == (len(record.data),)
    assert record.data[4:20] == level.guid.bytes_le
    assert signers_record({}).data == struct.pack("<I", 4)
    other = signers_record({level: signer("other").certificate})
    assert other.data[:-32] == record.data[:-32]
    assert other.data[-32:] != record.data[-32:]
    renamed = replace(level, name="Other")
    assert len(signers_record({level: owner, renamed: owner}).data) == 2 * len(record.data) - 12
