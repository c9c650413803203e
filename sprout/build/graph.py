"""The graph of a tree: which steps there are, what goes into each, and which needs which."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sprout import __version__
from sprout.base.errors import SproutError, UsageError
from sprout.build.artifacts import HypervisorParts, Ingredients, lay_out_image
from sprout.build.cache import Cache, cache_root
from sprout.build.code import code_digest
from sprout.build.kernel_steps import addons_step, compiled_steps, load_compiled_flavor, store
from sprout.build.memo import Memo
from sprout.build.step import Step
from sprout.build.steps import digests, make_step
from sprout.build.toolchain import toolchain_digest
from sprout.build.tree import Image, Tree
from sprout.build.zone_parts import ZoneParts
from sprout.image import disk, stub
from sprout.initramfs import assemble
from sprout.kernel.fetch import ensure, resolve
from sprout.kernel.flavor import Flavor
from sprout.kernel.order import Order
from sprout.vm import plugin

INITRAMFS_OUTPUTS = ("initramfs.cpio", "init.symbols", "linked.symbols")


@dataclass(frozen=True)
class Settings:
    """What a run may choose: jobs (None: one per processor), and whether the lock is a law."""

    jobs: int | None = None
    locked: bool = False


@dataclass(frozen=True)
class Graph:
    """A tree's steps by name, each after the ones it needs, and the cache they share.

    `orders` says, for the steps that compile a source, what it is built from.
    """

    tree: Tree
    cache: Cache
    steps: dict[str, Step]
    orders: dict[str, Order]

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
        return _ingredients(self.tree, image, self.steps)

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


def load_graph(tree: Tree, settings: Settings) -> Graph:
    """Work out every step of the tree and its key; builds nothing.

    A source without a usable lock entry has no key yet: `Graph.ensure_sources` makes one.
    Raises SproutError for anything wrong in the tree's data.
    """
    memo = Memo(cache_root() / "memo.json")
    _check_spare_zones(tree)
    steps: dict[str, Step] = {}
    _add(steps, _stub_step(tree, memo))
    _add(steps, _counter_step(tree, memo))
    orders: dict[str, Order] = {}
    for image in tree.images.values():
        for flavor in _flavors(tree, image):
            for step, order in compiled_steps(tree, flavor, settings.jobs, memo):
                orders[step.name] = order
                _add(steps, step)
                if flavor.kind == "linux" and flavor.has_modules():
                    _add(steps, addons_step(tree, step, flavor, memo))
        _add_initramfs(tree, image, steps, memo)
        _add(steps, _image_step(tree, image, steps, memo))
        _add(steps, _disk_step(tree, image, steps, memo))
    memo.save()
    return Graph(tree, Cache(cache_root()), steps, orders)


def _add(steps: dict[str, Step], step: Step) -> None:
    steps.setdefault(step.name, step)


def _flavors(tree: Tree, image: Image) -> list[Flavor]:
    """Give what the image's kernels and its hypervisor are, each once."""
    wanted = [(image.flavor, "linux")]
    if image.host is not None:
        wanted += [(zone.flavor, "linux") for zone in image.host.zones]
        wanted.append((image.host.flavor, "xen"))
    return [load_compiled_flavor(tree, name, kind) for name, kind in dict.fromkeys(wanted)]


def _check_spare_zones(tree: Tree) -> None:
    """Refuse a zone that names what is not there, before an image wants to start it."""
    for zone in tree.zones.values():
        load_compiled_flavor(tree, zone.flavor, "linux")
        assemble.inputs(tree.root / "initramfs" / f"{zone.initramfs}.toml")


def _add_initramfs(tree: Tree, image: Image, steps: dict[str, Step], memo: Memo) -> None:
    """Add the steps that pack the image's initramfs, and those of its zones."""
    zones = image.host.zones if image.host is not None else ()
    lists = [zone.initramfs for zone in zones]
    if image.host is not None and image.host.microcode is not None:
        lists.append(image.host.microcode)
    for name in lists:
        _add(steps, _initramfs_step(tree, name, None, memo))
    definition = tree.root / "initramfs" / f"{image.initramfs}.toml"
    tools = None
    if assemble.needs_tools(definition):
        if image.host is None:
            raise SproutError(
                f"images.toml: images.{image.name}.initramfs: {image.initramfs} holds the tools of "
                "a hypervisor, and the image has none",
                'Add hypervisor = "xen", or name another initramfs.',
            )
        tools = steps[f"{image.host.flavor}-tools"]
    step = _initramfs_step(tree, image.initramfs, tools, memo)
    if steps.setdefault(step.name, step).key != step.key:
        raise SproutError(
            f"images.toml: images.{image.name}.initramfs: {image.initramfs} holds the tools of "
            "another hypervisor in another image",
            "Give each hypervisor an initramfs of its own.",
        )


