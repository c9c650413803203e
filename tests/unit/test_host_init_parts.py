"""The pure parts of the host's init, compiled for the host under ASan and UBSan."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.base.run import check, run
from sprout.format import ready, zones
from sprout.format.zones import Disk, Nic, Zone
from sprout.initramfs.assemble import write_headers

_ROOT = Path(__file__).resolve().parents[2]
_HOST = _ROOT / "initramfs" / "host"
_COMMON = _ROOT / "initramfs" / "common"
_PARTS = (
    *(_HOST / name for name in ("config.c", "relay.c", "report.c", "table.c")),
    *(_COMMON / f"{name}.c" for name in ("console", "cpuinfo", "file", "memory", "stamps", "text")),
)
ZONE = Zone("first", "pv", 64, 1, "/zones/kernels/zone", "/zones/initramfs/zone.cpio", "quiet")
FULL = replace(
    ZONE,
    name="b" * 31,
    type="pvh",
    kernel="/" + "k" * 62,
    initramfs="/" + "i" * 62,
    cmdline='"\\' * 511 + "x",
    disks=tuple(
        Disk(f"xvd{letter}" + "0" * 11, "/dev/" + "d" * 122, writable=letter == "a")
        for letter in "abcd"
    ),
    nics=tuple(Nic("b" * 15, f"00:16:3e:0a:bc:0{number}") for number in range(4)),
)


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("harness")
    write_headers(work)
    binary = work / "harness"
    flags = ["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-I", str(work)]
    sources = [Path(__file__).parent / "init" / "host_harness.c", *_PARTS]
    check(
        ["clang", *flags, "-I", _HOST, "-o", binary, *sources],
        "Mend the source that clang names.",
    )
    return binary


def ask(harness: Path, mode: str, data: bytes) -> bytes:
    output = run([harness, mode], data=data, timeout=20)
    assert output.status == 0, output.stderr.decode(errors="replace")
    return output.stdout


def told(harness: Path, *words: object) -> str:
    output = run([harness, *map(str, words)], timeout=20)
    assert output.status == 0, output.stderr.decode(errors="replace")
    return output.stdout.decode()


def test_every_table_that_is_packed_is_taken(harness: Path) -> None:
    many = [replace(FULL, name=f"z{number}") for number in range(zones.MAX_ZONES)]
    for rows in ([], [ZONE], [FULL, ZONE], many):
        assert ask(harness, "zones", zones.pack(rows)) == b"good\n"


def test_a_damaged_table_is_refused(harness: Path) -> None:
    data = zones.pack([ZONE, FULL])
    twice = data[:6] + b"\2\0" + data[8 : 8 + 1936] * 2
    assert ask(harness, "zones", twice) == b"two zones have one name\n"
    for size in (0, 7, 8, len(data) - 1):
        assert ask(harness, "zones", data[:size]) != b"good\n"
    assert ask(harness, "zones", data + b"\0") != b"good\n"
    waits = data[: 8 + 64] + b"\1" + data[8 + 65 :]
    assert ask(harness, "zones", waits) == b"a zone waits for itself or a later one\n"
    for text in (b"/zones/../init\0", b"relative\0", b"/a b\0", b"/" + b"a" * 63):
        altered = data[: 8 + 88] + text + data[8 + 88 + len(text) :]
        assert ask(harness, "zones", altered) == b"a text is none\n", text


def test_what_is_altered_at_random_is_judged_as_by_the_reader(harness: Path) -> None:
    """The host may take a little more than the reader does, but never less, and never crashes."""
    chance = random.Random(20260101)  # noqa: S311 - the same bytes every time
    good = zones.pack([ZONE, FULL])
    for _ in range(60):
        data = bytearray(good)
        for _change in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.choice([0, 0x41, 0x80, 0xFF])
        judged = ask(harness, "zones", bytes(data))
        ask(harness, "config", bytes(data))
        try:
            zones.unpack(bytes(data), "x")
        except SproutError:
            continue
        assert judged == b"good\n"


def test_a_row_becomes_what_xl_reads(harness: Path) -> None:
    zone = replace(
        ZONE,
        cmdline='a="b \\ c"',
        disks=(Disk("xvda", "/dev/vda", writable=True), Disk("xvdb", "/b.img", writable=False)),
        nics=(Nic("br0", "00:16:3e:0a:bc:ff"), Nic("br1", "00:16:3e:00:00:01")),
    )
    text = ask(harness, "config", zones.pack([zone])).decode()
    plain = "format=raw, backendtype=phy, script=block"
    assert text.splitlines() == [
        'name = "first"',
        'type = "pv"',
        'kernel = "/zones/kernels/zone"',
        'ramdisk = "/zones/initramfs/zone.cpio"',
        'cmdline = "a=\\"b \\\\ c\\""',
        "memory = 64",
        "vcpus = 1",
        'on_poweroff = "destroy"',
        'on_reboot = "restart"',
        'on_crash = "destroy"',
        f'disk = ["{plain}, vdev=xvda, access=rw, target=/dev/vda", '
        f'"{plain}, vdev=xvdb, access=ro, target=/b.img"]',
        'vif = ["mac=00:16:3e:0a:bc:ff, bridge=br0", "mac=00:16:3e:00:00:01, bridge=br1"]',
    ]


def test_the_longest_row_has_room(harness: Path) -> None:
    text = ask(harness, "config", zones.pack([FULL]))
    assert text.count(b"\n") == 12
    assert b'type = "pvh"' in text


def test_a_console_becomes_lines(harness: Path) -> None:
    line = b"sprout-ready v=2 entry=0 handover=0 copied=0 hz=9 free=8 init=5 ready=6"
    data = b"one\r\n\n" + line + b"  \r\n x" + line + b"\n" + line.replace(b"init=5", b"init=7")
    data += b"\n" + b"y" * 1000 + b"\nrest"
    shown = ask(harness, "relay", data).split(b"\n")
    assert shown[0] == b"1:one"
    assert shown[1] == b"2:"
    assert shown[2] == b"3 ready:" + line + b"  "
    assert shown[3] == b"4: x" + line
    assert shown[4].startswith(b"5:sprout-ready")
    assert shown[5] == b"6:" + b"y" * 448
    assert shown[6] == b"7:rest"


def test_a_zone_cannot_leave_its_line(harness: Path) -> None:
    data = b"\x1b[2J\x1b[Hsprout-host v=1\x0b\x0c\x08\x9b1A\xc2\x85\x7f\0x\ty\n"
    assert ask(harness, "relay", data) == b"1:[2J[Hsprout-host v=1?1A??x\ty\n"


def test_consoles_stay_in_bounds_on_random_bytes(harness: Path) -> None:
    chance = random.Random(20260101)  # noqa: S311 - the same bytes every time
    pieces = [b"sprout-ready v=2", b" entry=", b"0", b"9" * 21, b"\n", b"\r", b"\xff\0", b" init="]
    for _ in range(25):
        ask(harness, "relay", b"".join(chance.choices(pieces, k=chance.randrange(200))))


@pytest.mark.parametrize(
    ("ticks", "hz", "host", "expected"),
    [
        (1000, 10**9, 10**9, 1000),
        (1000, 0, 10**9, 1000),
        (1000, 10**9, 0, 1000),
        (10**9, 10**9, 2_500_000_000, 2_500_000_000),
        (3_300_000, 999_999_000, 3_000_000_000, 9_900_009),
        (2**64 - 1, 10**9, 3 * 10**9, 2**64 - 1),
    ],
)
def test_a_zones_ticks_in_the_hosts(
    harness: Path, ticks: int, hz: int, host: int, expected: int
) -> None:
    assert int(told(harness, "ticks", ticks, hz, host)) == expected


def test_the_kernels_clock_in_ticks(harness: Path) -> None:
    assert int(told(harness, "nanoseconds", 2, 500_000_000, 3_000_000_000)) == 7_500_000_000
    assert int(told(harness, "nanoseconds", 2, 999_999_999, 1_000)) == 2_999
    assert int(told(harness, "nanoseconds", 2**40, 0, 2**40)) == 0


def test_the_lines_are_what_the_reader_reads(harness: Path) -> None:
    line = told(harness, "zone", "first", 10, 20, 30, 2**64 - 1, 5)
    assert ready.parse_zone(line) == ready.ZoneReady("first", 10, 20, 30, 2**64 - 1, 5)
    longest = told(harness, "zone", "z" * 31, *[2**64 - 1] * 5)
    assert ready.parse_zone(longest) is not None
    numbers = [1, 2, 3, 4, 5, 6, 7, 8, 2**64 - 1]
    assert ready.parse_host(told(harness, "host", *numbers)) == ready.HostReady(*numbers)
    assert ready.parse_host(told(harness, "host", *[2**64 - 1] * 9)) is not None
