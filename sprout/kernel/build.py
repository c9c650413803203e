"""From a verified tree to the kernel's artifacts."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from sprout.base.files import read_bounded, scratch_prefix
from sprout.base.run import check
from sprout.kernel.compiled import BUILT_IN, pack_modules
from sprout.kernel.configure import configure
from sprout.kernel.elf import pack_kernel
from sprout.kernel.fetch import Store, obtain
from sprout.kernel.flavor import Flavor
from sprout.kernel.kbuild import PROGRAMS, Kbuild, refuse_unfit
from sprout.kernel.order import Order, describe, write_metadata
from sprout.kernel.patches import patched_tree
from sprout.kernel.reserve_proof import prove_room
from sprout.kernel.sdk import pack_sdk
from sprout.kernel.source_list import list_linux

OUTPUTS = (
    *("image", "vmlinux", "elf", "decompressor", "System.map", "config", "metadata.json"),
    *("modules.tar", "sources.json"),
)
_WITH_MODULES = ("sdk.tar.gz", *BUILT_IN)
# A first build does not know how many objects it will compile; small configurations compile
# about two for every option that is on.
_OBJECTS_PER_OPTION = 1.9

__all__ = ["OUTPUTS", "PROGRAMS", "Order", "build_kernel", "outputs"]


def outputs(flavor: Flavor) -> tuple[str, ...]:
    """Give the files that a kernel of `flavor` is: more of them where it has modules."""
    return (*OUTPUTS, *_WITH_MODULES) if flavor.has_modules() else OUTPUTS


def build_kernel(order: Order, store: Store, target: Path, *, jobs: int, log: Path) -> None:
    """Build the kernel of `order` into the existing directory `target`.

    Writes `image` (what boots), `vmlinux`, `elf` (what of that is loaded, for a hypervisor's
    builder of domains), `decompressor` (the symbols of what unpacks it),
    `System.map`, `config`, `metadata.json`, `modules.tar` (unsigned; with nothing in it for a
    kernel without modules) and `sources.json` (what was compiled); for a flavor with modules also
    `sdk.tar.gz` (what others are built with) and two lists of the modules that are built in.
    Raises SproutError when the source does not verify, a patch does not apply, the configuration
    is not what was asked for, the compiler fails, or no certificate can be put into a kernel that
    has room for one.
    """
    flavor, pin = order.flavor, order.locked()
    patches = flavor.patches_for(pin.upstream)
    tree = patched_tree(obtain(store, order.source, pin), patches)
    log.unlink(missing_ok=True)
    refuse_unfit(store.root)
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("kernel"), dir=store.root) as name:
        kbuild = Kbuild(tree, Path(name), flavor.arch, order.epoch, log)
        final = configure(kbuild, flavor, pin.upstream)
        expected = _expected_objects(store, flavor, len(final))
        label = f"compiling {flavor.name} (Linux {pin.upstream})"
        goals = ["bzImage", "modules"] if final.get("CONFIG_MODULES") == "y" else ["bzImage"]
        compiled = kbuild.make(label, goals, jobs=jobs, expected=expected)
        _remember_objects(store, flavor, compiled)
        shutil.copyfile(kbuild.out / "arch/x86/boot/bzImage", target / "image")
        for file in ("vmlinux", "System.map"):
            shutil.copyfile(kbuild.out / file, target / file)
        pack_kernel(target / "vmlinux", target / "elf")
        compressed = kbuild.out / "arch/x86/boot/compressed/vmlinux"
        symbols = target / "decompressor"
        check(["objcopy", "--only-keep-debug", compressed, symbols], "Reinstall binutils.")
        shutil.copyfile(kbuild.out / ".config", target / "config")
        pack_modules(kbuild.out, target / "modules.tar", epoch=order.epoch)
        list_linux(kbuild, target / "sources.json")
        if flavor.has_modules():
            pack_sdk(kbuild, final, target / "sdk.tar.gz")
            for file in BUILT_IN:
                shutil.copyfile(kbuild.out / file, target / file)
        release = read_bounded(kbuild.out / "include/config/kernel.release", 256).decode().strip()
    if final.get("CONFIG_SYSTEM_EXTRA_CERTIFICATE") == "y":
        prove_room(target / "image", target / "vmlinux")
    write_metadata(target, describe(order, release, target / "config"))


def _memo(store: Store, flavor: Flavor) -> Path:
    return store.root / "objects" / flavor.name


def _expected_objects(store: Store, flavor: Flavor, options: int) -> int:
    try:
        return int(_memo(store, flavor).read_text())
    except (OSError, ValueError):
        return round(options * _OBJECTS_PER_OPTION)


def _remember_objects(store: Store, flavor: Flavor, compiled: int) -> None:
    memo = _memo(store, flavor)
    memo.parent.mkdir(parents=True, exist_ok=True)
    memo.write_text(str(compiled))
