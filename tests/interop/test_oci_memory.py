"""A layer of 500 MB there and back, and the memory that takes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from commands import Sprout
from oci_content import signer
from oci_registry import running

from sprout.base.run import check
from sprout.oci.definition import Definition, FileRow
from sprout.oci.layout import open_layout
from sprout.oci.layout_sign import sign_layout
from sprout.oci.pack import pack

SIZE = 500_000_000
RELEASE = signer("release")
PEAK = re.compile(rb"peak memory: ([0-9]+) MiB")
IDLE = """
import sprout.cli.pull, sprout.cli.push, sprout.cli.verify_artifact
from sprout.cli.registry import peak_memory
print("peak memory:", peak_memory())
"""


def peak(output: bytes) -> int:
    found = PEAK.search(output)
    assert found is not None, output
    return int(found[1])


def test_memory_does_not_grow_with_a_layer(sprout: Sprout, tmp_path: Path) -> None:
    with (tmp_path / "disk.img").open("wb") as disk:
        disk.truncate(SIZE)
    rows = (FileRow("disk.img", "disk", "application/octet-stream"),)
    definition = Definition("disk", "", "application/vnd.test", {}, rows)
    layout = tmp_path / "layout"
    pack(layout, [definition], {"amd64": {"disk": tmp_path / "disk.img"}})
    (tmp_path / "disk.img").unlink()
    sign_layout(open_layout(layout), RELEASE, RELEASE.public)
    idle = peak(check([sys.executable, "-c", IDLE], ""))
    key = RELEASE.write(tmp_path / "k.pub")
    with running(tmp_path) as plain:
        reference = f"{plain.host}/large/disk:1"
        words = ("--key", key, "--insecure")
        for command in (
            ("push", layout, reference, "--unsigned", "--insecure"),
            ("verify", reference, *words),
            ("pull", reference, *words, "--arch", "amd64", "-o", tmp_path / "out"),
            ("pull", reference, *words, "--layout", "-o", tmp_path / "again"),
        ):
            output = sprout(*command)
            assert output.status == 0, output.stderr.decode()
            assert peak(output.stdout + output.stderr) <= idle + 64, command
    assert (tmp_path / "out/disk.img").stat().st_size == SIZE
