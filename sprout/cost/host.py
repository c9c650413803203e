"""Measures the image of a host: from power-on over hypervisor and host to its zones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sprout.base.files import read_bounded
from sprout.base.progress import say
from sprout.cost.attribution import attribute
from sprout.cost.code import code_at, efi_entry_code, init_program
from sprout.cost.firmware import read_modules
from sprout.cost.host_names import HostNamer, HostSymbols
from sprout.cost.measure import CALIBRATING, DRAWING, FIRMWARE, STUB, TIMEOUT_S, at_pe, key_of
from sprout.cost.model import Measurement, Phase
from sprout.cost.symbols import KERNEL_TEXT, Table, read_elf, read_system_map, read_table, thunks
from sprout.format.ready import HostReady
from sprout.image.uki import MAX_IMAGE_BYTES
from sprout.vm.exact import ExactBoot, exact_boot, exact_machine
from sprout.vm.host_watch import (
    HYPERVISOR,
    at_guest,
    at_offset,
    at_program,
    during_hypervisors,
    during_zones,
    forward_in_zones,
    through_hypervisors,
    through_zones,
)
from sprout.vm.hypervisor import MEMORY_MIB, is_pvh_host
from sprout.vm.qemu import Direct
from sprout.vm.stages import ZoneTimes, host_begin, zone_times
from sprout.vm.watch import (
    Watch,
    at_code,
    at_kernel,
    at_user,
    during,
    forward,
    through,
    until,
)

XEN, KERNEL, SERVICES, CREATE = "xen", "kernel", "services", "create"
ZONE_KERNEL, ZONE_INIT = "zone-kernel", "zone-init"
# What spins for a time that the hardware sets, apart wherever it stands in between.
XEN_CALIBRATION, CALIBRATION = "xen-calibration", "calibration"
ZONE_CALIBRATION = "zone-calibration"
# Whenever nothing else runs, Xen clears free memory, until all of it is: a wait, if not by name.
SCRUB = "scrub"
# Several zones come into being beside each other: from the first one's entry on, what runs is told
# by unit and function alone.
ZONES = "zones"
_TO_ZONES = (FIRMWARE, STUB, XEN, XEN_CALIBRATION, KERNEL, CALIBRATION, SERVICES)
PHASES = (*_TO_ZONES, CREATE, ZONE_KERNEL, ZONE_CALIBRATION, ZONE_INIT, SCRUB)
PHASES_OF_SEVERAL = (*_TO_ZONES, CREATE, ZONES, ZONE_CALIBRATION, SCRUB)
# xen/arch/x86/time.c, apic.c, io_apic.c
_XEN_CALIBRATING = (
    *("calibrate_tsc", "preinit_pit", "init_pit", "init_hpet", "init_pmtimer"),
    *("calibrate_apic_timer", "calibrate_APIC_clock", "timer_irq_works"),
)
_SCRUBBING = "scrub_free_pages"
# Where Xen enters Linux: as PV (arch/x86/xen/xen-head.S), as PVH (arch/x86/platform/pvh/head.S),
# and what then runs first at the kernel's own addresses.
_PV_ENTRY, _PVH_ENTRY, _PVH_FIRST = "startup_xen", "pvh_start_xen", "xen_prepare_pvh"
# In the host's init (initramfs/host): when the first zone is to be started, and when all are ready.
_SERVED, _READY = "services_are_up", "announce_host"


@dataclass(frozen=True)
class HostSubject:
    """What is measured: the image of a host, and the directories that its steps made.

    `zone_type` is the first zone's, "pv" or "pvh", `memory_mib` the memory of the host's own
    kernel, `zones` how many there are, `machine_memory_mib` what all of them need; the rest is as
    in `sprout.cost.measure.Subject`.
    """

    name: str
    image: Path
    cmdline: str
    hypervisor_cmdline: str
    memory_mib: int
    hypervisor: Path
    kernel: Path
    initramfs: Path
    zone_type: str
    zone_kernel: Path
    zone_initramfs: Path
    stub_symbols: Path
    plugins: Path
    toolchain: str
    arch: str = "x86_64"
    zones: int = 1
    machine_memory_mib: int = 0

    def with_image(self, image: Path, cmdline: str) -> HostSubject:
        """Give the same subject with another boot image, and the host's command line in it."""
        return replace(self, image=image, cmdline=cmdline)


