"""From a verified tree to the hypervisor: built with our configuration, or the packaged one."""

from __future__ import annotations

import gzip
import re
import shutil
import tempfile
import zlib
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded, scratch_prefix
from sprout.kernel.configure import configure
from sprout.kernel.dotconfig import parse
from sprout.kernel.fetch import Store, obtain
from sprout.kernel.kbuild import PROGRAMS as KERNEL_PROGRAMS
from sprout.kernel.kbuild import refuse_unfit
from sprout.kernel.order import Order, describe, write_metadata
from sprout.kernel.patches import patched_tree
from sprout.kernel.source_list import list_xen, write_empty
from sprout.kernel.sources import Pin
from sprout.kernel.xen_make import XenMake, interface_versions

OUTPUTS = ("image", "vmlinux", "System.map", "config", "metadata.json", "sources.json")
PROGRAMS: tuple[str, ...] = (*KERNEL_PROGRAMS, "python3", "dpkg-deb")
# A minimal configuration compiles about this many; it makes the progress bar and nothing else.
_EXPECTED_OBJECTS = 330
_MAX_IMAGE_BYTES = 64 << 20
_MAX_CONFIG_BYTES = 1 << 20

__all__ = ["OUTPUTS", "PROGRAMS", "build_hypervisor", "packaged_configuration"]


def build_hypervisor(order: Order, store: Store, target: Path, *, jobs: int, log: Path) -> None:
    """Build the hypervisor of `order` into the existing directory `target`.

    Writes `image` (the 32-bit ELF that a Multiboot2 loader starts), `vmlinux` (the same with
    symbols, 64-bit), `System.map`, `config`, `metadata.json` and `sources.json` (what was
    compiled). For a packaged one `vmlinux` is the image again and `System.map` and the lists of
    sources are empty: neither is in the package. Raises SproutError when the source does not
    verify, a patch does not apply, the configuration is not what was asked for, or the compiler
    fails.
    """
    if order.flavor.hypervisor == "packaged":
        _take_packaged(order, store, target)
    else:
        _build(order, store, target, jobs=jobs, log=log)


def _build(order: Order, store: Store, target: Path, *, jobs: int, log: Path) -> None:
    flavor, pin = order.flavor, order.locked()
    tree = patched_tree(obtain(store, order.source, pin), flavor.patches_for(pin.upstream))
    log.unlink(missing_ok=True)
    refuse_unfit(store.root)
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("kernel"), dir=store.root) as name:
        make = XenMake(tree / "xen", Path(name), flavor.arch, order.epoch, log, pin.version)
        configure(make, flavor, pin.upstream)
        label = f"compiling {flavor.name} (Xen {pin.upstream})"
        make.make(label, ["build"], jobs=jobs, expected=_EXPECTED_OBJECTS)
        outputs = {"xen": "image", "xen-syms": "vmlinux", "xen-syms.map": "System.map"}
        for file, output in {**outputs, ".config": "config"}.items():
            shutil.copyfile(make.out / file, target / output)
        list_xen(make, tree, target / "sources.json")
    config = read_bounded(target / "config", _MAX_CONFIG_BYTES).decode(errors="replace")
    release = re.search(r"^# Xen/\S+ (\S+) Configuration$", config, re.MULTILINE)
    metadata = describe(order, release[1] if release else pin.upstream, target / "config")
    interfaces = interface_versions(tree / "xen/include/public")
    write_metadata(target, {**metadata, **interfaces, "hypervisor": "built"})


def _take_packaged(order: Order, store: Store, target: Path) -> None:
    """Take the hypervisor out of the distribution's package, as it is."""
    pin = order.locked()
    tree = obtain(store, order.source, pin)
    packed = _only(tree, "xen-*.gz", pin)
    try:
        with gzip.open(packed) as stream:
            image = stream.read(_MAX_IMAGE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise SproutError(f"{pin.file}: its hypervisor is damaged", "Fetch it again.") from error
    if len(image) > _MAX_IMAGE_BYTES or not image.startswith(b"\x7fELF\x01"):
        raise SproutError(
            f"{pin.file}: its hypervisor is no 32-bit ELF", "Build Xen from source instead."
        )
    for output in ("image", "vmlinux"):
        (target / output).write_bytes(image)
    (target / "System.map").write_bytes(b"")
    write_empty(target / "sources.json")
    shutil.copyfile(_only(tree, "xen-*.config", pin), target / "config")
    metadata = describe(order, pin.version, target / "config")
    del metadata["toolchain"]  # whose it is, the package does not say
    # Its headers are not in the package: the series has to stand for them.
    write_metadata(target, {**metadata, "hypervisor": "packaged"})


def packaged_configuration(tree: Path, pin: Pin) -> dict[str, str]:
    """Give the options of the hypervisor in the unpacked package `tree`.

    Raises SproutError when the package does not have just one.
    """
    config = read_bounded(_only(tree, "xen-*.config", pin), _MAX_CONFIG_BYTES)
    return parse(config.decode(errors="replace"))


def _only(tree: Path, pattern: str, pin: Pin) -> Path:
    found = sorted((tree / "boot").glob(pattern))
    if len(found) != 1:
        raise SproutError(
            f"{pin.file}: has {len(found)} files /boot/{pattern}, not one",
            "Name another package for it in kernels/sources.toml.",
        )
    return found[0]
