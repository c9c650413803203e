"""Scratch that a killed process left is swept, and nothing else is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.base.files import scratch_prefix, staged_directory, sweep, write_file

GONE = 4_194_304  # above the largest process id there is (proc(5), pid_max)


def test_only_old_scratch_of_the_dead_is_swept(tmp_path: Path) -> None:
    mine = f"{scratch_prefix('kernel')}abcd1234"
    for name in (f"kernel-{GONE}-abcd1234", f".tree.{GONE}-0123abcd.tmp", mine, "sources", "steps"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 5
    long_ago = time.time() - 7200
    for path in tmp_path.iterdir():
        os.utime(path, (long_ago, long_ago))
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine, "sources", "steps"])


def test_refused_write_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "x", tmp_path / ("n" * 300)):
        with pytest.raises(SproutError, match="cannot be written"):
            write_file(place, b"x")


def test_directory_takes_the_place_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    with staged_directory(tmp_path / "link") as staging:
        (staging / "new").touch()
    assert (tmp_path / "link" / "new").is_file()
    assert not (tmp_path / "elsewhere" / "new").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "link"]


def test_errors_do_not_speak_to_the_terminal() -> None:
    error = SproutError("a\x1b[31mred\x1b]0;title\x07", "b\x9b")
    assert error.message == "a\\x1b[31mred\\x1b]0;title\\x07"
    assert error.hint == "b\\x9b"
