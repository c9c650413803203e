"""Writing files: whole or not at all, and never in the place of what is no file."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from commands import ROOT

from sprout.base.errors import SproutError
from sprout.base.files import staged_file, write_file


def test_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to("real/file")
    write_file(link, b"one")
    write_file(link, b"two")
    assert link.is_symlink()
    assert (tmp_path / "real/file").read_bytes() == b"two"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "link", "real"]


def test_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_file(pipe, b"figures")
    reader.join(10)
    assert got == [b"figures"]
    assert pipe.is_fifo()


def test_device_is_written_to_and_stays() -> None:
    write_file(Path("/dev/null"), b"figures")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(SproutError, match="/dev/full: cannot be written: No space left"):
        write_file(Path("/dev/full"), b"figures")
    assert Path("/dev/full").is_char_device()


def test_standard_output_in_a_file_is_written_to(tmp_path: Path) -> None:
    code = "from pathlib import Path; from sprout.base.files import write_file; "
    code += "write_file(Path('/dev/stdout'), b'figures')"
    out = tmp_path / "out"
    with out.open("wb") as stream:
        subprocess.run([sys.executable, "-c", code], stdout=stream, check=True, cwd=ROOT)
    assert out.read_bytes() == b"figures"
    assert Path("/dev/stdout").is_symlink()


def test_device_and_directory_are_never_replaced(tmp_path: Path) -> None:
    for path in (Path("/dev/null"), tmp_path):
        with (
            pytest.raises(SproutError, match="is no regular file"),
            staged_file(path) as staging,
        ):
            staging.write_bytes(b"")
    assert Path("/dev/null").is_char_device()
