"""The whole road: the real image on its disk, through real firmware, by the real command."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import ROOT, Sprout, assert_one_error

from sprout.base.run import Output, run
from sprout.initramfs.compile import compile_program
from sprout.initramfs.cpio import Entry, write_cpio

PHASES = ["firmware", "stub", "kernel", "init"]


def initramfs_with_init(source: str, tmp_path: Path) -> Path:
    """Make an initramfs whose /init is the given C program."""
    c, binary, archive = tmp_path / "init.c", tmp_path / "init", tmp_path / "other.cpio"
    c.write_text(source)
    compile_program([c], binary, base=tmp_path, include=tmp_path)
    console = Entry("dev/console", 0o020600, major=5, minor=1)
    archive.write_bytes(
        write_cpio([Entry("init", 0o100755, binary.read_bytes()), console], epoch=0)
    )
    return archive


def without(paths: str, *words: str | Path) -> Output:
    """Run the real command where the given shell words have hidden part of the machine."""
    return run(
        ["unshare", "-rm", "sh", "-c", f'{paths} && exec "$@"', "sh", sys.executable]
        + ["-m", "sprout", *map(str, words)],
        cwd=ROOT,
        timeout=300,
    )


def test_zone_boots_and_its_timeline_is_whole(
    sprout: Sprout, zone_disk: Path, tmp_path: Path
) -> None:
    before = zone_disk.stat().st_mtime_ns
    report = tmp_path / "timeline.json"
    output = sprout("boot", "zone", "--accel", "tcg", "--json", report)
    assert output.status == 0, output.stderr.decode()
    timeline = json.loads(report.read_bytes())
    assert timeline["image"] == "zone"
    assert timeline["accelerator"] == "tcg"
    assert [phase["name"] for phase in timeline["phases"]] == PHASES
    assert all(phase["ticks"] > 0 and phase["wall_ms"] > 0 for phase in timeline["phases"])
    table = output.stdout.decode()
    for phase in PHASES:
        assert phase in table
    assert max(len(line) for line in table.splitlines()) <= 80
    assert zone_disk.stat().st_mtime_ns == before


def test_zone_has_its_command_line_from_the_image_and_runs_a_program(
    sprout: Sprout, zone_disk: Path
) -> None:
    output = sprout("boot", "zone", "--append", "-- /sbin/poweroff", "--until", "exit", "--console")
    assert output.status == 0, output.stderr.decode()
    assert "sprout-ready v=2 entry=" in output.stdout.decode()


def test_image_file_boots_too(sprout: Sprout, zone_image: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.efi"
    shutil.copyfile(zone_image, copy)
    output = sprout("boot", copy)
    assert output.status == 0, output.stderr.decode()


def test_stub_publishes_what_boot_loaders_do(
    sprout: Sprout, zone_disk: Path, tmp_path: Path
) -> None:
    source = Path(__file__).with_name("variables_init.c").read_text()
    archive = initramfs_with_init(source, tmp_path)
    words = ("--initramfs", archive, "--append", "a=1 b", "--console", "--until", "exit")
    output = sprout("boot", "zone", *words)
    assert output.status == 0, output.stderr.decode()
    text = output.stdout.decode()
    assert "cmdline=console=ttyS0 quiet a=1 b\n" in text
    values = dict(re.findall(r"variable (\w+)=(.*) attributes=6\r?$", text, re.MULTILINE))
    assert re.fullmatch(r"sprout \d+\.\d+\.\d+", values["LoaderInfo"])
    assert re.fullmatch(r"sprout-stub \d+\.\d+\.\d+", values["StubInfo"])
    assert int(values["LoaderTimeInitUSec"]) < int(values["LoaderTimeExecUSec"])
    assert re.fullmatch(r"[0-9A-Fa-f-]{36}", values["LoaderDevicePartUUID"])


def test_init_that_exits_is_a_panic_and_is_named(
    sprout: Sprout, zone_disk: Path, tmp_path: Path
) -> None:
    archive = initramfs_with_init("int main(void) { return 3; }\n", tmp_path)
    output = sprout("boot", "zone", "--initramfs", archive)
    assert_one_error(output, "zone", "Attempted to kill init! exitcode=0x00000300")


def test_kernel_without_an_init_panics_and_is_named(
    sprout: Sprout, zone_disk: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "empty.cpio"
    archive.write_bytes(write_cpio([Entry("dev", 0o040755)], epoch=0))
    output = sprout("boot", "zone", "--initramfs", archive)
    assert_one_error(output, "zone", "kernel panic: VFS: Unable to mount root fs")


def test_time_limit(sprout: Sprout, zone_disk: Path, tmp_path: Path) -> None:
    source, program = tmp_path / "a.c", tmp_path / "a"
    source.write_text("#include <unistd.h>\nint main(void) { for (;;) pause(); }\n")
    compile_program([source], program, base=tmp_path, include=tmp_path)
    archive = tmp_path / "silent.cpio"
    archive.write_bytes(write_cpio([Entry("init", 0o100755, program.read_bytes())], epoch=0))
    output = sprout("boot", "zone", "--initramfs", archive, "--timeout", "2")
    assert_one_error(output, "zone", "not ready within 2 s")


@pytest.mark.parametrize(
    ("harm", "keep"), [("head", 64), ("headers", 500), ("half", 2_000_000)], ids=str
)
def test_truncated_image(
    sprout: Sprout, zone_image: Path, tmp_path: Path, harm: str, keep: int
) -> None:
    broken = tmp_path / f"{harm}.efi"
    broken.write_bytes(zone_image.read_bytes()[:keep])
    for verb in ("inspect", "boot"):
        assert_one_error(sprout(verb, broken), broken.name)


def test_truncated_initramfs(
    sprout: Sprout, zone_initramfs: Path, zone_disk: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.cpio"
    broken.write_bytes(zone_initramfs.read_bytes()[:-700])
    assert_one_error(sprout("inspect", broken), "broken.cpio")
    assert_one_error(sprout("boot", "zone", "--initramfs", broken), "broken.cpio")


def test_missing_files(sprout: Sprout, tmp_path: Path) -> None:
    assert_one_error(sprout("boot", tmp_path / "no.efi"), "no.efi")
    assert_one_error(sprout("inspect", tmp_path / "no.efi"), "no.efi")


def test_qemu_is_missing(zone_disk: Path) -> None:
    qemu = shutil.which("qemu-system-x86_64")
    assert qemu is not None
    real = Path(qemu).resolve()
    output = without(f"mount --bind /dev/null {real}", "boot", "zone")
    assert_one_error(output, "qemu-system-x86_64")


def test_firmware_is_missing(zone_disk: Path, tmp_path: Path) -> None:
    output = without(f"mount --bind {tmp_path} /usr/share/qemu/firmware", "boot", "zone")
    assert_one_error(output, "firmware")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_interrupted_boot_leaves_nothing(
    zone_disk: Path, number: signal.Signals, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "sprout", "boot", "zone", "--accel", "tcg"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=-1) as process:
        deadline = time.monotonic() + 60
        machines: list[int] = []
        while not machines and time.monotonic() < deadline:
            time.sleep(0.05)
            machines = qemu_of(process.pid)
        assert machines
        process.send_signal(number)
        status = process.wait(60)
    assert status == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert not [pid for pid in machines if is_alive(pid)]


def qemu_of(parent: int) -> list[int]:
    """Give the QEMU processes that a process started, at any depth."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, waiting = [], [parent]
    while waiting:
        for child in children.get(waiting.pop(), []):
            waiting.append(child)
            if "qemu-system" in _command_of(child):
                found.append(child)
    return found


def is_alive(pid: int) -> bool:
    return "qemu-system" in _command_of(pid)


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
