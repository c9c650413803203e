"""The graph of a tree: which steps there are, what goes into each, and which needs which."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sprout import __version__
from sprout.base.errors import SproutError, UsageError
from sprout.base.files import cannot_read, sha256_file
from sprout.build.artifacts import Ingredients, lay_out_image
from sprout.build.cache import Cache, cache_root
from sprout.build.code import code_digest
from sprout.build.memo import Memo
from sprout.build.step import Parts, Step
from sprout.build.toolchain import toolchain_digest
from sprout.build.tree import Image, Tree
from sprout.image import disk, stub
from sprout.initramfs import assemble
from sprout.kernel import build as kernel_build
from sprout.kernel.fetch import Store, ensure, locked_pin, resolve
from sprout.kernel.flavor import Flavor, load_flavor
from sprout.kernel.kbuild import job_count
from sprout.kernel.sources import Source, load_sources
from sprout.vm import plugin

KERNEL_OUTPUTS = kernel_build.OUTPUTS
INITRAMFS_OUTPUTS = ("initramfs.cpio", "init.symbols")


@dataclass(frozen=True)
class Settings:
    """What a run may choose: jobs (None: one per processor), and whether the lock is a law."""

    jobs: int | None = None
    locked: bool = False


@dataclass(frozen=True)
class Graph:
    """A tree's steps by name, each after the ones it needs, and the cache they share.

    `orders` says, for the steps that build a kernel, what it is built from.
    """

    tree: Tree
    cache: Cache
    steps: dict[str, Step]
    orders: dict[str, kernel_build.Order]

    def select(self, names: Iterable[str]) -> list[Step]:
        """Give the named steps and what they need, in an order that can be worked off.

        Raises UsageError for a name that is no target.
        """
        chosen: dict[str, Step] = {}
        for name in names:
            self._add(name, chosen)
        return list(chosen.values())

    def ingredients(self, image: Image) -> Ingredients:
        """Give the built parts that the boot image `image` is laid out from."""
        return Ingredients(
            stub=self.steps["stub"].files()[0],
            kernel=self.steps[f"{image.flavor}-kernel"].directory,
            initramfs=self.steps[f"{image.initramfs}-initramfs"].files()[0],
            sbat=self.tree.root / "signing" / "sbat.csv",
        )

    def ensure_sources(self, steps: Iterable[Step], settings: Settings) -> bool:
        """Fetch the sources of those `steps` that have to be compiled; True when the lock moved.

        Raises SproutError when a source cannot be had or does not verify.
        """
        moved = False
        for step in steps:
            order = self.orders.get(step.name)
            if order is None or step.is_current() or self.cache.has(step.key):
                continue
            root, locked = self.tree.root, settings.locked
            if order.pin is None:
                resolve(root, store(), order.source, locked=locked)
                moved = True
            else:
                pin = ensure(root, store(), order.source, order.pin, locked=locked)
                moved = moved or pin != order.pin
        return moved

    def _add(self, name: str, chosen: dict[str, Step]) -> None:
        if name not in self.steps:
            raise UsageError(f"{name}: no such target", f"Targets: {', '.join(self.steps)}.")
        for need in self.steps[name].needs:
            self._add(need, chosen)
        chosen[name] = self.steps[name]


def store() -> Store:
    """Give the store of kernel sources inside the cache."""
    return Store(cache_root())


def load_graph(tree: Tree, settings: Settings) -> Graph:
    """Work out every step of the tree and its key; builds nothing.

    A source without a usable lock entry has no key yet: `Graph.ensure_sources` makes one.
    Raises SproutError for anything wrong in the tree's data.
    """
    memo = Memo(cache_root() / "memo.json")
    steps: dict[str, Step] = {}
    _add(steps, _stub_step(tree, memo))
    _add(steps, _counter_step(tree, memo))
    orders: dict[str, kernel_build.Order] = {}
    for image in tree.images.values():
        order = _order(tree, image.flavor)
        kernel = _kernel_step(tree, order, settings, memo)
        orders[kernel.name] = order
        _add(steps, kernel)
        _add(steps, _initramfs_step(tree, image.initramfs, memo))
        _add(steps, _image_step(tree, image, steps, memo))
        _add(steps, _disk_step(tree, image, steps, memo))
    memo.save()
    return Graph(tree, Cache(cache_root()), steps, orders)


def _add(steps: dict[str, Step], step: Step) -> None:
    steps.setdefault(step.name, step)


def _digests(paths: Sequence[Path]) -> str:
    """Give one digest over files: their names and their bytes."""
    try:
        lines = sorted(f"{path.name} {sha256_file(path)}" for path in paths)
    except OSError as error:
        raise cannot_read(Path(error.filename), error) from error
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _step(
    tree: Tree,
    name: str,
    outputs: Sequence[str],
    parts: Parts,
    make: Callable[[Path], None],
    *,
    needs: Sequence[str] = (),
) -> Step:
    everything = {**parts, "epoch": str(tree.epoch)}
    return Step(name, tree.build / name, tuple(outputs), tuple(needs), everything, make)


def _stub_step(tree: Tree, memo: Memo) -> Step:
    parts = {
        "sources": _digests(stub.stub_sources()),
        "version": __version__,
        "tools": toolchain_digest(stub.PROGRAMS, memo),
        "code": code_digest("sprout.image.stub", memo),
    }

    def make(out: Path) -> None:
        stub.build_stub(out / "stub.efi", version=__version__, symbols=out / "stub.symbols")

    return _step(tree, "stub", ["stub.efi", "stub.symbols"], parts, make)


def _counter_step(tree: Tree, memo: Memo) -> Step:
    parts = {
        "sources": _digests(plugin.plugin_sources()),
        "tools": toolchain_digest(plugin.PROGRAMS, memo),
        "code": code_digest("sprout.vm.plugin", memo),
    }

    def make(out: Path) -> None:
        for level in plugin.LEVELS:
            plugin.build_plugin(out / plugin.plugin_name(level), level)

    names = [plugin.plugin_name(level) for level in plugin.LEVELS]
    return _step(tree, "counter", names, parts, make)


def _order(tree: Tree, name: str) -> kernel_build.Order:
    flavor = load_flavor(tree.root, name)
    flavor.check_waivers(datetime.datetime.now(datetime.UTC).date())
    source = named_source(load_sources(tree.root), flavor)
    pin = locked_pin(tree.root, store(), source)
    return kernel_build.Order(flavor, source, pin, tree.epoch)


def named_source(sources: dict[str, Source], flavor: Flavor) -> Source:
    """Give the source that a flavor names; raises SproutError where there is none of that name."""
    if flavor.source not in sources:
        raise SproutError(
            f"{flavor.path}: source: there is no {flavor.source}",
            f"Sources in kernels/sources.toml: {', '.join(sources)}.",
        )
    return sources[flavor.source]


def _kernel_step(tree: Tree, order: kernel_build.Order, settings: Settings, memo: Memo) -> Step:
    flavor, pin = order.flavor, order.pin
    parts = {
        "source": f"{pin.source} {pin.origin} {pin.version} {pin.sha256}" if pin else "",
        "flavor": _digests([flavor.path]),
        "tools": toolchain_digest(kernel_build.PROGRAMS, memo),
        "code": code_digest("sprout.kernel.build", memo),
        "explain.c": _digests([Path(kernel_build.__file__).with_name("explain.c")]),
    }
    for fragment in flavor.fragments:
        parts[str(fragment.path.relative_to(tree.root))] = _digests([fragment.path])
    for patch in flavor.patches_for(pin.upstream) if pin else flavor.patches:
        parts[str(patch.file.relative_to(tree.root))] = _digests([patch.file])

    def make(out: Path) -> None:
        log = tree.build / "log" / f"{flavor.name}-kernel.log"
        jobs = job_count(settings.jobs)
        kernel_build.build_kernel(order, store(), out, jobs=jobs, log=log)

    return _step(tree, f"{flavor.name}-kernel", KERNEL_OUTPUTS, parts, make)


def _initramfs_step(tree: Tree, name: str, memo: Memo) -> Step:
    definition = tree.root / "initramfs" / f"{name}.toml"
    parts = {
        "files": _digests(assemble.inputs(definition)),
        "libc": _digests(assemble.linked()),
        "tools": toolchain_digest(assemble.PROGRAMS, memo),
        "code": code_digest("sprout.initramfs.assemble", memo),
    }

    def make(out: Path) -> None:
        archive, symbols = (out / output for output in INITRAMFS_OUTPUTS)
        assemble.assemble(definition, archive, epoch=tree.epoch, symbols=symbols)

    return _step(tree, f"{name}-initramfs", INITRAMFS_OUTPUTS, parts, make)


def _image_step(tree: Tree, image: Image, steps: dict[str, Step], memo: Memo) -> Step:
    kernel = steps[f"{image.flavor}-kernel"]
    initramfs = steps[f"{image.initramfs}-initramfs"]
    stub_step = steps["stub"]
    sbat = tree.root / "signing" / "sbat.csv"
    parts = {
        "stub": stub_step.key,
        "kernel": kernel.key,
        "initramfs": initramfs.key,
        "cmdline": image.cmdline,
        "os": f"{image.os_id} {image.os_name}",
        "modules": " ".join(image.modules),
        "sbat": _digests([sbat]),
        "code": code_digest("sprout.build.artifacts", memo),
    }
    ingredients = Ingredients(stub_step.files()[0], kernel.directory, initramfs.files()[0], sbat)

    def make(out: Path) -> None:
        lay_out_image(out / f"{image.name}.efi", image, ingredients, tree.epoch)

    needs = [stub_step.name, kernel.name, initramfs.name]
    return _step(tree, f"{image.name}-image", [f"{image.name}.efi"], parts, make, needs=needs)


def _disk_step(tree: Tree, image: Image, steps: dict[str, Step], memo: Memo) -> Step:
    boot_image = steps[f"{image.name}-image"]
    parts = {
        "image": boot_image.key,
        "tools": toolchain_digest(disk.PROGRAMS, memo),
        "code": code_digest("sprout.image.disk", memo),
    }

    def make(out: Path) -> None:
        disk.make_disk(out / f"{image.name}.img", boot_image.files()[0], epoch=tree.epoch)

    return _step(
        tree, f"{image.name}-disk", [f"{image.name}.img"], parts, make, needs=[boot_image.name]
    )
