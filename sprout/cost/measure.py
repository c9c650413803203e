"""Measures one image: an exact boot, its phases, figures and functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sprout.base.files import read_bounded
from sprout.base.progress import say
from sprout.cost.attribution import attribute
from sprout.cost.firmware import Modules, name_address, name_image, read_modules
from sprout.cost.model import Key, Measurement, Phase
from sprout.cost.symbols import (
    KERNEL_HALF,
    KERNEL_TEXT,
    LOW_END,
    Table,
    read_elf,
    read_system_map,
    read_table,
    thunks,
)
from sprout.format import pe
from sprout.image.uki import MAX_IMAGE_BYTES
from sprout.vm.counted import Counted, LoadedImage
from sprout.vm.exact import SHIFT, ExactBoot, exact_boot, exact_machine
from sprout.vm.qemu import Direct, Machine, Qemu
from sprout.vm.watch import (
    Watch,
    at_image,
    at_kernel,
    at_physical,
    at_user,
    during,
    forward,
    forward_at,
    through,
    until,
)

BOOTS = ("uefi", "pvh")
MEMORY_MIB = 256
FIRMWARE, STUB, DECOMPRESSION = "firmware", "stub", "decompression"
KERNEL, CALIBRATION, INIT = "kernel", "calibration", "init"
# What measures clocks against each other, and so spins for a time that the hardware sets: the delay
# loop, the time stamp counter against PIT, PM timer or HPET, whether the timer's interrupts come,
# and the local APIC's timer.
CALIBRATING = (
    "calibrate_delay",
    "pit_hpet_ptimer_calibrate_cpu",
    "native_calibrate_cpu_early",
    "native_calibrate_cpu_early.part.0",
    "native_calibrate_tsc",
    "timer_irq_works",
    "setup_boot_APIC_clock",
    "calibrate_APIC_clock",
)
# What the kernel does whenever it comes to that counts as the kernel's in every phase, so that the
# others say what the boot does. Interrupts, nearly all the clock's, come with time and not with
# work. And stocks are filled up for whoever happens to need the next piece: random numbers, and
# pages, each cleared in 4,096 instructions for an emulator that counts. When that is, and for which
# of the kernel's randomly chosen caches, is chance.
ANYWHERE = (
    *("sysvec_apic_timer_interrupt", "common_interrupt"),
    *("allocate_slab", "__alloc_pages_noprof", "__alloc_pages", "_get_random_bytes"),
)
# The kernel mixes the time stamp counter, here the clock, into its random numbers: into where it
# lies (its EFI stub), where its memory does (setup_arch), and all that come later (random_init). So
# that they are the same whatever ran before, the clock is put forward to a full step there.
DRAWING = ("setup_arch", "random_init")
# The first function that runs at the kernel's own addresses (arch/x86/kernel/head_64.S, and
# arch/x86/platform/pvh/head.S), and where PVH enters.
_FIRST_IN_KERNEL = {"uefi": "common_startup_64", "pvh": "xen_prepare_pvh"}
_PVH_ENTRY = "pvh_start_xen"
_READY = "announce"
_SETUP_SECTORS = 0x1F1
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Subject:
    """What is measured: an image's files, and the symbols that go with them.

    `kernel` and `initramfs` are the directories that their build steps made; `plugins` is that of
    the counting plugins; `toolchain` names what built it all (see `sprout.cost.model.Key`).
    """

    name: str
    image: Path
    cmdline: str
    kernel: Path
    initramfs: Path
    stub_symbols: Path
    plugins: Path
    toolchain: str
    arch: str = "x86_64"

    def with_image(self, image: Path, cmdline: str) -> Subject:
        """Give the same subject with another boot image, and the command line that is in it."""
        return replace(self, image=image, cmdline=cmdline)


@dataclass(frozen=True)
class _Symbols:
    kernel: Table
    decompressor: Table
    stub: Table
    init: Table
    modules: Modules | None


def measure(
    subject: Subject,
    boot: str,
    *,
    memory_mib: int = MEMORY_MIB,
    console: Callable[[str], None] | None = None,
) -> Measurement:
    """Boot `subject` in exact mode, "uefi" or "pvh", and give all that it costs.

    Raises SproutError when the image does not become ready, or a file or program that measuring
    needs is missing.
    """
    uefi = boot == "uefi"
    qemu, machine = exact_machine(_direct(subject, uefi), uefi=uefi, memory_mib=memory_mib)
    modules = read_modules(machine.firmware.executable) if uefi else None
    symbols = _Symbols(
        read_system_map(subject.kernel / "System.map"),
        read_elf(subject.kernel / "decompressor"),
        read_table(subject.stub_symbols),
        read_table(subject.initramfs / "init.symbols"),
        modules,
    )
    say(f"{subject.name}: booting it in exact mode ({boot})")
    result = exact_boot(
        qemu,
        machine,
        _watch(subject, symbols, uefi),
        plugins=subject.plugins,
        name=subject.name,
        timeout_s=TIMEOUT_S,
        console=console,
    )
    say(f"{subject.name}: attributing {result.counted.instructions:,} instructions")
    return _measurement(subject, boot, result, symbols)


def _direct(subject: Subject, uefi: bool) -> Direct:
    if uefi:
        return Direct(subject.image)
    archive = subject.initramfs / "initramfs.cpio"
    return Direct(subject.kernel / "vmlinux", archive, subject.cmdline)


def _watch(subject: Subject, symbols: _Symbols, uefi: bool) -> Watch:
    kernel, where = symbols.kernel, subject.kernel / "System.map"
    first = kernel.needed(_FIRST_IN_KERNEL["uefi" if uefi else "pvh"], where)
    entry = symbols.init.needed("_start", subject.initramfs)
    marks: list[str] = []
    phases: tuple[str, ...]
    if uefi:
        phases = (FIRMWARE, STUB, DECOMPRESSION, KERNEL, CALIBRATION, INIT)
        inner = read_bounded(subject.kernel / "image", MAX_IMAGE_BYTES)
        outer = read_bounded(subject.image, MAX_IMAGE_BYTES)
        marks += [at_pe(STUB, outer, subject.image), at_pe(DECOMPRESSION, inner, "kernel")]
        marks.append(forward_at(DECOMPRESSION))
    else:
        phases = (FIRMWARE, KERNEL, CALIBRATION, INIT)
        marks.append(at_physical(KERNEL, kernel.needed(_PVH_ENTRY, where) - KERNEL_TEXT))
    marks.append(at_kernel(KERNEL, first))
    marks += [forward(kernel.needed(name, where)) for name in DRAWING]
    for phase, names in ((CALIBRATION, CALIBRATING), (KERNEL, ANYWHERE)):
        found = [kernel.by_name[name] for name in names if name in kernel.by_name]
        marks += [during(phase, address) for address in found]
    marks += [through(address, end) for address, end in thunks(kernel)]
    ready = symbols.init.needed(_READY, subject.initramfs)
    marks += [at_user(INIT), until(ready - entry)]
    return Watch(phases, tuple(marks))


def at_pe(phase: str, data: bytes, where: object) -> str:
    """Give the mark at which `phase` begins: the entry of the PE image `data`."""
    headers = pe.parse_headers(data, where)
    return at_image(
        phase,
        stamp=pe.COFF.unpack_from(data, headers.coff_offset)[2],
        size=headers.size_of_image,
        entry=headers.entry_point,
    )


def _measurement(subject: Subject, boot: str, result: ExactBoot, symbols: _Symbols) -> Measurement:
    counted = result.counted
    namer = _Namer(subject, symbols, counted)
    found = attribute(counted, namer.name, namer.begins)
    return Measurement(
        image=subject.name,
        boot=boot,
        key=key_of(result.qemu, result.machine, subject.arch, subject.toolchain),
        phases=tuple(
            Phase(p.name, p.instructions, p.wait_ns, round(p.host_ns / 1e6, 3))
            for p in counted.phases
        ),
        emulator_instructions=counted.emulator_instructions,
        bytes_of=_bytes_of(subject, boot, result.ready.copied),
        memory_kib=result.machine.memory_mib * 1024 - result.ready.free,
        functions=found.functions,
        initcalls=found.initcalls,
        frames=found.frames,
    )


def key_of(qemu: Qemu, machine: Machine, arch: str, toolchain: str) -> Key:
    """Give what a boot of `machine` depends on besides the image."""
    cpus = f" x {machine.cpus}" if machine.cpus > 1 else ""
    return Key(
        arch=arch,
        qemu=qemu.version_text(),
        machine=qemu.versioned(machine.machine_type),
        cpu=f"{machine.cpu}{cpus}",
        memory_mib=machine.memory_mib,
        icount_shift=SHIFT,
        firmware=machine.firmware.executable.name,
        firmware_sha256=machine.firmware.sha256(),
        toolchain=toolchain,
    )


def _bytes_of(subject: Subject, boot: str, copied: int) -> dict[str, int]:
    """Give the sizes that a boot pays for.

    The stub reads the kernel, the initrd and the command line, and copies what it has to before
    the hand-over; the initrd is copied once more when Linux fetches it (LoadFile2).
    """
    kernel = (subject.kernel / ("image" if boot == "uefi" else "vmlinux")).stat().st_size
    initramfs = (subject.initramfs / "initramfs.cpio").stat().st_size
    sizes = {"kernel": kernel, "initramfs": initramfs}
    if boot == "uefi":
        sizes["image"] = subject.image.stat().st_size
        sizes["read"] = kernel + initramfs + len(subject.cmdline.encode())
        sizes["copied"] = copied + initramfs
    return sizes


class _Namer:
    """Names addresses of one counted boot; remembers, because the same ones come often."""

    def __init__(self, subject: Subject, symbols: _Symbols, counted: Counted) -> None:
        self._symbols = symbols
        self._slide = counted.slide
        self._first_user = counted.first_user
        self._start = symbols.init.needed("_start", subject.initramfs)
        self._known: dict[tuple[int, int], tuple[str, str]] = {}
        self._images = {
            index: self._image(subject, image) for index, image in counted.images.items()
        }

    def name(self, pc: int, image: int) -> tuple[str, str]:
        """Give (unit, function) for an address in the image of that index (0: in none)."""
        key = (pc, image)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._find(pc, image)
        return known

    def begins(self, pc: int, image: int) -> bool:
        """Tell whether a function begins at an address in the image of that index (0: in none)."""
        table, address = self._place(pc, image)
        return table is not None and table.begins(address)

    def _place(self, pc: int, image: int) -> tuple[Table | None, int]:
        """Give the table of the program that an address is in, None for none, and where in it."""
        if pc >= KERNEL_TEXT:
            return self._symbols.kernel, pc - self._slide
        if LOW_END <= pc < KERNEL_HALF:
            return self._symbols.init, pc - self._first_user + self._start
        if pc < LOW_END and image:
            table, _, base = self._images[image]
            return table, pc - base
        return None, pc

    def _find(self, pc: int, image: int) -> tuple[str, str]:
        table, address = self._place(pc, image)
        name = table.name(address) if table is not None else None
        if pc >= KERNEL_TEXT:
            return ("kernel", name or "?")
        if pc >= KERNEL_HALF:
            return ("firmware", "runtime services")
        if pc >= LOW_END:
            return ("init", name or "[vdso]")
        if image:
            _, unit, _ = self._images[image]
            return (unit, name or "?") if table is not None else ("firmware", unit)
        modules = self._symbols.modules
        found = name_address(modules, pc) if modules is not None else None
        return ("firmware", found or "outside any module")

    def _image(self, subject: Subject, image: LoadedImage) -> tuple[Table | None, str, int]:
        """Give the table of an image's functions with its unit, or None with its module's name."""
        symbols = self._symbols
        stub = header_of(subject.image)
        if (image.stamp, image.size, image.entry) == stub:
            return (symbols.stub, "stub", image.base)
        if (image.stamp, image.size, image.entry) == header_of(subject.kernel / "image"):
            # The decompressor is linked at 0 and stands behind the setup code.
            with (subject.kernel / "image").open("rb") as stream:
                setup = (stream.read(_SETUP_SECTORS + 1)[_SETUP_SECTORS] + 1) * 512
            return (symbols.decompressor, "decompressor", image.base + setup)
        name = None
        if symbols.modules is not None:
            name = name_image(
                symbols.modules, image.stamp, image.size, image.entry, image.code, image.checksum
            )
        return (None, name or "unknown module", image.base)


def header_of(path: Path) -> tuple[int, int, int]:
    """Give what a PE image is known by: TimeDateStamp, SizeOfImage and AddressOfEntryPoint."""
    data = read_bounded(path, MAX_IMAGE_BYTES)
    headers = pe.parse_headers(data, path)
    stamp = pe.COFF.unpack_from(data, headers.coff_offset)[2]
    return (stamp, headers.size_of_image, headers.entry_point)
