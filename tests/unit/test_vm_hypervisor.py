from __future__ import annotations

from pathlib import Path

import pytest

from sprout.vm.firmware import Bios
from sprout.vm.hypervisor import is_pvh_host, with_hypervisor
from sprout.vm.qemu import Machine, Qemu, arguments

QEMU = Qemu(Path("/usr/bin/qemu-system-x86_64"), "x86_64", (7, 2, 0))


@pytest.mark.parametrize(
    ("cmdline", "pvh"),
    [
        ("", False),
        ("console=com1 dom0_mem=128M,max:128M", False),
        ("dom0=pvh", True),
        ("console=com1 dom0=verbose,pvh noreboot", True),
        ("dom0=pvh dom0=pv", False),
        ("dom0=pv,pvh", True),
        ("xdom0=pvh dom0-iommu=pvh", False),
    ],
)
def test_kind_of_host_is_read_as_xen_reads_it(cmdline: str, pvh: bool) -> None:
    assert is_pvh_host(cmdline) is pvh


def test_machine_has_what_a_hypervisor_needs() -> None:
    bios = Bios(Path("/bios"))
    plain = with_hypervisor(Machine(bios), "console=com1")
    assert "amd-iommu" not in arguments(QEMU, plain, variables=None)
    assert plain.cpu.startswith("max,-smap,")
    pvh = arguments(QEMU, with_hypervisor(Machine(bios), "dom0=pvh"), variables=None)
    assert pvh[pvh.index("amd-iommu") - 1] == "-device"
    # The host's own processor has all that is emulated badly.
    assert with_hypervisor(Machine(bios, accelerator="kvm"), "console=com1").cpu == "max"
