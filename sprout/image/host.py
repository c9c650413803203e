"""Lays a stub, a hypervisor, its host and the host's zones into one PE.

The sections are those of a UKI (UAPI.5), and two of our own: `.hv` is the hypervisor, uncompressed,
and `.hvcmd` its command line. With them `.linux` is the host's kernel as an uncompressed ELF file,
which the hypervisor starts, not the firmware.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.image.elf import check_hypervisor, read_xen_kernel
from sprout.image.uki import (
    MAX_IMAGE_BYTES,
    Section,
    check_text,
    metadata_sections,
    write_image,
)

HYPERVISOR = ".hv"
HYPERVISOR_CMDLINE = ".hvcmd"
MICROCODE = ".ucode"
# Xen cuts its own command line without a word (xen/common/kernel.c, opt: 1,024 bytes).
_MAX_HYPERVISOR_CMDLINE = 1023
_SCAN = "ucode=scan "  # what the stub puts before it for microcode
_MAX_HOST_CMDLINE = 1023  # Xen, MAX_GUEST_CMDLINE


@dataclass(frozen=True)
class HostParts:
    """The files of a host's image, and the hypervisor's command line.

    `kernel` is an uncompressed ELF file; `microcode` is an early initramfs with
    kernel/x86/microcode/*.bin in it, or None.
    """

    stub: Path
    hypervisor: Path
    hypervisor_cmdline: str
    kernel: Path
    initramfs: Path
    microcode: Path | None = None


def build_host_image(
    target: Path,
    parts: HostParts,
    *,
    cmdline: str,
    os_release: Mapping[str, str],
    uname: str,
    sbat: str,
    epoch: int,
) -> None:
    """Write the boot image of a host to `target` in one step; `build_image` tells of the texts.

    `cmdline` is the host kernel's. Raises SproutError when an input cannot be read or is not what
    it should be: a hypervisor that the stub cannot start, or a kernel that cannot be Xen's host.
    """
    hypervisor = read_bounded(parts.hypervisor, MAX_IMAGE_BYTES)
    kernel = read_bounded(parts.kernel, MAX_IMAGE_BYTES)
    check_hypervisor(hypervisor, parts.hypervisor)
    found = read_xen_kernel(kernel, parts.kernel)
    if not (found.pv or found.pvh) or not found.host:
        raise SproutError(
            f"{parts.kernel}: its notes do not say that it can be Xen's host",
            "Ask for CONFIG_XEN_DOM0=y in its flavor.",
        )
    room = _MAX_HYPERVISOR_CMDLINE - (len(_SCAN) if parts.microcode else 0)
    check_text("hypervisor_cmdline", parts.hypervisor_cmdline, room)
    check_text("command line", cmdline, _MAX_HOST_CMDLINE)
    microcode = read_bounded(parts.microcode, MAX_IMAGE_BYTES) if parts.microcode else b""
    sections = [
        *metadata_sections(os_release, cmdline=cmdline, uname=uname, sbat=sbat),
        Section(HYPERVISOR_CMDLINE, parts.hypervisor_cmdline.encode()),
        Section(MICROCODE, microcode),
        Section(HYPERVISOR, hypervisor),
        Section(".initrd", read_bounded(parts.initramfs, MAX_IMAGE_BYTES)),
        Section(".linux", kernel),
    ]
    write_image(target, read_bounded(parts.stub, MAX_IMAGE_BYTES), sections, epoch=epoch)