def _ingredients(tree: Tree, image: Image, steps: dict[str, Step]) -> Ingredients:
    hypervisor = None
    if image.host is not None:
        microcode = image.host.microcode
        hypervisor = HypervisorParts(
            kernel=steps[f"{image.host.flavor}-kernel"].directory,
            tools=steps[f"{image.host.flavor}-tools"].directory,
            zones={
                zone.name: ZoneParts(
                    kernel=steps[f"{zone.flavor}-kernel"].directory / "elf",
                    initramfs=steps[f"{zone.initramfs}-initramfs"].files()[0],
                )
                for zone in image.host.zones
            },
            microcode=steps[f"{microcode}-initramfs"].files()[0] if microcode else None,
        )
    return Ingredients(
        stub=steps["stub"].files()[0],
        kernel=steps[f"{image.flavor}-kernel"].directory,
        initramfs=steps[f"{image.initramfs}-initramfs"].files()[0],
        sbat=tree.root / "signing" / "sbat.csv",
        hypervisor=hypervisor,
    )


def _stub_step(tree: Tree, memo: Memo) -> Step:
    parts = {
        "sources": digests(stub.stub_sources()),
        "version": __version__,
        "tools": toolchain_digest(stub.PROGRAMS, memo),
        "code": code_digest("sprout.image.stub", memo),
    }

    def make(out: Path) -> None:
        stub.build_stub(out / "stub.efi", version=__version__, symbols=out / "stub.symbols")

    return make_step(tree, "stub", ["stub.efi", "stub.symbols"], parts, make)


def _counter_step(tree: Tree, memo: Memo) -> Step:
    parts = {
        "sources": digests(plugin.plugin_sources()),
        "tools": toolchain_digest(plugin.PROGRAMS, memo),
        "code": code_digest("sprout.vm.plugin", memo),
    }

    def make(out: Path) -> None:
        for level in plugin.LEVELS:
            plugin.build_plugin(out / plugin.plugin_name(level), level)

    names = [plugin.plugin_name(level) for level in plugin.LEVELS]
    return make_step(tree, "counter", names, parts, make)


def _initramfs_step(tree: Tree, name: str, tools: Step | None, memo: Memo) -> Step:
    definition = tree.root / "initramfs" / f"{name}.toml"
    parts = {
        "files": digests(assemble.inputs(definition)),
        "libc": digests(assemble.linked(definition)),
        "programs": toolchain_digest(assemble.PROGRAMS, memo),
        "code": code_digest("sprout.initramfs.assemble", memo),
    }
    if tools is not None:
        parts["tools"] = tools.key

    def make(out: Path) -> None:
        archive, symbols, linked = (out / output for output in INITRAMFS_OUTPUTS)
        built = None if tools is None else tools.directory / "tools.tar"
        assemble.assemble(
            definition,
            archive,
            epoch=tree.epoch,
            symbols=symbols,
            linked_symbols=linked,
            tools=built,
        )

    needs = [] if tools is None else [tools.name]
    return make_step(tree, f"{name}-initramfs", INITRAMFS_OUTPUTS, parts, make, needs=needs)


def _image_step(tree: Tree, image: Image, steps: dict[str, Step], memo: Memo) -> Step:
    needs = ["stub", f"{image.flavor}-kernel", f"{image.initramfs}-initramfs"]
    if image.host is not None:
        needs += [f"{image.host.flavor}-kernel", f"{image.host.flavor}-tools"]
        for zone in image.host.zones:
            needs += [f"{zone.flavor}-kernel", f"{zone.initramfs}-initramfs"]
        if image.host.microcode is not None:
            needs.append(f"{image.host.microcode}-initramfs")
    needs = list(dict.fromkeys(needs))
    ingredients = _ingredients(tree, image, steps)
    parts = {
        **{name: steps[name].key for name in needs},
        "image": repr(image),
        "sbat": digests([ingredients.sbat]),
        "code": code_digest("sprout.build.artifacts", memo),
    }

    def make(out: Path) -> None:
        lay_out_image(out / f"{image.name}.efi", image, ingredients, tree.epoch)

    return make_step(tree, f"{image.name}-image", [f"{image.name}.efi"], parts, make, needs=needs)


def _disk_step(tree: Tree, image: Image, steps: dict[str, Step], memo: Memo) -> Step:
    boot_image = steps[f"{image.name}-image"]
    parts = {
        "image": boot_image.key,
        "tools": toolchain_digest(disk.PROGRAMS, memo),
        "code": code_digest("sprout.image.disk", memo),
    }

    def make(out: Path) -> None:
        disk.make_disk(out / f"{image.name}.img", boot_image.files()[0], epoch=tree.epoch)

    return make_step(
        tree, f"{image.name}-disk", [f"{image.name}.img"], parts, make, needs=[boot_image.name]
    )
