"""The machine, with real firmware and small guests that behave well or badly on purpose."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.vm import accel
from sprout.vm.boot import BootError, boot
from sprout.vm.firmware import find_firmware
from sprout.vm.probe import compile_application, make_floppy
from sprout.vm.qemu import Machine, Qemu, find_qemu
from sprout.vm.session import End

LIMIT_S = 60.0
GUEST = Path(__file__).with_name("machine") / "guest.c"
Guest = Callable[[str], Path]


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Guest:
    """Makes the disk of a guest that behaves as its name says (see guest.c)."""
    directory = tmp_path_factory.mktemp("guests, with a comma")

    def make(behaviour: str) -> Path:
        disk = directory / f"{behaviour}.img"
        if not disk.exists():
            application = directory / f"{behaviour}.efi"
            compile_application(GUEST, application, f"BEHAVIOUR={behaviour}")
            make_floppy(disk, application)
        return disk

    return make


@pytest.fixture(scope="module")
def qemu() -> Qemu:
    return find_qemu("x86_64")


def failed(disk: Path) -> BootError:
    with pytest.raises(BootError) as caught:
        boot(disk, image="guest", accel="tcg", timeout_s=LIMIT_S)
    return caught.value


def test_machine_is_ended_when_ready_and_writes_nothing(guest: Guest, tmp_path: Path) -> None:
    disk = guest("READY")
    before = disk.read_bytes()
    shown: list[str] = []
    log = tmp_path / "console.log"
    result = boot(
        disk, image="guest", accel="tcg", timeout_s=LIMIT_S, console=shown.append, log=log
    )
    assert qemu_processes(os.getpid()) == []
    assert disk.read_bytes() == before
    assert "guest: hello" in shown  # escapes, bell and carriage return are gone
    assert log.read_text().splitlines() == list(result.console_lines) == shown
    assert result.ready.entry == 2_000_000
    drawn = result.timeline.to_json()
    assert [(phase["name"], phase["wall_ms"]) for phase in drawn["phases"]] == [
        ("firmware", 2000.0),
        ("stub", 500.0),
        ("kernel", 1500.0),
        ("init", 250.0),
    ]
    assert 0 < drawn["host_wall_ms"] < LIMIT_S * 1000
    assert drawn["machine"]["firmware"].startswith("OVMF")


def test_host_is_ready_when_its_zones_are(guest: Guest) -> None:
    result = boot(
        guest("HOST"), image="guest", accel="tcg", timeout_s=LIMIT_S, hypervisor="console=com1"
    )
    assert [(phase.name, phase.wall_ms) for phase in result.timeline.phases] == [
        ("firmware", 2000.0),
        ("stub", 500.0),
        ("xen", 500.0),
        ("host kernel", 1000.0),
        ("host init", 2000.0),
        ("first create", 200.0),
        ("first kernel", 500.0),
        ("first init", 100.0),
    ]
    assert [zone.zone for zone in result.zones] == ["first"]
    assert "-smap" in result.machine.cpu
    assert not result.machine.iommu


def test_panic_of_a_zone_is_the_hosts_failure(guest: Guest) -> None:
    with pytest.raises(BootError) as caught:
        boot(
            guest("ZONE_PANIC"),
            image="guest",
            accel="tcg",
            timeout_s=LIMIT_S,
            hypervisor="dom0=pvh",
        )
    assert caught.value.message == "guest: zone first: kernel panic: No working init found."
    assert caught.value.console_lines[-1].endswith("Call Trace:")


def test_until_exit_waits_for_power_off(guest: Guest) -> None:
    result = boot(guest("READY"), image="guest", accel="tcg", timeout_s=LIMIT_S, until="exit")
    assert result.console_lines[-1].endswith("exited with status 0")


def test_panic_fails_with_the_lines_around_it(guest: Guest) -> None:
    error = failed(guest("PANIC"))
    assert error.message == ("guest: kernel panic: Attempted to kill init! exitcode=0x00000100")
    assert "[    1.000000] last words" in error.console_lines
    assert error.console_lines[-1].endswith("do_exit+0x1/0x2")
    assert "--console" in error.hint


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("POWER_OFF", "guest: the guest powered off before it was ready"),
        ("RESET", "guest: the guest reset the machine before it was ready"),
        ("EXCEPTION", "guest: CPU exception: 06(#UD - Invalid Opcode)"),
    ],
)
def test_other_endings_have_names(guest: Guest, behaviour: str, message: str) -> None:
    error = failed(guest(behaviour))
    assert error.message == message
    assert "guest: hello" in error.console_lines


def test_application_that_returns_is_named(guest: Guest) -> None:
    assert failed(guest("RETURN")).message.startswith(
        "guest: the boot application came back to the firmware"
    )


def test_disk_without_a_boot_application_is_named(tmp_path: Path) -> None:
    disk = tmp_path / "empty.img"
    disk.write_bytes(bytes(1 << 20))
    assert failed(disk).message == (
        "guest: the firmware cannot load a boot application from the disk: Not Found"
    )


def test_time_limit_is_named(guest: Guest) -> None:
    with pytest.raises(BootError, match=r"^guest: not ready within 0\.5 s$"):
        boot(guest("HANG"), image="guest", accel="tcg", timeout_s=0.5)
    assert qemu_processes(os.getpid()) == []


def test_missing_disk_and_impossible_machine_are_named(guest: Guest, tmp_path: Path) -> None:
    with pytest.raises(SproutError, match="no such disk"):
        boot(tmp_path / "none.img", image="guest", accel="tcg", timeout_s=5)
    with pytest.raises(BootError, match="QEMU ended by itself before it was ready"):
        boot(guest("HANG"), image="guest", accel="tcg", timeout_s=5, cpus=100_000)


def test_probe_boots_and_proves_that_interrupts_arrive(qemu: Qemu, tmp_path: Path) -> None:
    firmware = find_firmware("x86_64", qemu.versioned("q35"))
    run = accel.tiny_boot(qemu, Machine(firmware, tmp_path), LIMIT_S)
    assert run.end is End.REACHED, run


def test_accelerator_is_proved_once_and_remembered(
    qemu: Qemu, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(find_firmware("x86_64", qemu.versioned("q35")), tmp_path)
    chosen = accel.choose("auto", qemu, machine, cache=tmp_path)
    said = capsys.readouterr().err
    if chosen == "tcg":
        assert said.startswith("accelerator: TCG, because KVM does not work on this host: ")
        assert said.count("\n") == 1
        with pytest.raises(SproutError, match="--accel kvm: KVM does not work on this host: "):
            accel.choose("kvm", qemu, machine, cache=tmp_path)
    else:
        assert said == ""
        assert accel.choose("kvm", qemu, machine, cache=tmp_path) == "kvm"
    began = time.monotonic()
    assert accel.choose("auto", qemu, machine, cache=tmp_path) == chosen
    assert time.monotonic() - began < 0.5  # no machine was started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_tool_is_ended(
    guest: Guest, tmp_path: Path, number: signal.Signals
) -> None:
    """The tool is a process of its own here; `sprout` turns SIGTERM into SystemExit like this."""
    program = (
        "import signal, sys\n"
        "from pathlib import Path\n"
        "from sprout.vm.boot import boot\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "boot(Path(sys.argv[1]), image='guest', accel='tcg', timeout_s=60)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(guest("HANG"))],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as tool:
        try:
            running = wait_for(lambda: qemu_processes(tool.pid))
            time.sleep(0.3)  # the watch is under way
            tool.send_signal(number)
            _, errors = tool.communicate(timeout=20)
        finally:
            tool.kill()
    assert tool.returncode != 0
    assert wait_for(lambda: [pid for pid in running if has_ended(pid)]) == running
    assert list(tmp_path.iterdir()) == []
    if number != signal.SIGINT:  # which `sprout` reports, and this little program does not
        assert errors == ""


def wait_for(look: Callable[[], list[int]]) -> list[int]:
    end = time.monotonic() + 20
    while not (found := look()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def state(pid: int) -> tuple[str, str, int]:
    """Give a process's name, its state's letter and its parent; see proc(5)."""
    name, rest = Path(f"/proc/{pid}/stat").read_text().split("(", 1)[1].rsplit(")", 1)
    letter, parent, *_ = rest.split()
    return name, letter, int(parent)


def has_ended(pid: int) -> bool:
    """Tell whether a process is gone, or dead and not yet reaped by whatever is process 1 here."""
    try:
        return state(pid)[1] == "Z"
    except OSError:
        return True


def qemu_processes(parent: int) -> list[int]:
    """Give the QEMU processes whose parent is `parent`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name, _, its_parent = state(int(entry.name))
        except OSError:
            continue
        if name.startswith("qemu-system") and its_parent == parent:
            found.append(int(entry.name))
    return found
