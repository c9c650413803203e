"""What a patch has the kernel unpack itself with, compiled for the host under ASan and UBSan."""

from __future__ import annotations

import random
import shutil
import struct
from pathlib import Path

import pytest
from kernel_patches import brought_file

from sprout.base.run import Output, check, run

_MAGIC = bytes.fromhex("02214c18")
_BLOCK = 8 << 20
_OUTPUT = 10_000  # bytes, of what is refused
_ENOUGH = 4096  # bytes that an output has to have before the short way is taken


@pytest.fixture(scope="module")
def unpack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Take the header out of the patch and compile it with a program around it."""
    work = tmp_path_factory.mktemp("unpack")
    header = brought_file("lz4-unpack-kernel.patch", "lib/lz4/lz4_kernel.h")
    (work / "lz4_kernel.h").write_text(header)
    shutil.copyfile(Path(__file__).parent / "kernel" / "unpack.c", work / "unpack.c")
    binary = work / "unpack"
    flags = ["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    check(["clang", *flags, "-o", binary, work / "unpack.c"], "Mend the patch.")
    return binary


def ask(unpack: Path, packed: bytes, size: int) -> Output:
    return run([unpack, str(size)], data=packed, timeout=60)


def pack(data: bytes, level: int) -> bytes:
    return check(["lz4", "-q", "-l", f"-{level}", "-", "-"], "", data=data)


def _code_like(seed: int, length: int) -> bytes:
    """Give bytes with many short matches, as machine code has them."""
    numbers = random.Random(seed)  # noqa: S311
    words = [numbers.randbytes(numbers.randint(2, 30)) for _ in range(300)]
    parts: list[bytes] = []
    while sum(map(len, parts)) < length:
        parts += numbers.choices(words, k=200)
        parts.append(numbers.randbytes(numbers.randint(0, 40)))
    return b"".join(parts)[:length]


@pytest.mark.parametrize("level", [1, 9, 12])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_code_comes_out_as_it_went_in(unpack: Path, seed: int, level: int) -> None:
    data = _code_like(seed, 300_000 + seed)
    output = ask(unpack, pack(data, level), len(data))
    assert output.status == 0, output.stderr.decode()
    assert output.stdout == data


@pytest.mark.parametrize("period", [*range(1, 20), 31, 64, 1000, 65535, 65536])
def test_pattern_of_every_distance(unpack: Path, period: int) -> None:
    numbers = random.Random(period)  # noqa: S311
    pattern = numbers.randbytes(period)
    data = b"before" + pattern * (200_000 // period) + pattern[: period // 2] + b"behind it"
    output = ask(unpack, pack(data, 9), len(data))
    assert output.status == 0, output.stderr.decode()
    assert output.stdout == data


def _sequence(literals: bytes, offset: int, match: int) -> bytes:
    """Give a sequence as the format has it (lz4_Block_format.md)."""

    def more(length: int) -> bytes:
        return (
            b"" if length < 15 else b"\xff" * ((length - 15) // 255) + bytes([(length - 15) % 255])
        )

    count = len(literals)
    token = min(count, 15) << 4 | min(match - 4, 15)
    return bytes([token]) + more(count) + literals + struct.pack("<H", offset) + more(match - 4)


def _block(*sequences: bytes, last: bytes) -> bytes:
    body = b"".join(sequences) + _sequence(last, 0, 4)[:-2]
    return _MAGIC + struct.pack("<I", len(body)) + body


# Around each number that a length is told by: four bits, a byte more, two bytes more.
_LENGTHS = [0, 1, 7, 8, 9, 14, 15, 16, 17, 31, 32, 33, 269, 270, 271, 524, 525, 526, 5000]


def _grow(data: bytearray, literals: bytes, offset: int, match: int) -> bytes:
    """Append what a sequence stands for to `data`, and give the sequence."""
    data += literals
    for _ in range(match):
        data.append(data[-offset])
    return _sequence(literals, offset, match)


@pytest.mark.parametrize("offset", [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 100])
def test_every_length_far_from_the_end(unpack: Path, offset: int) -> None:
    numbers = random.Random(offset)  # noqa: S311
    data = bytearray()
    sequences = [_grow(data, numbers.randbytes(120), offset, 4)]
    for literals in _LENGTHS:
        for match in _LENGTHS:
            sequences.append(_grow(data, numbers.randbytes(literals), offset, 4 + match))
    last = numbers.randbytes(2 * _ENOUGH)
    output = ask(unpack, _block(*sequences, last=last), len(data + last))
    assert output.status == 0, output.stderr.decode()
    assert output.stdout == data + last


@pytest.mark.parametrize("behind", [16, _ENOUGH - 1, _ENOUGH, _ENOUGH + 300])
@pytest.mark.parametrize("offset", [1, 3, 8, 17])
def test_every_length_near_the_end(unpack: Path, offset: int, behind: int) -> None:
    numbers = random.Random(offset)  # noqa: S311
    for literals in (0, 14, 15, 270, 5000):
        for match in (0, 14, 15, 270):
            data = bytearray()
            first = _grow(data, numbers.randbytes(120), offset, 4)
            second = _grow(data, numbers.randbytes(literals), offset, 4 + match)
            last = numbers.randbytes(behind)
            output = ask(unpack, _block(first, second, last=last), len(data + last))
            assert output.status == 0, (literals, match, output.stderr.decode())
            assert output.stdout == data + last


def test_blocks_end_where_runs_go_on(unpack: Path) -> None:
    data = b"code" * 1000 + bytes(2 * _BLOCK) + b"\xcc" * 70_000 + _code_like(4, 50_000)
    output = ask(unpack, pack(data, 9), len(data))
    assert output.status == 0, output.stderr.decode()
    assert output.stdout == data


@pytest.mark.parametrize("start", [b"aaaaa", b"ababab", b"abcdabcd", b"abcabcab"])
def test_pattern_at_the_start_reads_nothing_before_it(unpack: Path, start: bytes) -> None:
    data = start + b"ZYXWVUTSRQPONM987"
    output = ask(unpack, pack(data, 9), len(data))
    assert output.status == 0, output.stderr.decode()
    assert output.stdout == data


@pytest.mark.parametrize("size", [1, 5, 12, 13, 63, 64, 65, _ENOUGH, _ENOUGH + 1])
def test_small_outputs(unpack: Path, size: int) -> None:
    data = (b"abcdefgh" * size)[:size]
    output = ask(unpack, pack(data, 9), size)
    assert output.status == 0, output.stderr.decode()
    assert output.stdout == data


def _row(data: bytearray) -> bytes:
    """Give a sequence with the longest lengths of a byte each, and append what it stands for."""
    return _grow(data, random.Random(len(data)).randbytes(15 + 254), 8, 4 + 15 + 254)  # noqa: S311


@pytest.mark.parametrize("before", range(0, 542, 60))
def test_last_sequence_is_never_taken_for_one_of_a_row(unpack: Path, before: int) -> None:
    """It has no match, and what follows it is no offset."""
    data = bytearray()
    sequences = [_grow(data, b"x" * (200 + before), 8, 4)]
    while len(data) < 2 * _ENOUGH:
        sequences.append(_row(data))
    output = ask(unpack, _block(*sequences, last=b"last bytes"), len(data) + 10)
    assert output.status == 0, output.stderr.decode()
    assert output.stdout == data + b"last bytes"


@pytest.mark.parametrize(
    "sequence",
    [
        _sequence(b"x" * _ENOUGH, 8, 100)[:-1] + b"\xff" * 100 + b"\0",
        _sequence(b"x" * (_OUTPUT + 1), 8, 4),
        _sequence(b"x" * (_OUTPUT - 500), 3, 600),
        _sequence(b"x" * (_OUTPUT - 500), 0, 500),
        _sequence(b"x" * (_OUTPUT - 500), _OUTPUT - 499, 500),
        _sequence(b"x" * (_OUTPUT - 541 - 4), 8, 4) + _sequence(b"x" * 269, 8, 273),
    ],
    ids=[
        *("match too long", "literals too long", "run too long", "no distance"),
        *("before the start", "lengths of a byte each"),
    ],
)
def test_sequence_that_leaves_the_output_is_refused(unpack: Path, sequence: bytes) -> None:
    output = ask(unpack, _block(sequence, last=b"last bytes"), _OUTPUT)
    assert output.status == 3, output.stderr.decode()
