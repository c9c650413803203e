"""The steps that compile what is booted: Linux kernels, hypervisors, and a hypervisor's tools."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sprout.base.errors import SproutError
from sprout.build.cache import cache_root
from sprout.build.code import code_digest
from sprout.build.memo import Memo
from sprout.build.step import Step
from sprout.build.steps import digests, make_step
from sprout.build.toolchain import toolchain_digest
from sprout.build.tree import Tree
from sprout.kernel import addons, xen, xen_tools
from sprout.kernel import build as linux
from sprout.kernel.fetch import Store, locked_pin
from sprout.kernel.flavor import Flavor, load_flavor
from sprout.kernel.kbuild import job_count
from sprout.kernel.order import Order
from sprout.kernel.sources import Source, load_sources


class _Build(Protocol):
    def __call__(self, order: Order, store: Store, target: Path, *, jobs: int, log: Path) -> None:
        """Build `order` into the existing directory `target`."""


@dataclass(frozen=True)
class _Recipe:
    """How a step compiles: what it is called, its files, its programs, its module, its function."""

    what: str
    outputs: Callable[[Flavor], Sequence[str]]
    programs: Sequence[str]
    module: str
    build: _Build


def store() -> Store:
    """Give the store of kernel sources inside the cache."""
    return Store(cache_root())


def named_source(sources: dict[str, Source], flavor: Flavor, name: str | None = None) -> Source:
    """Give the source that a flavor names, or that of `name` which it wants as well.

    Raises SproutError where there is none of that name.
    """
    wanted = name or flavor.source
    if wanted not in sources:
        raise SproutError(
            f"{flavor.path}: source: there is no {wanted}",
            f"Sources in kernels/sources.toml: {', '.join(sources)}.",
        )
    return sources[wanted]


def load_compiled_flavor(tree: Tree, name: str, kind: str) -> Flavor:
    """Read the flavor `name`; raises SproutError when it is of another kind than `kind`."""
    flavor = load_flavor(tree.root, name)
    if flavor.kind != kind:
        raise SproutError(
            f"{flavor.path}: is a flavor of {flavor.kind}, and one of {kind} is wanted",
            f'Name another flavor, or write kind = "{kind}" here.',
        )
    flavor.check_waivers(datetime.datetime.now(datetime.UTC).date())
    return flavor


def compiled_steps(
    tree: Tree, flavor: Flavor, jobs: int | None, memo: Memo
) -> list[tuple[Step, Order]]:
    """Give the steps that compile `flavor` with so many jobs, and what each is built from.

    One builds a Linux kernel; a hypervisor has a second one for its tools.
    """
    order = _order(tree, flavor, flavor.source)
    if flavor.kind == "linux":
        return [(_step(tree, order, _LINUX, jobs, memo), order)]
    tools = _order(tree, flavor, flavor.tools_source)
    return [
        (_step(tree, order, _HYPERVISOR, jobs, memo), order),
        (_step(tree, tools, _TOOLS, jobs, memo), tools),
    ]


def _order(tree: Tree, flavor: Flavor, name: str) -> Order:
    source = named_source(load_sources(tree.root), flavor, name)
    return Order(flavor, source, locked_pin(tree.root, store(), source), tree.epoch)


def _always(outputs: Sequence[str]) -> Callable[[Flavor], Sequence[str]]:
    return lambda _flavor: outputs


_LINUX = _Recipe("kernel", linux.outputs, linux.PROGRAMS, "sprout.kernel.build", linux.build_kernel)
_HYPERVISOR = _Recipe(
    "kernel", _always(xen.OUTPUTS), xen.PROGRAMS, "sprout.kernel.xen", xen.build_hypervisor
)
_TOOLS = _Recipe(
    "tools",
    _always(xen_tools.OUTPUTS),
    xen_tools.PROGRAMS,
    "sprout.kernel.xen_tools",
    xen_tools.build_tools,
)


def _step(tree: Tree, order: Order, recipe: _Recipe, jobs: int | None, memo: Memo) -> Step:
    flavor, pin = order.flavor, order.pin
    name = f"{flavor.name}-{recipe.what}"
    parts = {
        "source": f"{pin.source} {pin.origin} {pin.version} {pin.digest}" if pin else "",
        "flavor": digests(flavor.paths),
        "tools": toolchain_digest(recipe.programs, memo),
        "code": code_digest(recipe.module, memo),
        "explain.c": digests([Path(linux.__file__).with_name("explain.c")]),
    }
    for fragment in flavor.fragments:
        parts[str(fragment.path.relative_to(tree.root))] = digests([fragment.path])
    for patch in flavor.patches_for(pin.upstream) if pin else flavor.patches:
        parts[str(patch.file.relative_to(tree.root))] = digests([patch.file])

    def make(out: Path) -> None:
        log = tree.build / "log" / f"{name}.log"
        recipe.build(order, store(), out, jobs=job_count(jobs), log=log)

    return make_step(tree, name, recipe.outputs(flavor), parts, make)


def addons_step(tree: Tree, kernel: Step, flavor: Flavor, memo: Memo) -> Step:
    """Give the step that makes a file system of the modules of `flavor`, which `kernel` builds."""
    parts = {
        "kernel": kernel.key,
        "tools": toolchain_digest(addons.PROGRAMS, memo),
        "code": code_digest("sprout.kernel.addons", memo),
    }

    def make(out: Path) -> None:
        addons.make_addons(kernel.directory, out / addons.OUTPUTS[0], epoch=tree.epoch)

    name = f"{flavor.name}-addons"
    return make_step(tree, name, addons.OUTPUTS, parts, make, needs=[kernel.name])
