"""Puts a tree's built parts together: which files make the boot image of an `[images.NAME]`."""

from __future__ import annotations

import json
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sprout import __version__
from sprout.base.files import read_bounded, scratch_prefix
from sprout.build.tree import Image
from sprout.format.sbat import fill_sbat
from sprout.image.uki import MAX_IMAGE_BYTES, build_image
from sprout.initramfs.cpio import Entry, write_cpio
from sprout.kernel.modules import read_modules
from sprout.kernel.reserve import insert_certificate


@dataclass(frozen=True)
class Ingredients:
    """The files of one boot image; `kernel` is the directory that the kernel step made."""

    stub: Path
    kernel: Path
    initramfs: Path
    sbat: Path


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
    metadata = json.loads((parts.kernel / "metadata.json").read_bytes())
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("image"), dir=target.parent) as name:
        work = Path(name)
        initramfs = parts.initramfs
        if image.modules:
            prefix = f"lib/modules/{metadata['release']}"
            archive = write_cpio(_modules(prefix, image, parts, module_key), epoch=epoch)
            initramfs = _with_archive(work / "initramfs.cpio", initramfs, archive)
        build_image(
            target,
            stub=parts.stub,
            kernel=_kernel(work, parts, module_key),
            initramfs=initramfs,
            cmdline=image.cmdline,
            os_release={
                "ID": image.os_id,
                "NAME": image.os_name,
                "PRETTY_NAME": f"{image.os_name} (Linux {metadata['version']})",
                "VERSION_ID": metadata["version"],
            },
            uname=metadata["release"],
            sbat=fill_sbat(parts.sbat, {"stub": __version__, "kernel": metadata["version"]}),
            epoch=epoch,
        )


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
    entries = []
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
