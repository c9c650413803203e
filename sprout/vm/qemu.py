"""The machine as data, and the QEMU command line that it stands for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError, UsageError
from sprout.base.run import check, find_program
from sprout.vm.firmware import Bios, Firmware

_HINT = "Install QEMU (package qemu-system-x86 for x86_64); ./sprout.sh does it."
_VERSION = re.compile(rb"version (\d+)\.(\d+)\.(\d+)")

# QEMU's standard streams are its links to this program, so that none has a name in the file
# system and nothing is left of them whoever dies first: a connected socket for QMP, a pipe for
# the console. Not a socket for that one too: QEMU writes single bytes, each of which takes some
# 768 bytes of a socket's buffer, so that a burst of 300 bytes fills it and the guest stalls.
_QMP_FD = 0
_CONSOLE = "/dev/stdout"

# Builds of OVMF hide EFI_MEMORY_ATTRIBUTE_PROTOCOL, because old versions of shim misuse it, unless
# they are told not to (edk2, OvmfPkg, PlatformBootManagerLib). Our stub is to use it.
_KEEP_ATTRIBUTES = "name=opt/org.tianocore/UninstallMemAttrProtocol,string=n"

# Since then a page is locked while it is translated. Before, a processor could go on with code that
# another had just replaced: a kernel that patches itself now and then died of a stale INT3.
_LOCKED_TRANSLATION = (8, 1, 0)


@dataclass(frozen=True)
class Qemu:
    """A QEMU system emulator: its program, the architecture it emulates, and its version."""

    program: Path
    arch: str
    version: tuple[int, int, int]

    def version_text(self) -> str:
        """Give the version as QEMU writes it, such as "7.2.22"."""
        return ".".join(map(str, self.version))

    def versioned(self, machine_type: str) -> str:
        """Give the versioned name that QEMU's alias `machine_type` stands for."""
        prefix = {"q35": "pc-q35"}.get(machine_type, machine_type)
        return f"{prefix}-{self.version[0]}.{self.version[1]}"


@dataclass(frozen=True)
class Direct:
    """A kernel that QEMU hands over itself, without a disk: to UEFI firmware through fw_cfg, else
    by its BIOS' option ROM. `append` is the command line where the kernel takes one from outside.
    """

    kernel: Path
    initrd: Path | None = None
    append: str | None = None


@dataclass(frozen=True)
class Counting:
    """Deterministic emulation with the counting plugin loaded: paths that QEMU opens itself.

    An instruction takes 2^`shift` virtual nanoseconds, so the virtual clock does not depend on the
    host (QEMU docs/devel/tcg-icount).
    """

    plugin: Path
    config: Path
    out: Path
    shift: int


@dataclass(frozen=True)
class Machine:
    """A machine to start: everything that its timing and its firmware's choices depend on.

    It boots from `disk` or `direct`. `cpu` is "max" for both accelerators: under TCG it is all that
    TCG can do, under KVM all that the host can, and nothing a zone's kernel asks for is missing
    from it. `iommu`: one of the kind that AMD's processors have. `shift` is as in `Counting`, for a
    machine that repeats exactly and that nobody counts from outside.
    """

    firmware: Firmware | Bios
    disk: Path | None = None
    accelerator: str = "tcg"
    arch: str = "x86_64"
    machine_type: str = "q35"
    cpu: str = "max"
    cpus: int = 1
    memory_mib: int = 512
    direct: Direct | None = None
    counting: Counting | None = None
    iommu: bool = False
    shift: int | None = None


def find_qemu(arch: str) -> Qemu:
    """Give the QEMU on PATH that emulates `arch`.

    Raises SproutError where there is none, or it does not tell its version.
    """
    program = find_program(f"qemu-system-{arch}", _HINT)
    match = _VERSION.search(check([program, "--version"], _HINT, timeout=20))
    if match is None:
        raise SproutError(f"{program}: --version: tells no version", _HINT)
    major, minor, micro = (int(number) for number in match.groups())
    return Qemu(program, arch, (major, minor, micro))


def data_directories(qemu: Qemu) -> list[Path]:
    """Give where this QEMU looks for its BIOS files, in order (`-L help`)."""
    text = check([qemu.program, "-L", "help"], _HINT, timeout=20)
    return [Path(line) for line in text.decode(errors="replace").splitlines() if line]


