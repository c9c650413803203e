"""Builds what a measurement needs and names the files: for `boot --exact` and `cost`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from sprout.base.errors import UsageError
from sprout.build.driver import build
from sprout.build.graph import Settings, load_graph
from sprout.build.step import Step
from sprout.build.tree import Image, Tree
from sprout.build.zones import Host
from sprout.cost.host import HostSubject, measure_host
from sprout.cost.measure import MEMORY_MIB, Subject, measure
from sprout.cost.model import Measurement
from sprout.vm.hypervisor import memory_for

AnySubject = Subject | HostSubject


def measured(
    subject: AnySubject,
    boot: str,
    *,
    memory_mib: int | None = None,
    cpus: int = 1,
    console: Callable[[str], None] | None = None,
) -> Measurement:
    """Boot a subject in exact mode, with the memory that its kind has unless told otherwise.

    A host has no way to boot but "uefi"; raises UsageError for another, else as `measure` does.
    """
    if isinstance(subject, Subject):
        return measure(subject, boot, memory_mib=memory_mib or MEMORY_MIB, console=console)
    if boot != "uefi":
        raise UsageError(
            f"{subject.name}: only firmware starts a hypervisor, not {boot}",
            "Leave it out: a host boots by uefi.",
        )
    memory = memory_mib or memory_for(subject.machine_memory_mib)
    return measure_host(subject, memory_mib=memory, cpus=cpus, console=console)


def built_subject(tree: Tree, name: str, settings: Settings) -> tuple[int, AnySubject | None]:
    """Build the image `name` of `tree` and the counting plugins; give (exit status, subject).

    The subject is None where building failed.
    """
    chosen = tree.images[name]
    status = build(tree, [f"{name}-image", "counter"], settings)
    if status != 0:
        return status, None
    # Loaded again: building may have resolved a source, and with it moved a key.
    steps = load_graph(tree, settings).steps
    if chosen.host is not None:
        return 0, _host_subject(chosen, chosen.host, steps)
    return 0, _subject(chosen, steps)


def _subject(chosen: Image, steps: dict[str, Step]) -> Subject:
    kernel, initramfs = steps[f"{chosen.flavor}-kernel"], steps[f"{chosen.initramfs}-initramfs"]
    stub = steps["stub"]
    tools = [kernel.parts["tools"], initramfs.parts["programs"], initramfs.parts["libc"]]
    tools.append(stub.parts["tools"])
    return Subject(
        name=chosen.name,
        image=steps[f"{chosen.name}-image"].files()[0],
        cmdline=chosen.cmdline,
        kernel=kernel.directory,
        initramfs=initramfs.directory,
        stub_symbols=stub.files()[1],
        plugins=steps["counter"].directory,
        toolchain=hashlib.sha256(" ".join(tools).encode()).hexdigest(),
    )


def _host_subject(chosen: Image, host: Host, steps: dict[str, Step]) -> HostSubject:
    if not host.zones:
        raise UsageError(
            f"{chosen.name}: a host without zones has no end to measure to",
            "Give it a zone in images.toml.",
        )
    zone = host.zones[0]
    hypervisor, stub = steps[f"{host.flavor}-kernel"], steps["stub"]
    kernels = [steps[f"{flavor}-kernel"] for flavor in (chosen.flavor, zone.flavor)]
    archives = [steps[f"{name}-initramfs"] for name in (chosen.initramfs, zone.initramfs)]
    compilers = [step.parts["tools"] for step in (hypervisor, *kernels, stub)]
    compilers += [step.parts[part] for step in archives for part in ("programs", "libc")]
    return HostSubject(
        name=chosen.name,
        image=steps[f"{chosen.name}-image"].files()[0],
        cmdline=chosen.cmdline,
        hypervisor_cmdline=host.hypervisor_cmdline(),
        memory_mib=host.memory_mib,
        hypervisor=hypervisor.directory,
        kernel=kernels[0].directory,
        initramfs=archives[0].directory,
        machine_memory_mib=host.machine_memory_mib,
        zones=len(host.zones),
        zone_type=zone.type,
        zone_kernel=kernels[1].directory,
        zone_initramfs=archives[1].directory,
        stub_symbols=stub.files()[1],
        plugins=steps["counter"].directory,
        toolchain=hashlib.sha256(" ".join(compilers).encode()).hexdigest(),
    )
