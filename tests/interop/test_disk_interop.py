"""Other people's tools find nothing wrong with our disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sprout.image.disk import make_disk, read_disk

START = 1 << 20
SYSTEMD_BOOT = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")


def output(*command: str | Path) -> str:
    environment = os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stdout


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("disk") / "disk.img"
    make_disk(path, SYSTEMD_BOOT, epoch=1767225600)
    return path


def test_sfdisk_verifies_the_table(disk: Path) -> None:
    assert "No errors detected" in output("sfdisk", "--verify", disk)
    found = read_disk(disk)
    text = output("sfdisk", "--dump", disk).lower()
    assert f"label-id: {found.table.disk_guid}" in text
    assert f"uuid={found.partition.unique_guid}" in text


def test_fsck_finds_nothing_wrong(disk: Path, tmp_path: Path) -> None:
    partition = tmp_path / "partition"
    with disk.open("rb") as stream:
        stream.seek(START)
        partition.write_bytes(stream.read(read_disk(disk).partition.size))
    text = output("fsck.vfat", "-n", "-v", partition)
    assert "32 bit entries" in text
    assert "2048 hidden sectors" in text
    assert "3 files" in text or "4 files" in text


def test_mtools_lists_the_boot_file_with_its_time(disk: Path) -> None:
    text = output("mdir", "-i", f"{disk}@@{START}", "::/EFI/BOOT")
    assert "BOOTX64  EFI" in text
    assert "2026-01-01" in text


def test_file_that_may_only_be_read_is_read(disk: Path) -> None:
    disk.chmod(0o444)
    before = disk.stat().st_mtime_ns
    assert read_disk(disk).image == SYSTEMD_BOOT.read_bytes()
    assert disk.stat().st_mtime_ns == before


def test_partition_table_of_another_tool_is_read(tmp_path: Path) -> None:
    path = tmp_path / "other.img"
    with path.open("wb") as stream:
        stream.truncate(64 << 20)
    script = "label: gpt\nsize=20M, type=L, name=data\ntype=U\n"
    environment = os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
    subprocess.run(["sfdisk", "--quiet", path], input=script.encode(), check=True, env=environment)
    second = f"{path}@@{21 << 20}"
    output("mformat", "-i", second, "-T", str(40 << 11), "-h", "64", "-s", "32", "::")
    output("mmd", "-i", second, "::/EFI", "::/EFI/BOOT")
    output("mcopy", "-i", second, SYSTEMD_BOOT, "::/EFI/BOOT/bootx64.efi")
    found = read_disk(path)
    assert found.image == SYSTEMD_BOOT.read_bytes()
    assert [row.name for row in found.table.partitions] == ["data", ""]
    assert found.partition.number == 2


@pytest.mark.parametrize("size", ["100k", "900k"])
def test_full_disk_leaves_nothing(tmp_path: Path, size: str) -> None:
    image = tmp_path / "image.efi"
    image.write_bytes(SYSTEMD_BOOT.read_bytes() + bytes(range(256)) * 4000)
    mounted = tmp_path / "small"
    mounted.mkdir()
    program = (
        "import sys\nfrom pathlib import Path\nfrom sprout.base.errors import SproutError\n"
        "from sprout.image.disk import make_disk\ntarget, image = map(Path, sys.argv[1:])\n"
        "try:\n    make_disk(target, image, epoch=0)\nexcept SproutError as error:\n"
        "    print(error.message, '|', sorted(target.parent.iterdir()))\n"
    )
    script = f'mount -t tmpfs -o size={size} tmpfs "$1" && exec "$2" -c "$3" "$1/disk.img" "$4"'
    # A user namespace is what an ordinary user needs, and what cannot be had inside a chroot.
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    said = output(
        *("unshare", *user, "--mount", "sh", "-c", script, "sh"),
        *(mounted, sys.executable, program, image),
    )
    assert said.endswith("| []\n"), said


def test_zone_disk_holds_the_zone_image(zone_disk: Path, zone_image: Path) -> None:
    assert read_disk(zone_disk).image == zone_image.read_bytes()
    assert "No errors detected" in output("sfdisk", "--verify", zone_disk)
