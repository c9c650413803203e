"""What a patch packs the kernel with, compiled for the host under ASan and UBSan."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernel_patches import brought_file

from sprout.base.run import check, run

_BLOCK = 8 << 20
_LAST_LITERALS, _LAST_MATCH_AT = 5, 12  # lz4_Block_format.md, "End of block conditions"


@pytest.fixture(scope="module")
def packer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("pack")
    source = work / "lz4-pack.c"
    source.write_text(brought_file("lz4-pack-kernel.patch", "arch/x86/boot/compressed/lz4-pack.c"))
    flags = ["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    check(["clang", *flags, "-o", work / "lz4-pack", source], "Mend the patch.")
    return work / "lz4-pack"


def pack(packer: Path, data: bytes) -> bytes:
    return check([packer], "", data=data)


def unpacked(packed: bytes) -> bytes:
    return check(["lz4", "-q", "-d", "-", "-"], "", data=packed)


def code_like(seed: int, length: int) -> bytes:
    """Give bytes with many short matches, as machine code has them."""
    numbers = random.Random(seed)  # noqa: S311
    words = [numbers.randbytes(numbers.randint(2, 6)) for _ in range(3000)]
    data = bytearray()
    while len(data) < length:
        data += b"".join(numbers.choices(words, k=200))
        data += numbers.randbytes(numbers.randint(0, 40))
    return bytes(data[:length])


def sequences(packed: bytes) -> Iterator[tuple[int, int]]:
    """Give of each sequence how many literals it has, and how long its match is, or 0."""

    def length(start: int, at: int) -> tuple[int, int]:
        total = start
        while start == 15:
            total += packed[at]
            at += 1
            if packed[at - 1] != 255:
                break
        return total, at

    assert packed[:4] == bytes.fromhex("02214c18")
    at = 4
    while at < len(packed):
        (size,) = struct.unpack_from("<I", packed, at)
        at += 4
        end = at + size
        while at < end:
            token = packed[at]
            literals, at = length(token >> 4, at + 1)
            at += literals
            match = 0
            if at < end:
                match, at = length(token & 15, at + 2)
                match += 4
            yield literals, match
        assert at == end


@pytest.mark.parametrize("seed", [1, 2])
def test_code_comes_out_as_it_went_in(packer: Path, seed: int) -> None:
    data = code_like(seed, 300_000 + seed)
    assert unpacked(pack(packer, data)) == data


@pytest.mark.parametrize("size", [0, 1, 4, 12, 13, 14, 17, 30])
@pytest.mark.parametrize("period", [1, 50])
def test_small_inputs(packer: Path, size: int, period: int) -> None:
    data = (random.Random(period).randbytes(period) * size)[:size]  # noqa: S311
    assert unpacked(pack(packer, data)) == data


@pytest.mark.parametrize("run", [14, 15, 18, 19, 20, 64, 65, 269, 270, 274, 70_000])
def test_lengths_around_each_number_that_they_are_told_by(packer: Path, run: int) -> None:
    numbers = random.Random(run)  # noqa: S311
    word = numbers.randbytes(run)
    data = numbers.randbytes(run) + word + numbers.randbytes(run) + word + numbers.randbytes(40)
    assert unpacked(pack(packer, data)) == data


def test_distance_of_65535_is_taken_and_more_is_not(packer: Path) -> None:
    numbers = random.Random(1)  # noqa: S311
    word = numbers.randbytes(100)
    for distance, found in ((65535, True), (65536, False)):
        between = numbers.randbytes(distance - len(word))
        data = word + between + word + numbers.randbytes(20)
        packed = pack(packer, data)
        assert unpacked(packed) == data
        assert any(match >= 100 for _, match in sequences(packed)) == found


@pytest.mark.parametrize(("match", "taken"), [(6, False), (8, True)])
def test_no_match_starts_within_the_last_bytes(packer: Path, match: int, *, taken: bool) -> None:
    numbers = random.Random(8)  # noqa: S311
    word = numbers.randbytes(match)
    data = word + numbers.randbytes(30) + word + numbers.randbytes(_LAST_LITERALS)
    packed = pack(packer, data)
    assert unpacked(packed) == data
    assert any(length for _, length in sequences(packed)) == taken


def test_blocks_end_as_the_format_wants_and_runs_are_one_match(packer: Path) -> None:
    data = bytes(_BLOCK + 1000) + code_like(4, 100) + b"\xcc" * 5000
    packed = pack(packer, data)
    assert unpacked(packed) == data
    ends = []
    matches = []
    for literals, match in sequences(packed):
        if match:
            matches.append(match)
        else:
            ends.append((matches[-1], literals))
    assert max(matches) > _BLOCK - 100
    assert len(ends) == 2
    for last_match, literals in ends:
        assert literals >= _LAST_LITERALS
        assert last_match + literals >= _LAST_MATCH_AT


def test_fewer_sequences_than_lz4_for_hardly_more_bytes(packer: Path) -> None:
    data = code_like(5, 500_000)
    ours = pack(packer, data)
    usual = check(["lz4", "-q", "-l", "-9", "-", "-"], "", data=data)
    assert len(list(sequences(ours))) < 0.8 * len(list(sequences(usual)))
    assert len(ours) < 1.08 * len(usual)


def test_same_input_gives_the_same_bytes(packer: Path) -> None:
    data = code_like(6, 200_000)
    assert pack(packer, data) == pack(packer, data)


def test_full_disk_is_an_error(packer: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(code_like(7, 200_000))
    output = run(["sh", "-c", 'exec "$1" <"$2" >/dev/full', "sh", packer, data], timeout=60)
    assert output.status == 1
    assert b"writing" in output.stderr
