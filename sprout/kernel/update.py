"""Moves the lock to the newest verified version and says which options that changes."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import scratch_prefix
from sprout.base.progress import say
from sprout.kernel.configure import configure
from sprout.kernel.dotconfig import Changes, compare
from sprout.kernel.fetch import Store, locked_pin, newest_everywhere, obtain, usable_pins
from sprout.kernel.flavor import Flavor
from sprout.kernel.kbuild import Kbuild
from sprout.kernel.patches import patched_tree
from sprout.kernel.sources import Pin, Source, load_lock, version_key, with_pin, write_lock


@dataclass(frozen=True)
class Update:
    """What was locked, what is now, and the options that differ (None: nothing to compare)."""

    old: Pin | None
    new: Pin
    changes: Changes | None


def update(tree: Path, store: Store, flavor: Flavor, source: Source, epoch: int) -> Update:
    """Lock the newest version of `source` that verifies, and compare the configurations.

    Raises SproutError when no origin has one, when the newest is older than what is locked, or
    when the flavor does not get on it what it asks for; the lock stays as it is then.
    """
    old = locked_pin(tree, store, source)
    new = newest_everywhere(store, source)
    if old is not None and version_key(new.upstream) < version_key(old.upstream):
        raise SproutError(
            f"{source.name}: the newest version to be had is {new.upstream}, the lock has "
            f"{old.upstream}",
            "An origin may be hiding newer versions; try again later.",
        )
    if new == old:
        return Update(old, new, None)
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
    return Update(old, new, changes)


def _configuration(
    store: Store, flavor: Flavor, source: Source, pin: Pin, epoch: int
) -> dict[str, str]:
    tree = patched_tree(obtain(store, source, pin), flavor.patches_for(pin.upstream))
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("config"), dir=store.root) as name:
        out = Path(name)
        return configure(Kbuild(tree, out / "build", flavor.arch, epoch, out / "log"), flavor)