def measure_host(
    subject: HostSubject,
    *,
    memory_mib: int = MEMORY_MIB,
    cpus: int = 1,
    console: Callable[[str], None] | None = None,
) -> Measurement:
    """Boot `subject` in exact mode until its zones are ready, and give all that it costs.

    Raises SproutError when the image does not become ready, or a file or program that measuring
    needs is missing.
    """
    qemu, machine = exact_machine(
        Direct(subject.image),
        uefi=True,
        memory_mib=memory_mib,
        cpus=cpus,
        hypervisor=subject.hypervisor_cmdline,
    )
    symbols = _symbols(subject, machine.firmware.executable)
    say(f"{subject.name}: booting it in exact mode (uefi)")
    result = exact_boot(
        qemu,
        machine,
        _watch(subject, symbols),
        plugins=subject.plugins,
        name=subject.name,
        timeout_s=TIMEOUT_S,
        console=console,
        is_host=True,
    )
    say(f"{subject.name}: attributing {result.counted.instructions:,} instructions")
    return _measurement(subject, result, symbols)


def _symbols(subject: HostSubject, firmware: Path) -> HostSymbols:
    # The distribution's own hypervisor comes without symbols.
    hypervisor = read_elf(subject.hypervisor / "vmlinux")
    launcher = read_table(subject.initramfs / "linked.symbols")
    return HostSymbols(
        hypervisor=hypervisor if hypervisor.addresses else None,
        kernel=read_system_map(subject.kernel / "System.map"),
        zone=read_system_map(subject.zone_kernel / "System.map"),
        stub=read_table(subject.stub_symbols),
        modules=read_modules(firmware),
        launcher=launcher if launcher.addresses else None,
    )


def _watch(subject: HostSubject, symbols: HostSymbols) -> Watch:
    outer = read_bounded(subject.image, MAX_IMAGE_BYTES)
    entry = efi_entry_code(subject.hypervisor / "image")
    marks = [HYPERVISOR, at_pe(STUB, outer, subject.image), at_code(XEN, entry)]
    marks += _hypervisor_marks(symbols.hypervisor)
    marks += _kernel_marks(subject, symbols.kernel)
    marks += _zone_marks(subject, symbols.zone)
    marks += _init_marks(subject)
    return Watch(PHASES if subject.zones == 1 else PHASES_OF_SEVERAL, tuple(marks))


def _hypervisor_marks(table: Table | None) -> list[str]:
    if table is None:
        return []
    spans = ((XEN_CALIBRATION, _XEN_CALIBRATING), (SCRUB, (_SCRUBBING,)))
    marks = [
        during_hypervisors(phase, address)
        for phase, names in spans
        for address in _known(table, names)
    ]
    return marks + [through_hypervisors(begin, end) for begin, end in thunks(table)]


def _kernel_marks(subject: HostSubject, table: Table) -> list[str]:
    where, image = subject.kernel / "System.map", subject.kernel / "vmlinux"
    marks: list[str] = []
    first = _PV_ENTRY
    if is_pvh_host(subject.hypervisor_cmdline):
        entry, first = table.needed(_PVH_ENTRY, where), _PVH_FIRST
        code = code_at(image, entry)
        marks.append(at_guest(KERNEL, entry - KERNEL_TEXT, code, after=XEN))
    marks.append(at_kernel(KERNEL, table.needed(first, where)))
    marks += [during(CALIBRATION, address) for address in _known(table, CALIBRATING)]
    marks += [forward(address) for address in _known(table, DRAWING)]
    return marks + [through(begin, end) for begin, end in thunks(table)]