def arguments(qemu: Qemu, machine: Machine, *, variables: Path | None) -> list[str]:
    """Give the whole command that starts `machine`: QMP on standard input, console on output.

    `variables` is the copy of the firmware's variable store that this machine may write to.
    Nothing else that the guest does is written anywhere: the disk is read-only, and there is no
    network.
    setpriv lets the kernel end QEMU when this program dies, even by SIGKILL (prctl(2),
    PR_SET_PDEATHSIG).
    """
    if machine.cpus < 1 or machine.memory_mib < 64:
        raise UsageError(
            f"a machine with {machine.cpus} CPUs and {machine.memory_mib} MiB cannot start",
            "Give it at least one CPU and 64 MiB.",
        )
    return [
        *("setpriv", "--pdeathsig", "KILL", str(qemu.program)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", _machine_type(machine), "-cpu", machine.cpu),
        *("-smp", str(machine.cpus), "-m", f"{machine.memory_mib}M"),
        *(("-device", "amd-iommu") if machine.iommu else ()),
        *("-chardev", f"socket,id=qmp,fd={_QMP_FD}", "-mon", "chardev=qmp,mode=control"),
        *("-chardev", f"file,id=console,path={_CONSOLE}", "-serial", "chardev:console"),
        *_emulation(qemu, machine),
        *_firmware(machine.firmware, variables),
        *_disk(machine),
        *_direct(machine.direct),
    ]


def _machine_type(machine: Machine) -> str:
    smm = isinstance(machine.firmware, Firmware) and machine.firmware.needs_smm
    return f"{machine.machine_type},smm=on" if smm else machine.machine_type


def _emulation(qemu: Qemu, machine: Machine) -> list[str]:
    counting = machine.counting
    shift = counting.shift if counting is not None else machine.shift
    if shift is None:
        accelerator = machine.accelerator
        if accelerator == "tcg" and machine.cpus > 1 and qemu.version < _LOCKED_TRANSLATION:
            accelerator = "tcg,thread=single"
        # Without entropy the guest's first use of random numbers may wait for it.
        words = ["-accel", accelerator, "-device", _virtio("virtio-rng-pci", machine)]
        return [*words, "-fw_cfg", _KEEP_ATTRIBUTES]
    words = [
        *("-accel", "tcg,thread=single", "-icount", f"shift={shift},sleep=off"),
        # Random numbers and the date are the same each time too.
        *("-seed", "42", "-rtc", "base=2026-01-01T00:00:00,clock=vm"),
    ]
    if counting is None:
        return words
    files = (f"config={_escaped(counting.config)}", f"out={_escaped(counting.out)}")
    plugin = (_escaped(counting.plugin), *files, f"cpus={machine.cpus}")
    return [*words, "-plugin", ",".join(plugin)]


def _firmware(firmware: Firmware | Bios, variables: Path | None) -> list[str]:
    if isinstance(firmware, Bios):
        return ["-bios", str(firmware.executable)]
    if variables is None:
        raise ValueError("UEFI firmware has no place for its variables")
    code = _flash(0, firmware.executable, firmware.executable_format, "readonly=on")
    store = _flash(1, variables, firmware.nvram_format, "readonly=off")
    # Then only code in system management mode may write to the store (OVMF's README, SMM support).
    secure = ["-global", "driver=cfi.pflash01,property=secure,value=on"]
    return ["-drive", code, "-drive", store, *(secure if firmware.needs_smm else [])]


def _virtio(device: str, machine: Machine) -> str:
    """Give a virtio device: without being told, its accesses to memory pass an IOMMU by.

    (Virtio 1.1, section 6, VIRTIO_F_ACCESS_PLATFORM; old drivers do not know of it.)
    """
    return f"{device},disable-legacy=on,iommu_platform=on" if machine.iommu else device


def _disk(machine: Machine) -> list[str]:
    if machine.disk is None:
        return []
    disk = {
        "driver": "raw",
        "node-name": "disk",
        "read-only": True,
        "file": {"driver": "file", "filename": str(machine.disk.absolute())},
    }
    # bootindex: the firmware tries this disk before its own shell.
    device = _virtio("virtio-blk-pci,drive=disk,bootindex=0", machine)
    return ["-blockdev", json.dumps(disk), "-device", device]


def _direct(direct: Direct | None) -> list[str]:
    if direct is None:
        return []
    words = ["-kernel", str(direct.kernel.absolute())]
    if direct.initrd is not None:
        words += ["-initrd", str(direct.initrd.absolute()).replace(",", ",,")]
    if direct.append is not None:
        words += ["-append", direct.append]
    return words


def _escaped(path: Path) -> str:
    return str(path.absolute()).replace(",", ",,")


def _flash(unit: int, path: Path, image_format: str, mode: str) -> str:
    return (
        f"if=pflash,unit={unit},format={image_format},{mode},"
        f"file.driver=file,file.filename={_escaped(path)}"
    )
