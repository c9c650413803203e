"""Moves the lock to the newest verified version and says which options that changes."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import scratch_prefix
from sprout.base.progress import say
from sprout.base.run import run
from sprout.kernel.configure import configure
from sprout.kernel.dotconfig import Changes, compare
from sprout.kernel.fetch import Store, locked_pin, newest_everywhere, obtain, usable_pins
from sprout.kernel.flavor import Flavor, load_flavor
from sprout.kernel.kbuild import Kbuild
from sprout.kernel.patches import patched_tree
from sprout.kernel.sources import Pin, Source, load_lock, version_key, with_pin, write_lock
from sprout.kernel.xen import packaged_configuration
from sprout.kernel.xen_make import XenMake


@dataclass(frozen=True)
class Update:
    """What was locked, what is now, and the options that differ (None: nothing to compare).

    `idle` are the flavor's patches that are for no version in the lock any more.
    """

    old: Pin | None
    new: Pin
    changes: Changes | None
    idle: tuple[str, ...]


def update(tree: Path, store: Store, flavor: Flavor, source: Source, epoch: int) -> Update:
    """Lock the newest version of `source` that verifies, and compare the configurations.

    Raises SproutError when no origin has one, when the newest is older than what is locked, or
    when the flavor does not get on it what it asks for; the lock stays as it is then.
    """
    old = locked_pin(tree, store, source)
    new = newest_everywhere(store, source)
    if old is not None and _is_older(new, old):
        raise SproutError(
            f"{source.name}: the newest version to be had is {new.version}, the lock has "
            f"{old.version}",
            "An origin may be hiding newer versions; try again later.",
        )
    if new == old:
        return Update(old, new, None, idle_patches(tree, flavor))
    after = _configuration(store, flavor, source, new, epoch)
    changes = None
    if old is not None:
        try:
            before = _configuration(store, flavor, source, old, epoch)
            changes = compare(before, after)
        except SproutError as error:
            say(f"{source.name}: {old.version} cannot be compared: {error.message}")
    # A pin that this machine would use instead of the new one has to go with the old version.
    stale = usable_pins(store, source, load_lock(tree))
    kept = tuple(pin for pin in load_lock(tree) if pin not in stale)
    write_lock(tree, with_pin(kept, new))
    return Update(old, new, changes, idle_patches(tree, flavor))


def idle_patches(tree: Path, flavor: Flavor) -> tuple[str, ...]:
    """Name the patches of a flavor that are for none of the versions in the lock.

    Those count too that flavors are built from which are like this one, or which it is like.
    Raises SproutError where one of the tree's flavors is malformed.
    """
    sources = set()
    for path in (tree / "kernels" / "flavors").glob("*.toml"):
        other = load_flavor(tree, path.stem)
        if not set(other.paths).isdisjoint(flavor.paths):
            sources |= {other.source, other.tools_source}
    versions = [pin.upstream for pin in load_lock(tree) if pin.source in sources]
    return tuple(
        patch.file.name
        for patch in flavor.patches
        if not any(patch.applies_to(version) for version in versions)
    )


def _is_older(one: Pin, other: Pin) -> bool:
    """Tell whether a pin is of an older version; packages of one upstream version have revisions.

    Those of a distribution's one release compare by its own rules (deb-version(7)).
    """
    if one.upstream != other.upstream or not one.release or one.release != other.release:
        return version_key(one.upstream) < version_key(other.upstream)
    return run(["dpkg", "--compare-versions", one.version, "lt", other.version]).status == 0


def _configuration(
    store: Store, flavor: Flavor, source: Source, pin: Pin, epoch: int
) -> dict[str, str]:
    tree = patched_tree(obtain(store, source, pin), flavor.patches_for(pin.upstream))
    if flavor.hypervisor == "packaged":
        return packaged_configuration(tree, pin)
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("config"), dir=store.root) as name:
        out, log = Path(name) / "build", Path(name) / "log"
        make = Kbuild(tree, out, flavor.arch, epoch, log)
        if flavor.kind == "xen":
            make = XenMake(tree / "xen", out, flavor.arch, epoch, log, pin.version)
        return configure(make, flavor, pin.upstream)