def _zone_marks(subject: HostSubject, table: Table) -> list[str]:
    pvh = subject.zone_type == "pvh"
    where = subject.zone_kernel / "System.map"
    entry = table.needed(_PVH_ENTRY if pvh else _PV_ENTRY, where)
    code = code_at(subject.zone_kernel / "vmlinux", entry)
    address = entry - KERNEL_TEXT if pvh else entry
    entered = ZONE_KERNEL if subject.zones == 1 else ZONES
    marks = [at_guest(entered, address, code, after=CREATE)]
    marks += [during_zones(ZONE_CALIBRATION, address) for address in _known(table, CALIBRATING)]
    if subject.zones == 1:  # beside others it would let the clocks of those run for seconds
        marks += [forward_in_zones(address) for address in _known(table, DRAWING)]
    return marks + [through_zones(begin, end) for begin, end in thunks(table)]


def _init_marks(subject: HostSubject) -> list[str]:
    host, zone = (
        read_table(directory / "init.symbols")
        for directory in (subject.initramfs, subject.zone_initramfs)
    )
    program = init_program(subject.initramfs / "initramfs.cpio")
    other = init_program(subject.zone_initramfs / "initramfs.cpio")
    start = host.needed("_start", subject.initramfs)
    served = host.needed(_SERVED, subject.initramfs)
    ready = host.needed(_READY, subject.initramfs)
    begin = code_at(other, zone.needed("_start", subject.zone_initramfs))
    marks = [
        at_user(SERVICES),
        at_offset(CREATE, served - start, code_at(program, served), after=SERVICES),
        until(ready - start),
    ]
    if subject.zones == 1:
        marks.append(at_program(ZONE_INIT, begin, after=ZONE_KERNEL))
    return marks


def _known(table: Table, names: Sequence[str]) -> list[int]:
    return [table.by_name[name] for name in names if name in table.by_name]


def _measurement(subject: HostSubject, result: ExactBoot, symbols: HostSymbols) -> Measurement:
    counted = result.counted
    namer = HostNamer(symbols, counted, subject.image)
    found = attribute(counted, namer.name, namer.begins)
    key = key_of(result.qemu, result.machine, subject.arch, subject.toolchain)
    return Measurement(
        image=subject.name,
        boot="uefi",
        key=key,
        phases=tuple(
            Phase(p.name, p.instructions, p.wait_ns, round(p.host_ns / 1e6, 3))
            for p in counted.phases
        ),
        emulator_instructions=counted.emulator_instructions,
        bytes_of=_bytes_of(subject, result),
        memory_kib=subject.memory_mib * 1024 - result.ready.free,
        functions=found.functions,
        initcalls=found.initcalls,
        frames=found.frames,
        zones=_zones_of(result),
    )


def _zones_of(result: ExactBoot) -> tuple[ZoneTimes, ...]:
    """Give what the zones took, without the steps by which the plugin put the clock forward."""
    ready, counted = result.ready, result.counted
    if not isinstance(ready, HostReady):
        return ()
    # The clock of a PVH host begins with it. Between a step and a stamp lies far more than between
    # the last stamp and the end.
    behind = counted.ended_ns - ready.ready

    def real(tick: int) -> int:
        return tick - sum(by for at, by in counted.forwarded if at <= tick + behind)

    zones = [
        replace(
            zone,
            create=real(zone.create),
            unpaused=real(zone.unpaused),
            init=real(zone.init),
            ready=real(zone.ready),
        )
        for zone in result.zones
    ]
    return zone_times(zones, real(ready.entry or host_begin(ready)))


def _bytes_of(subject: HostSubject, result: ExactBoot) -> dict[str, int]:
    """Give the sizes that a boot pays for; `initramfs` is the host's without its zones."""
    copied = result.ready.copied if isinstance(result.ready, HostReady) else 0
    return {
        "hypervisor": (subject.hypervisor / "image").stat().st_size,
        "kernel": (subject.kernel / "elf").stat().st_size,
        "initramfs": (subject.initramfs / "initramfs.cpio").stat().st_size,
        "image": subject.image.stat().st_size,
        "copied": copied,
    }
