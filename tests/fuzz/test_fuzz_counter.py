"""Fuzzes what the counting plugin reads and the tables it keeps, for a bounded number of runs."""

from __future__ import annotations

import struct
from pathlib import Path

from sprout.base.run import check, run
from sprout.vm.plugin import plugin_sources

HERE = Path(__file__).parent
RUNS = 40_000
# These know QEMU.
NOT_HERE = ("main.c", "clock.c", "phases.c", "ram.c")


def pe_page() -> bytes:
    """Give the first page of a PE image: SizeOfImage 0x3000."""
    page = bytearray(4096)
    page[:2] = b"MZ"
    struct.pack_into("<I", page, 0x3C, 0x80)
    page[0x80:0x84] = b"PE\0\0"
    struct.pack_into("<H", page, 0x80 + 24, 0x20B)
    struct.pack_into("<I", page, 0x80 + 24 + 56, 0x3000)
    return bytes(page)


def seeds() -> dict[str, bytes]:
    config = b"phase a\nphase b\nimage b 1 2 3\nphysical b f\nkernel b f\nspan b f\nthunk 1 2\n"
    config += b"forward f\nforward-phase b\n"
    host = b"phase a\nphase b\nhypervisor\nhypervisor-span b ffff82d040200000\nzone-span b f\n"
    host += b"kernel b ffffffff81000000\nguest b a ffffffff81000010 4831ed48\nat b a 10 f3\n"
    host += b"program b a 4831ed\nzone-thunk 1 2\nzone-forward f\nhypervisor-thunk 1 2\n"
    step, place = struct.Struct("<BQ"), struct.Struct("<HHQ")
    calls = [step.pack(0, 0xFFFF888000001000 - 8 * depth) for depth in range(300)]
    calls += [step.pack(kind, 0x1000 * kind) for kind in range(256)]
    return {
        "config": b"\0" + config + b"user b\nend 10\n",
        "host": b"\0" + host + b"user b\nend 10\n",
        "memory": b"\1" + place.pack(0x2010, 0, 0) + pe_page() + bytes(0x2000),
        "mapped": b"\1" + place.pack(0x2010, 0, 0x40000000) + pe_page() + bytes(0x2000),
        "calls": b"\2" + b"".join(calls),
    }


def test_counter_survives_any_bytes(tmp_path: Path) -> None:
    program, corpus = tmp_path / "counter_fuzz", tmp_path / "corpus"
    sources = [path for path in plugin_sources() if path.suffix == ".c"]
    flags = ["-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-DCOUNTER_API=1"]
    flags += ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    parts = [path for path in sources if path.name not in NOT_HERE]
    check(
        ["clang", *flags, f"-I{parts[0].parent}", HERE / "counter_fuzz.c", *parts, "-o", program],
        "Mend the C that does not compile.",
        timeout=120,
    )
    corpus.mkdir()
    for name, data in seeds().items():
        (corpus / name).write_bytes(data)
    options = [f"-runs={RUNS}", "-seed=1", "-max_len=16384", "-timeout=10", "-rss_limit_mb=1024"]
    output = run([program, *options, f"-artifact_prefix={tmp_path}/", corpus], timeout=300)
    assert output.status == 0, output.stderr.decode(errors="replace")[-4000:]
