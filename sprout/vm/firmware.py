"""Finds UEFI firmware through QEMU's firmware descriptors (QEMU docs/interop/firmware.json)."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded, sha256_file

MAX_DESCRIPTOR_BYTES = 64 << 10
# Without these a blank variable store and any unsigned image will do.
LOCKED_FEATURES = frozenset({"enrolled-keys", "requires-smm"})
# What enforces Secure Boot, with a variable store in which nobody's keys are enrolled yet.
SECURE_FEATURES = frozenset({"secure-boot", "requires-smm"})
ENROLLED_FEATURES = frozenset({"enrolled-keys"})
_BIOS = "bios-256k.bin"
_FORMATS = ("raw", "qcow2")
_WORDS: dict[type, str] = {list: "an array", dict: "an object", str: "a string"}
_HINT = "Install the firmware package (ovmf), or mend the descriptor."


@dataclass(frozen=True)
class Firmware:
    """One UEFI firmware: code and a blank variable store, each with its QEMU block format.

    `needs_smm`: its variables are safe from the guest's kernel only behind system management mode.
    """

    descriptor: Path
    executable: Path
    executable_format: str
    nvram_template: Path
    nvram_format: str
    needs_smm: bool = False

    def sha256(self) -> str:
        """Give the digest of the firmware's code, in lower-case hexadecimal."""
        return sha256_file(self.executable)


@dataclass(frozen=True)
class Bios:
    """QEMU's own BIOS: one file of code, without variables."""

    executable: Path

    def sha256(self) -> str:
        """Give the digest of the code, in lower-case hexadecimal."""
        return sha256_file(self.executable)


def find_bios(data_directories: Sequence[Path]) -> Bios:
    """Give the BIOS of QEMU's x86 machines from the first of its data directories that has it.

    Raises SproutError where none has it.
    """
    for directory in data_directories:
        if (directory / _BIOS).is_file():
            return Bios((directory / _BIOS).resolve())
    where = ", ".join(map(str, data_directories))
    raise SproutError(f"{_BIOS}: is in none of {where}", "Install QEMU's BIOS (package seabios).")


def default_directories() -> tuple[Path, ...]:
    """Give the directories of descriptors, the one that overrides the others first."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    if not home.startswith("/"):  # the XDG base directory rules: a relative path is ignored
        home = str(Path(os.environ.get("HOME", "/")) / ".config")
    return (
        Path(home) / "qemu/firmware",
        Path("/etc/qemu/firmware"),
        Path("/usr/share/qemu/firmware"),
    )


def find_firmware(
    arch: str,
    machine_type: str,
    *,
    require: frozenset[str] = frozenset(),
    refuse: frozenset[str] = LOCKED_FEATURES,
    directories: Sequence[Path] | None = None,
) -> Firmware:
    """Give the first UEFI firmware in flash for `arch` and the versioned `machine_type`.

    `machine_type` is such as "pc-q35-7.2"; `require` and `refuse` are descriptor features.
    Descriptors are looked at in the order of their file names; one in an earlier directory
    replaces those of the same name in later ones, and an empty one hides them.
    Raises SproutError where none fits, or one that comes first is malformed.
    """
    where = tuple(directories) if directories is not None else default_directories()
    for path in _descriptors(where):
        data = read_bounded(path, MAX_DESCRIPTOR_BYTES)
        if not data:
            continue
        firmware = _Descriptor(path, data).firmware(arch, machine_type, require, refuse)
        if firmware is not None:
            return firmware
    wanted = f" with {', '.join(sorted(require))}" if require else ""
    raise SproutError(
        f"no UEFI firmware for {arch} on {machine_type}{wanted}: no descriptor in "
        f"{', '.join(map(str, where))} fits",
        "Install the firmware package: ovmf for x86_64, qemu-efi-aarch64 for aarch64.",
    )


def find_secure_firmware(arch: str, machine_type: str) -> Firmware:
    """Give the first firmware that can enforce Secure Boot and has no keys enrolled.

    Raises SproutError where there is none.
    """
    return find_firmware(arch, machine_type, require=SECURE_FEATURES, refuse=ENROLLED_FEATURES)


def _descriptors(directories: Sequence[Path]) -> list[Path]:
    found: dict[str, Path] = {}
    for directory in directories:
        for path in directory.glob("*.json"):
            found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


class _Descriptor:
    """One descriptor; every read names the file and the field when it is not as it should be."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path = path
        try:
            self._top = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise SproutError(f"{path}: is not JSON: {error}", _HINT) from error
        if not isinstance(self._top, dict):
            raise self._error("the whole", "is not an object")

    def _error(self, field: str, problem: str) -> SproutError:
        return SproutError(f"{self._path}: {field}: {problem}", _HINT)

    def _get(self, table: dict[str, Any], field: str, kind: type) -> Any:  # noqa: ANN401 - callers narrow it
        value = table.get(field.rsplit(".", 1)[-1])
        if not isinstance(value, kind):
            raise self._error(field, f"is not {_WORDS[kind]}")
        return value

    def _texts(self, table: dict[str, Any], field: str) -> list[str]:
        values = self._get(table, field, list)
        if not all(isinstance(value, str) for value in values):
            raise self._error(field, "is not an array of strings")
        return list(values)

    def firmware(
        self, arch: str, machine_type: str, require: frozenset[str], refuse: frozenset[str]
    ) -> Firmware | None:
        """Give this descriptor's firmware, or None when it is for something else."""
        features = set(self._texts(self._top, "features"))
        mapping = self._get(self._top, "mapping", dict)
        fits = (
            "uefi" in self._texts(self._top, "interface-types")
            and self._fits_target(arch, machine_type)
            and require <= features
            and not refuse & features
            and self._get(mapping, "mapping.device", str) == "flash"
            and mapping.get("mode", "split") == "split"  # code and variables in files of their own
        )
        if not fits:
            return None
        executable, executable_format = self._file(mapping, "mapping.executable")
        template, template_format = self._file(mapping, "mapping.nvram-template")
        return Firmware(
            descriptor=self._path,
            executable=executable,
            executable_format=executable_format,
            nvram_template=template,
            nvram_format=template_format,
            needs_smm="requires-smm" in features,
        )

    def _fits_target(self, arch: str, machine_type: str) -> bool:
        for target in self._get(self._top, "targets", list):
            if not isinstance(target, dict):
                raise self._error("targets", "is not an array of objects")
            if self._get(target, "targets.architecture", str) == arch and any(
                fnmatchcase(machine_type, pattern)
                for pattern in self._texts(target, "targets.machines")
            ):
                return True
        return False

    def _file(self, mapping: dict[str, Any], field: str) -> tuple[Path, str]:
        table = self._get(mapping, field, dict)
        path = Path(self._get(table, f"{field}.filename", str))
        if not path.is_file():
            raise self._error(f"{field}.filename", f"{path}: no such file")
        image_format: str = self._get(table, f"{field}.format", str)
        if image_format not in _FORMATS:
            raise self._error(f"{field}.format", f"is neither {' nor '.join(_FORMATS)}")
        return path, image_format
