from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sprout.base.errors import SproutError
from sprout.vm.firmware import (
    Firmware,
    default_directories,
    find_firmware,
    find_secure_firmware,
)


def write(directory: Path, name: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """Write a descriptor that fits, with `changes`, and the two files that it names."""
    directory.mkdir(exist_ok=True)
    code, variables = directory / f"{name}.code", directory / f"{name}.vars"
    code.write_bytes(b"code")
    variables.write_bytes(b"vars")
    descriptor = {
        "interface-types": ["uefi"],
        "mapping": {
            "device": "flash",
            "executable": {"filename": str(code), "format": "raw"},
            "nvram-template": {"filename": str(variables), "format": "raw"},
        },
        "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
        "features": ["acpi-s3"],
        **changes,
    }
    (directory / name).write_text(json.dumps(descriptor))
    return descriptor


def find(*directories: Path, require: frozenset[str] = frozenset()) -> Firmware:
    return find_firmware("x86_64", "pc-q35-7.2", require=require, directories=directories)


def test_this_machine_has_plain_firmware() -> None:
    firmware = find_firmware("x86_64", "pc-q35-7.2")
    assert firmware.executable.stat().st_size > 1 << 20
    assert len(firmware.sha256()) == 64


def test_this_machine_has_firmware_for_secure_boot() -> None:
    firmware = find_secure_firmware("x86_64", "pc-q35-7.2")
    assert firmware.needs_smm
    assert firmware != find_firmware("x86_64", "pc-q35-7.2")
    assert not find_firmware("x86_64", "pc-q35-7.2").needs_smm


def test_first_that_fits_wins_in_the_order_of_names(tmp_path: Path) -> None:
    write(tmp_path, "10-locked.json", features=["enrolled-keys", "requires-smm"])
    write(tmp_path, "20-bios.json", **{"interface-types": ["bios"]})
    write(tmp_path, "30-arm.json", targets=[{"architecture": "aarch64", "machines": ["virt-*"]}])
    write(tmp_path, "35-i440.json", targets=[{"architecture": "x86_64", "machines": ["pc-i4*"]}])
    write(tmp_path, "40-memory.json", mapping={"device": "memory"})
    write(tmp_path, "45-stateless.json", mapping={"device": "flash", "mode": "stateless"})
    write(tmp_path, "50-plain.json")
    write(tmp_path, "60-plain.json")
    assert find(tmp_path).descriptor.name == "50-plain.json"


def test_features_can_be_required(tmp_path: Path) -> None:
    write(tmp_path, "10.json")
    write(tmp_path, "20.json", features=["secure-boot"])
    assert find(tmp_path, require=frozenset({"secure-boot"})).descriptor.name == "20.json"


def test_earlier_directory_replaces_and_masks(tmp_path: Path) -> None:
    user, system = tmp_path / "user", tmp_path / "system"
    for name in ("10.json", "20.json", "30.json"):
        write(system, name)
    user.mkdir()
    (user / "10.json").write_bytes(b"")
    write(user, "20.json")
    assert find(user, system).descriptor == user / "20.json"


def test_directories_follow_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/somewhere")
    assert default_directories()[0] == Path("/somewhere/qemu/firmware")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_directories()[0] == Path("/home/me/.config/qemu/firmware")


def test_nothing_there_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(SproutError, match="no UEFI firmware for x86_64") as caught:
        find(tmp_path, tmp_path / "none", require=frozenset({"secure-boot"}))
    assert "pc-q35-7.2 with secure-boot: no descriptor" in caught.value.message
    assert "ovmf" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"features": "acpi-s3"}, "features"),
        ({"features": [1]}, "features"),
        ({"interface-types": {}}, "interface-types"),
        ({"mapping": []}, "mapping"),
        ({"mapping": {}}, "mapping.device"),
        ({"mapping": {"device": "flash"}}, "mapping.executable"),
        ({"mapping": {"device": "flash", "executable": {}}}, "mapping.executable.filename"),
        ({"targets": ["x86_64"]}, "targets"),
        ({"targets": [{"architecture": 64}]}, "targets.architecture"),
        ({"targets": [{"architecture": "x86_64"}]}, "targets.machines"),
    ],
)
def test_malformed_field_is_named(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    write(tmp_path, "10.json", **changes)
    with pytest.raises(SproutError) as caught:
        find(tmp_path)
    assert caught.value.message.startswith(f"{tmp_path / '10.json'}: {field}: ")


def test_missing_file_and_strange_format_are_named(tmp_path: Path) -> None:
    descriptor = write(tmp_path, "10.json")
    descriptor["mapping"]["nvram-template"]["format"] = "vmdk"
    (tmp_path / "10.json").write_text(json.dumps(descriptor))
    with pytest.raises(SproutError, match=r"mapping\.nvram-template\.format: is neither"):
        find(tmp_path)
    (tmp_path / "10.json.code").unlink()
    with pytest.raises(SproutError, match=r"mapping\.executable\.filename: .*: no such file"):
        find(tmp_path)


@pytest.mark.parametrize("data", [b"{", b"\xff\xfe", b"[" * 50_000, b"[]", b"x" * 70_000])
def test_bytes_that_are_no_descriptor_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "10.json").write_bytes(data)
    with pytest.raises(SproutError, match=r"10\.json"):
        find(tmp_path)
