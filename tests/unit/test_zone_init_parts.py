"""The pure parts of the zone's init, compiled for the host under ASan and UBSan."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from sprout.base.run import check, run
from sprout.format import ready, stamps
from sprout.initramfs.assemble import write_headers

_ROOT = Path(__file__).resolve().parents[2]
_ZONE = _ROOT / "initramfs" / "zone"
_COMMON = _ROOT / "initramfs" / "common"
_PARTS = (
    *(_ZONE / name for name in ("cmdline.c", "ready.c")),
    *(_COMMON / name for name in ("console.c", "cpuinfo.c", "file.c", "stamps.c", "text.c")),
)
_STAMPS = stamps.Stamps(1, 2**64 - 1, 3_000_000_000, 4)


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("harness")
    write_headers(work)
    binary = work / "harness"
    flags = ["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-I", str(work)]
    sources = [Path(__file__).parent / "init" / "harness.c", *_PARTS]
    check(
        ["clang", *flags, "-I", _ZONE, "-o", binary, *sources],
        "Mend the source that clang names.",
    )
    return binary


def ask(harness: Path, mode: str, data: bytes) -> bytes:
    output = run([harness, mode], data=data, timeout=20)
    assert output.status == 0, output.stderr.decode(errors="replace")
    return output.stdout


@pytest.mark.parametrize("number", [0, 1, 9, 10, 12345678901234567890, 2**64 - 1])
def test_ready_line_is_what_the_reader_reads(harness: Path, number: int) -> None:
    numbers = [number, 1, 2, 3, 4, 5, max(number, 5)]
    output = run([harness, "ready", *map(str, numbers)], timeout=20)
    line = output.stdout.decode()
    assert output.status == 0, output.stderr
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert ready.parse(line) == ready.Ready(*numbers)


CPUINFO = "processor\t: 0\nmodel name\t: x\ncpu MHz\t\t: {mhz}\nflags\t\t: fpu {flags}\n\n"


@pytest.mark.parametrize(
    ("text", "hz"),
    [
        (CPUINFO.format(mhz="2194.844", flags="tsc"), 2_194_844_000),
        (CPUINFO.format(mhz="3000", flags="tsc"), 3_000_000_000),
        (CPUINFO.format(mhz="0.0000019", flags="tsc"), 1),
        (CPUINFO.format(mhz="2194.844", flags="aperfmperf"), 0),
        (CPUINFO.format(mhz="1000.000", flags="a") + CPUINFO.format(mhz="9", flags="aperfmperf"),
         1_000_000_000),
        (CPUINFO.format(mhz="unknown", flags="tsc"), 0),
        (CPUINFO.format(mhz="99999999999999999999", flags="tsc"), 0),
        (CPUINFO.format(mhz="18446744073709.999999", flags="tsc"), 0),
        ("processor\t: 0\n\ncpu MHz\t\t: 1000.000\n", 0),
        ("cpu MHz", 0),
        ("cpu MHz\t\t: 12.", 12_000_000),
        ("", 0),
    ],
)  # fmt: skip
def test_counter_speed_from_cpuinfo(harness: Path, text: str, hz: int) -> None:
    assert int(ask(harness, "cpuinfo", text.encode())) == hz


@pytest.mark.parametrize(
    ("cmdline", "words"),
    [
        ("console=ttyS0 quiet -- /bin/sh -c x\n", 3),
        ("console=ttyS0 quiet\n", 0),
        ("quiet --\n", 0),
        ("quiet -- ", 0),
        ("-- /bin/x", 1),
        ('a="b -- c" d\n', 0),
        ('-- /bin/x "two words" last\n', 3),
        ('-- /bin/x "never closed', 2),
        ("--quiet -- a -- b", 3),
        ("", 0),
    ],
)
def test_words_that_are_the_program(harness: Path, cmdline: str, words: int) -> None:
    assert int(ask(harness, "words", cmdline.encode())) == words


def test_stamps_decode_as_they_were_packed(harness: Path) -> None:
    variable = b"\x06\0\0\0" + stamps.pack(_STAMPS)
    expected = f"{_STAMPS.tsc_entry} {_STAMPS.tsc_handover} {_STAMPS.tsc_hz} {_STAMPS.bytes_copied}"
    assert ask(harness, "stamps", variable).decode().strip() == expected


def test_stamps_of_any_other_shape_are_none(harness: Path) -> None:
    variable = b"\x06\0\0\0" + stamps.pack(_STAMPS)
    wrong = [variable[:size] for size in (0, 3, 4, 5, len(variable) - 1)] + [variable + b"\0"]
    for offset in (4, 8, 10):  # magic, version, size
        wrong.append(variable[:offset] + b"\x7f" + variable[offset + 1 :])
    for data in wrong:
        assert ask(harness, "stamps", data) == b"none\n", data


def test_lines_are_bounded_and_show_no_control_bytes(harness: Path) -> None:
    assert ask(harness, "line", b"a\x1b[31m\n") == b"a?[31m?" * 3 + b"18446744073709551615\n"
    long = ask(harness, "line", b"x" * 5000)
    assert len(long) == 512
    assert long.endswith(b"x\n")


@pytest.mark.parametrize("mode", ["cpuinfo", "words", "stamps", "line"])
def test_parts_stay_in_bounds_on_random_bytes(harness: Path, mode: str) -> None:
    chance = random.Random(20260101)  # noqa: S311 - the same bytes every time
    pieces = [b"cpu MHz", b"\t: ", b"9" * 20, b".", b"\n\n", b" aperfmperf", b'"', b" -- ", b"\xff"]
    for _ in range(25):
        data = b"".join(chance.choices([*pieces, chance.randbytes(5)], k=chance.randrange(30)))
        ask(harness, mode, data)
