from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sprout.base.errors import SproutError, UsageError
from sprout.vm import accel
from sprout.vm.firmware import find_firmware, find_secure_firmware
from sprout.vm.probe import compile_application, make_probe_disk
from sprout.vm.qemu import Machine, Qemu, arguments, find_qemu


@pytest.fixture(scope="module")
def qemu() -> Qemu:
    return find_qemu("x86_64")


@pytest.fixture
def machine(qemu: Qemu, tmp_path: Path) -> Machine:
    return Machine(find_firmware("x86_64", qemu.versioned("q35")), tmp_path / "a,b.img")


def test_qemu_is_found_and_tells_its_version(qemu: Qemu) -> None:
    assert qemu.version >= (7, 2, 0)
    assert qemu.versioned("q35") == f"pc-q35-{qemu.version[0]}.{qemu.version[1]}"


def test_missing_qemu_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SproutError, match="qemu-system-x86_64: no such program"):
        find_qemu("x86_64")


def test_command_names_all_that_matters_and_writes_nothing(qemu: Qemu, machine: Machine) -> None:
    command = arguments(qemu, machine, variables=Path("/proc/self/fd/9"))
    assert command[:4] == ["setpriv", "--pdeathsig", "KILL", str(qemu.program)]
    for flag in ("-nodefaults", "-no-user-config", "-no-reboot"):
        assert flag in command
    disk = json.loads(command[command.index("-blockdev") + 1])
    assert disk["read-only"] is True
    assert disk["file"]["filename"] == str(machine.disk)  # the comma is no separator here
    assert not any("netdev" in argument or "nic" in argument for argument in command)


def test_secure_firmware_keeps_its_variables_from_the_guest(qemu: Qemu, machine: Machine) -> None:
    store = Path("/proc/self/fd/9")
    plain = arguments(qemu, machine, variables=store)
    firmware = find_secure_firmware("x86_64", qemu.versioned("q35"))
    secure = arguments(qemu, replace(machine, firmware=firmware), variables=store)
    assert secure[secure.index("-machine") + 1] == "q35,smm=on"
    assert secure[secure.index("-global") + 1] == "driver=cfi.pflash01,property=secure,value=on"
    assert plain[plain.index("-machine") + 1] == "q35"
    assert "-global" not in plain


@pytest.mark.parametrize(
    ("version", "cpus", "accelerator"),
    [
        ((7, 2, 22), 2, "tcg,thread=single"),
        ((8, 0, 5), 2, "tcg,thread=single"),
        ((8, 1, 0), 2, "tcg"),
        ((7, 2, 22), 1, "tcg"),
    ],
)
def test_old_qemu_does_not_emulate_processors_beside_each_other(
    qemu: Qemu, machine: Machine, version: tuple[int, int, int], cpus: int, accelerator: str
) -> None:
    command = arguments(
        replace(qemu, version=version),
        replace(machine, cpus=cpus),
        variables=Path("/proc/self/fd/9"),
    )
    assert command[command.index("-accel") + 1] == accelerator


@pytest.mark.parametrize("change", [{"cpus": 0}, {"memory_mib": 1}])
def test_impossible_machine_is_wrong_usage(
    qemu: Qemu, machine: Machine, change: dict[str, int]
) -> None:
    with pytest.raises(UsageError, match="cannot start"):
        arguments(
            qemu,
            replace(machine, **change),  # type: ignore[arg-type]
            variables=Path("/proc/self/fd/9"),
        )


def test_probe_is_the_same_bytes_everywhere(tmp_path: Path) -> None:
    disks = []
    for name in ("one", "another place"):
        directory = tmp_path / name
        directory.mkdir()
        make_probe_disk(directory)
        disks.append((directory / "probe.efi").read_bytes())
    assert disks[0] == disks[1]
    assert len(disks[0]) <= 4096


def test_compiler_complaint_is_the_error(tmp_path: Path) -> None:
    source = tmp_path / "bad.c"
    source.write_text("int efi_main(void) { return missing; }\n")
    with pytest.raises(SproutError, match="clang failed"):
        compile_application(source, tmp_path / "bad.efi")


def test_unknown_accelerator_is_wrong_usage(qemu: Qemu, machine: Machine) -> None:
    with pytest.raises(UsageError, match="--accel fast"):
        accel.choose("fast", qemu, machine)


def test_foreign_architecture_has_no_kvm(qemu: Qemu, machine: Machine) -> None:
    state = accel.kvm_state(qemu, replace(machine, arch="riscv64"))
    assert not state.works
    assert "not riscv64" in state.reason


def test_answers_are_kept_under_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert accel.default_cache() == Path("/cache/sprout/accel")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    assert accel.default_cache() == Path("/home/me/.cache/sprout/accel")
    monkeypatch.delenv("HOME")
    assert accel.default_cache() is None
