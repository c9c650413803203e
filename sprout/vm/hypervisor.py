"""What a machine has to be for a boot image with a hypervisor in it."""

from __future__ import annotations

from dataclasses import replace

from sprout.vm.qemu import Machine

MEMORY_MIB = 1024
_FIRMWARE_MIB = 256
# What QEMU emulates of these makes Xen refuse a guest, or a guest of it stumble: paravirtualised
# kernels over SMAP, PVH ones over RDTSCP and XSAVE, which the AVX features build on.
_EMULATED_CPU = "max,-smap,-rdtscp,-xsave,-avx,-avx2"
_KINDS = ("pv", "pvh")


def memory_for(machine_memory_mib: int) -> int:
    """Give the MiB of a machine whose hypervisor, host and zones need `machine_memory_mib`.

    The firmware's own share comes on top.
    """
    return max(MEMORY_MIB, machine_memory_mib + _FIRMWARE_MIB)


def is_pvh_host(cmdline: str) -> bool:
    """Tell whether Xen with this command line starts the host's kernel as PVH, not as PV.

    (Xen, docs/misc/xen-command-line.pandoc, `dom0`: a list of words, of which the last one counts.)
    """
    words = [word.removeprefix("dom0=") for word in cmdline.split() if word.startswith("dom0=")]
    kinds = [kind for word in words for kind in word.split(",") if kind in _KINDS]
    return bool(kinds) and kinds[-1] == "pvh"


def with_hypervisor(machine: Machine, cmdline: str) -> Machine:
    """Give `machine` as Xen with the command line `cmdline` needs it.

    Paravirtualised zones need nothing of it. PVH ones need virtualisation inside the machine: what
    TCG emulates is enough, and under KVM the host's module has to allow it (`nested=1`). A PVH host
    needs an IOMMU too, which is the kind that goes with the processor that TCG emulates.
    """
    cpu = machine.cpu if machine.accelerator == "kvm" else _EMULATED_CPU
    return replace(machine, cpu=cpu, iommu=is_pvh_host(cmdline))
