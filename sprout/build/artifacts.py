"""Puts a tree's built parts together: which files make the boot image of an `[images.NAME]`."""

from __future__ import annotations

import json
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sprout import __version__
from sprout.base.errors import SproutError
from sprout.base.files import read_bounded, scratch_prefix
from sprout.build.tree import Image
from sprout.build.zone_parts import ZoneParts, zone_entries
from sprout.build.zones import Host
from sprout.format.sbat import fill_sbat
from sprout.image.host import HostParts, build_host_image
from sprout.image.uki import MAX_IMAGE_BYTES, build_image
from sprout.initramfs.cpio import Entry, read_cpio, write_cpio
from sprout.kernel.modules import read_modules
from sprout.kernel.reserve import insert_certificate
from sprout.kernel.xen_tools import check_interfaces

_MAX_METADATA_BYTES = 1 << 20
# Where a hypervisor looks for it (Xen, xen/arch/x86/cpu/microcode/core.c).
_MICROCODE = {f"kernel/x86/microcode/{name}.bin" for name in ("AuthenticAMD", "GenuineIntel")}


@dataclass(frozen=True)
class HypervisorParts:
    """The files of an image of a host beside those of its kernel: directories that steps made.

    `tools` is where the tools were built that the initramfs holds; `zones` are by their names;
    `microcode` is the archive that holds it, or None.
    """

    kernel: Path
    tools: Path
    zones: dict[str, ZoneParts]
    microcode: Path | None = None


@dataclass(frozen=True)
class Ingredients:
    """The files of one boot image; `kernel` is the directory that the kernel step made.

    `hypervisor` is there for the image of a host.
    """

    stub: Path
    kernel: Path
    initramfs: Path
    sbat: Path
    hypervisor: HypervisorParts | None = None


@dataclass(frozen=True)
class ModuleKey:
    """What makes a kernel take signed modules: the certificate (DER) that is put into the kernel,
    and what signs the module of that name and gives its bytes.
    """

    certificate: bytes
    sign: Callable[[str, bytes], bytes]


def lay_out_image(
    target: Path,
    image: Image,
    parts: Ingredients,
    epoch: int,
    module_key: ModuleKey | None = None,
) -> None:
    """Write the boot image `image` to `target`, in one step.

    With `module_key` the kernel carries its certificate, and the image's modules are signed.
    Raises SproutError when one of the parts is not what it should be.
    """
    metadata = _metadata(parts.kernel)
    hypervisor = None if parts.hypervisor is None else _metadata(parts.hypervisor.kernel)
    version = f"Linux {metadata['version']}"
    if hypervisor is not None:
        version = f"Xen {hypervisor['version']}, {version}"
    texts: dict[str, Any] = {
        "cmdline": image.cmdline,
        "os_release": {
            "ID": image.os_id,
            "NAME": image.os_name,
            "PRETTY_NAME": f"{image.os_name} ({version})",
            "VERSION_ID": metadata["version"],
        },
        "uname": metadata["release"],
        "sbat": fill_sbat(
            parts.sbat,
            {
                "stub": __version__,
                "kernel": metadata["version"],
                "hypervisor": None if hypervisor is None else hypervisor["version"],
            },
        ),
        "epoch": epoch,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("image"), dir=target.parent) as name:
        work = Path(name)
        entries = _modules(f"lib/modules/{metadata['release']}", image, parts, module_key)
        if parts.hypervisor is not None and image.host is not None:
            entries += zone_entries(image.host.zones, parts.hypervisor.zones)
        initramfs = parts.initramfs
        if entries:
            archive = write_cpio(entries, epoch=epoch)
            initramfs = _with_archive(work / "initramfs.cpio", initramfs, archive)
        if parts.hypervisor is not None and image.host is not None:
            host = _host_parts(image.host, parts, parts.hypervisor, initramfs)
            build_host_image(target, host, **texts)
            return
        build_image(
            target,
            stub=parts.stub,
            kernel=_kernel(work, parts, module_key),
            initramfs=initramfs,
            **texts,
        )


def _metadata(directory: Path) -> dict[str, Any]:
    """Read what the step that made `directory` says of it."""
    found: dict[str, Any] = json.loads(
        read_bounded(directory / "metadata.json", _MAX_METADATA_BYTES)
    )
    return found


def _host_parts(
    host: Host, parts: Ingredients, hypervisor: HypervisorParts, initramfs: Path
) -> HostParts:
    check_interfaces(_metadata(hypervisor.kernel), _metadata(hypervisor.tools))
    if hypervisor.microcode is not None:
        _check_microcode(hypervisor.microcode, f"initramfs/{host.microcode}.toml")
    return HostParts(
        stub=parts.stub,
        hypervisor=hypervisor.kernel / "image",
        hypervisor_cmdline=host.hypervisor_cmdline(),
        kernel=parts.kernel / "elf",
        initramfs=initramfs,
        microcode=hypervisor.microcode,
    )


def _check_microcode(archive: Path, definition: str) -> None:
    files = {entry.name for entry in read_cpio(read_bounded(archive, MAX_IMAGE_BYTES), archive)}
    if not files & _MICROCODE:
        names = " or ".join(sorted(_MICROCODE))
        raise SproutError(f"{definition}: holds no microcode", f"List {names} in it.")


def _kernel(work: Path, parts: Ingredients, module_key: ModuleKey | None) -> Path:
    kernel = parts.kernel / "image"
    if module_key is None:
        return kernel
    data = read_bounded(kernel, MAX_IMAGE_BYTES)
    keyed = work / "kernel"
    keyed.write_bytes(insert_certificate(data, module_key.certificate, kernel))
    return keyed


def _modules(
    prefix: str, image: Image, parts: Ingredients, module_key: ModuleKey | None
) -> list[Entry]:
    """Give the image's modules, and what those need, as files below `prefix`."""
    entries: list[Entry] = []
    if not image.modules:
        return entries
    for name, data in read_modules(parts.kernel / "modules.tar", image.modules).items():
        signed = data if module_key is None else module_key.sign(name, data)
        entries.append(Entry(f"{prefix}/{name}.ko", stat.S_IFREG | 0o644, signed))
    return entries


def _with_archive(target: Path, initramfs: Path, archive: bytes) -> Path:
    """Write an initramfs with one more archive behind it.

    The kernel unpacks archives that follow each other (Documentation/driver-api/
    early-userspace/buffer-format.rst).
    """
    first = read_bounded(initramfs, MAX_IMAGE_BYTES)
    target.write_bytes(first + bytes(-len(first) % 4) + archive)
    return target
