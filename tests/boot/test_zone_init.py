"""The zone's init under a real kernel in QEMU: what it promises, and how it ends."""

from __future__ import annotations

import re
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from sprout.base.run import check, run, started
from sprout.format.ready import Ready, parse
from sprout.initramfs.assemble import assemble, write_headers
from sprout.initramfs.compile import compile_program
from sprout.initramfs.cpio import Entry, read_cpio, write_cpio
from sprout.vm.console import clean

_ROOT = Path(__file__).resolve().parents[2]
_GUESTS = Path(__file__).resolve().parent / "zone_guest"
_BOOT_S = 90.0
_DISK_BYTES = 16 << 20
_OVMF = Path("/usr/share/OVMF")

POWERED_OFF = "reboot: Power down"
RESTARTED = "reboot: Restarting system"


@dataclass(frozen=True)
class Console:
    """What a machine that ended by itself wrote on its serial port."""

    text: str

    def lines(self) -> list[str]:
        return self.text.splitlines()

    def ready(self) -> list[Ready]:
        return [found for line in self.lines() if (found := parse(clean(line)))]


@pytest.fixture(scope="module")
def zone_entries(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    """The product's own initramfs with the guest programs added."""
    work = tmp_path_factory.mktemp("zone")
    write_headers(work)
    assemble(_ROOT / "initramfs" / "zone.toml", work / "zone.cpio", epoch=1)
    entries = read_cpio((work / "zone.cpio").read_bytes(), work / "zone.cpio")
    for source in sorted(_GUESTS.glob("*.c")):
        compile_program([source], work / source.stem, base=_GUESTS, include=work)
        program = (work / source.stem).read_bytes()
        entries.append(Entry(f"bin/{source.stem}", stat.S_IFREG | 0o755, program))
    entries.append(Entry("bin/plain", stat.S_IFREG | 0o644, b"not executable\n"))
    entries.append(Entry("bin/noise", stat.S_IFREG | 0o755, b"neither ELF nor script\n"))
    return entries


@pytest.fixture(scope="module")
def zone_initramfs(zone_entries: list[Entry], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("initramfs") / "zone.cpio"
    path.write_bytes(write_cpio(zone_entries, epoch=1))
    return path


def machine(kernel: Path, initramfs: Path, words: str) -> list[str | Path]:
    arguments: list[str | Path] = ["qemu-system-x86_64", "-machine", "q35", "-cpu", "max"]
    arguments += ["-accel", "tcg", "-m", "256", "-nodefaults", "-no-user-config"]
    arguments += ["-display", "none", "-serial", "stdio", "-kernel", kernel, "-initrd", initramfs]
    return [*arguments, "-append", f"console=ttyS0 quiet panic=-1 {words}"]


def boot(kernel: Path, initramfs: Path, words: str, extra: tuple[str, ...] = ()) -> Console:
    """Run a machine until it ends by itself; `words` end its kernel command line.

    It ends at a reboot too, unless there are `extra` arguments.
    """
    arguments = machine(kernel, initramfs, words)
    output = run([*arguments, *(extra or ("-no-reboot",))], timeout=_BOOT_S)
    console = Console(output.stdout.decode(errors="replace"))
    assert output.status == 0, output.stderr.decode() + console.text
    assert "panic" not in console.text, console.text
    return console


def started_from(drive: tuple[str, ...], flashes: tuple[str, ...]) -> Ready:
    """Boot a disk through the firmware until it is ready, and give its readiness line."""
    arguments: list[str | Path] = ["qemu-system-x86_64", "-machine", "q35", "-cpu", "max"]
    arguments += ["-accel", "tcg", "-m", "256", "-nodefaults", "-no-user-config", *flashes]
    arguments += ["-display", "none", "-serial", "stdio", *drive]
    with started([*arguments, "-device", "virtio-blk-pci,drive=d,bootindex=0"]) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = parse(clean(line.decode(errors="replace")))
            if found is not None:
                return found
    raise AssertionError("it was never ready")


def test_promises_hold_and_the_disk_is_left_clean(
    zone_kernel: Path, zone_initramfs: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.ext4"
    with disk.open("wb") as stream:
        stream.truncate(_DISK_BYTES)
    check(["mkfs.ext4", "-q", "-F", disk], "mkfs.ext4 makes a small file system.")
    extra = ("-drive", f"file={disk},if=virtio,format=raw")
    words = 'misspelt colour=green -- /bin/facts one "two words"'
    console = boot(zone_kernel, zone_initramfs, words, extra)

    facts = [line for line in console.lines() if re.match(r"(ok|FAILED) ", line)]
    assert facts[-1] == "ok end", console.text
    assert not [line for line in facts if line.startswith("FAILED")], console.text
    (ready,) = console.ready()
    assert (ready.entry, ready.handover, ready.copied) == (0, 0, 0)
    assert 0 < ready.init < ready.ready
    assert ready.hz > 100_000_000
    assert console.text.index("sprout-ready") < console.text.index("ok ")
    assert "sprout-init: /bin/facts exited with status 7" in console.lines()
    assert "sprout-init: not everything ended in time: killed" in console.lines()
    assert POWERED_OFF in console.text

    written = check(["debugfs", "-R", "cat /written", disk], "debugfs reads the disk.")
    assert written == b"not synced\n"
    features = check(["dumpe2fs", "-h", disk], "dumpe2fs reads the disk.").decode()
    assert re.search(r"Filesystem state:\s+clean", features)
    assert "needs_recovery" not in features


def test_stamps_that_an_os_left_behind_do_not_count(
    zone_kernel: Path, zone_initramfs: Path, zone_disk: Path, tmp_path: Path
) -> None:
    """A zone writes non-volatile stamps; neither init nor the stub of later boots believes them."""
    variables = tmp_path / "variables.fd"
    variables.write_bytes((_OVMF / "OVMF_VARS_4M.fd").read_bytes())
    flash = "if=pflash,format=raw"
    code = f"{flash},unit=0,readonly=on,file={_OVMF / 'OVMF_CODE_4M.fd'}"
    extra = ("-drive", code, "-drive", f"{flash},unit=1,file={variables}")
    console = boot(zone_kernel, zone_initramfs, "-- /bin/stamps", extra)
    before, after = console.ready()
    assert (before.entry, before.handover, before.copied) == (0, 0, 0), console.text
    assert (after.entry, after.handover, after.copied) == (0, 0, 0), console.text
    assert "sprout-init: /bin/stamps exited with status 0" in console.lines()
    flashes = ("-drive", code, "-drive", f"{flash},unit=1,file={variables}")
    drive = ("-drive", f"if=none,id=d,format=raw,readonly=on,file={zone_disk}")
    ours = started_from(drive, flashes)
    assert 0 < ours.entry < ours.handover < ours.init, ours
    assert (ours.entry, ours.hz) != (11, 3_000_000_000)


def test_signals_reach_the_program_and_poweroff_ends_the_zone(
    zone_kernel: Path, zone_initramfs: Path
) -> None:
    console = boot(zone_kernel, zone_initramfs, "-- /bin/signals")
    passed = [line.split()[-1] for line in console.lines() if line.startswith("passed on")]
    assert passed == ["SIGHUP", "SIGUSR1", "SIGQUIT", "SIGWINCH"], console.text
    assert "told to end" in console.lines()
    assert "FAILED" not in console.text
    assert POWERED_OFF in console.text


@pytest.mark.parametrize(
    ("words", "line", "end"),
    [
        ("-- /bin/ending exit 0", "/bin/ending exited with status 0", POWERED_OFF),
        ("-- /bin/ending exit 133", "/bin/ending exited with status 133", RESTARTED),
        ("-- /bin/ending die 9", "/bin/ending ended by signal 9", POWERED_OFF),
        ("-- /bin/ending ask 2", None, RESTARTED),
        ("-- /bin/ending ask 38", None, POWERED_OFF),
        ("-- /bin/noise", "/bin/noise: Exec format error", POWERED_OFF),
    ],
)
def test_the_end_of_the_program_is_the_end_of_the_zone(
    zone_kernel: Path, zone_initramfs: Path, words: str, line: str | None, end: str
) -> None:
    console = boot(zone_kernel, zone_initramfs, words)
    said = [text for text in console.lines() if text.startswith("sprout-init")]
    expected = [f"sprout-init: {line}"] if line else []
    if "signal" in (line or ""):
        expected.append("sprout-init: the program has failed")
    assert said == expected, console.text
    assert len(console.ready()) == 1
    assert end in console.text


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("/bin/none", "No such file or directory"),
        ("/bin/plain", "Permission denied"),
        ("/bin", "Permission denied"),
    ],
)
def test_a_program_that_cannot_run_is_named_before_readiness(
    zone_kernel: Path, zone_initramfs: Path, program: str, why: str
) -> None:
    console = boot(zone_kernel, zone_initramfs, f"-- {program}")
    assert f"sprout-init: {program}: {why}" in console.lines()
    assert console.ready() == []
    assert POWERED_OFF in console.text


def test_a_mount_that_fails_is_named(
    zone_kernel: Path, zone_entries: list[Entry], tmp_path: Path
) -> None:
    broken = [*zone_entries, Entry("proc", stat.S_IFREG | 0o644, b"in the way\n")]
    initramfs = tmp_path / "broken.cpio"
    initramfs.write_bytes(write_cpio(broken, epoch=1))
    console = boot(zone_kernel, initramfs, "-- /bin/ending exit 0")
    assert "sprout-init: mount /proc: Not a directory" in console.lines()
    assert console.ready() == []
    assert POWERED_OFF in console.text


def test_without_a_program_the_zone_stays(zone_kernel: Path, zone_initramfs: Path) -> None:
    arguments = machine(zone_kernel, zone_initramfs, "misspelt")
    deadline = time.monotonic() + _BOOT_S
    with started(arguments, stderr=subprocess.STDOUT) as qemu:
        assert qemu.stdout is not None
        for raw in qemu.stdout:
            if parse(raw.decode(errors="replace")):
                break
            assert time.monotonic() < deadline
        else:
            pytest.fail("the machine ended without being ready")
        with pytest.raises(subprocess.TimeoutExpired):
            qemu.wait(2.0)
