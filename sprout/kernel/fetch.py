"""Decides which archive a source is built from, and has it unpacked, verified, in the cache.

The lock is asked first. What it names and an origin still has is what is used; where no origin
has it any more the newest verified version is taken instead and said so, except under `--locked`.
"""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import scratch_prefix, sweep
from sprout.base.lock import held
from sprout.base.progress import say
from sprout.kernel import apt, apt_source, tarball
from sprout.kernel.sources import (
    AptOrigin,
    AptSourceOrigin,
    Pin,
    Source,
    SourceUnavailable,
    TarballOrigin,
    load_lock,
    version_key,
    with_pin,
    write_lock,
)
from sprout.kernel.unpack import unpack_package, unpack_source, unpack_source_package


@dataclass(frozen=True)
class Store:
    """Where sources are kept between builds: verified archives and unpacked trees, by digest."""

    root: Path

    def tree(self, digest: str) -> Path:
        """Give the place of the unpacked tree of the archive with this digest (`Pin.digest`)."""
        return self.root / "sources" / digest / "tree"

    @property
    def lists(self) -> Path:
        """Give the place of apt's lists of source packages."""
        return self.root / "apt-sources"


def usable_pins(store: Store, source: Source, pins: tuple[Pin, ...]) -> list[Pin]:
    """Give the locked pins that this machine can use: unpacked ones first, then by origin.

    Every locked pin is as good as another, and what is here needs no network: an origin that
    cannot be reached from this machine is asked once and not at every build.
    """
    release = apt.machine_release()
    found = []
    for origin in source.origins:
        found += [
            pin
            for pin in pins
            if (pin.source, pin.origin) == (source.name, origin.name)
            and pin.release in ("", release)
        ]
    return sorted(found, key=lambda pin: not store.tree(pin.digest).is_dir())


def locked_pin(tree: Path, store: Store, source: Source) -> Pin | None:
    """Give the pin that the lock has for this machine, or None; fetches nothing."""
    pins = usable_pins(store, source, load_lock(tree))
    return pins[0] if pins else None


def resolve(tree: Path, store: Store, source: Source, *, locked: bool) -> Pin:
    """Give the pin to build `source` from; without a usable lock entry, make one.

    Raises SproutError when `locked` and the lock has none for this machine, or when no origin
    has a version that verifies.
    """
    pin = locked_pin(tree, store, source)
    if pin is not None:
        return pin
    if locked:
        raise SproutError(
            f"kernels/sources.lock: has no {source.name} for {apt.machine_release()}",
            "Run without --locked, or `sprout update FLAVOR`, and commit the lock.",
        )
    pin = newest(store, source)
    write_lock(tree, with_pin(load_lock(tree), pin))
    say(f"{source.name}: locked {pin.upstream} from {pin.origin}")
    return pin


def ensure(tree: Path, store: Store, source: Source, pin: Pin, *, locked: bool) -> Pin:
    """Have the source of `pin` unpacked in the store and give the pin that really is.

    Where no origin has the locked version any more, the newest verified one is taken and locked
    instead, unless `locked`. A source that does not verify is an error in any case.
    """
    gone: SourceUnavailable | None = None
    for candidate in [pin, *usable_pins(store, source, load_lock(tree))]:
        try:
            obtain(store, source, candidate)
            return candidate
        except SourceUnavailable as error:
            gone = gone or error
    assert gone is not None  # noqa: S101 - the loop ran at least once
    if locked:
        raise gone
    say(f"{source.name}: the lock names {pin.version}, which cannot be had: {gone.message}")
    new = newest(store, source)
    if new != pin:
        write_lock(tree, with_pin(load_lock(tree), new))
        say(f"{source.name}: locked {new.upstream} from {new.origin} instead")
    return new


def newest(store: Store, source: Source) -> Pin:
    """Give the newest version that verifies, unpacked; origins in order, the first with one wins.

    An origin that cannot be reached, or has none, is passed over; one whose source does not verify
    ends it. Raises SproutError naming what each origin said when none has one.
    """
    problems = []
    for origin in source.origins:
        try:
            if isinstance(origin, AptOrigin):
                pin = apt.newest(origin, source.name)
                obtain(store, source, pin)
                return pin
            if isinstance(origin, AptSourceOrigin):
                return _newest_package(store, source, origin)
            return _newest_tarball(store, source, origin)
        except SourceUnavailable as error:
            problems.append(error.message)
            say(f"{source.name}: {error.message}")
    raise SourceUnavailable(
        f"{source.name}: no origin has a version that verifies: {'; '.join(problems)}",
        "Check the network (`sudo apt-get update` for packages), then run it again.",
    )


def newest_everywhere(store: Store, source: Source) -> Pin:
    """Give the newest version that verifies over all origins; on a tie the first origin wins."""
    best: Pin | None = None
    for origin in source.origins:
        try:
            pin = newest(store, Source(source.name, source.series, (origin,)))
        except SourceUnavailable:
            continue
        if best is None or version_key(pin.upstream) > version_key(best.upstream):
            best = pin
    if best is None:
        raise SproutError(
            f"{source.name}: no origin has a version that verifies",
            "Check the network (`sudo apt-get update` for packages), then run it again.",
        )
    return best


def obtain(store: Store, source: Source, pin: Pin) -> Path:
    """Give the unpacked tree of `pin`, from the store or fetched, verified and unpacked now.

    Raises SproutError when it cannot be had or does not verify; nothing is left behind then.
    """
    tree = store.tree(pin.digest)
    if tree.is_dir():
        return tree
    origin = source.origin(pin.origin)
    if origin is None:
        raise SproutError(
            f"kernels/sources.lock: {source.name} comes from {pin.origin}, which is no origin",
            "Name that origin in kernels/sources.toml, or run `sprout update FLAVOR`.",
        )
    with _alone(store, pin), _workspace(store) as name:
        if tree.is_dir():
            return tree
        work = Path(name)
        if isinstance(origin, TarballOrigin):
            got, archive = tarball.download(origin, source.name, pin.version, work)
            _same(got, pin)
            unpack_source(archive, pin, tree)
            return tree
        say(f"fetching {origin.package} {pin.version}")
        if isinstance(origin, AptSourceOrigin):
            files = apt_source.download(origin, pin, work, store.lists)
            unpack_source_package(files, pin, tree)
        elif origin.files:
            unpack_package(apt.download(origin, pin, work), pin, tree)
        else:
            unpack_source(apt.download(origin, pin, work), pin, tree)
    return tree


def _newest_package(store: Store, source: Source, origin: AptSourceOrigin) -> Pin:
    """Give the newest version whose files can be had; one that only the index has is told of."""
    gone: SourceUnavailable | None = None
    for pin in apt_source.versions(origin, source.name, store.lists):
        try:
            obtain(store, source, pin)
        except SourceUnavailable as error:
            say(f"{source.name}: the archive names {pin.version}, which cannot be had")
            gone = gone or error
            continue
        return pin
    assert gone is not None  # noqa: S101 - there is one version at least
    raise gone


def _newest_tarball(store: Store, source: Source, origin: TarballOrigin) -> Pin:
    version = tarball.newest_version(origin)
    with _workspace(store) as name:
        pin, archive = tarball.download(origin, source.name, version, Path(name))
        with _alone(store, pin):
            if not store.tree(pin.digest).is_dir():
                unpack_source(archive, pin, store.tree(pin.digest))
    return pin


def _alone(store: Store, pin: Pin) -> AbstractContextManager[None]:
    """Hold a source for one process at a time: the next one finds it unpacked."""
    waiting = f"{pin.source}: another build is unpacking it: waiting for it"
    return held(store.root / "locks" / pin.digest, waiting)


def _workspace(store: Store) -> tempfile.TemporaryDirectory[str]:
    store.root.mkdir(parents=True, exist_ok=True)
    sweep(store.root)
    sweep(store.root / "sources")
    return tempfile.TemporaryDirectory(prefix=scratch_prefix("fetch"), dir=store.root)


def _same(got: Pin, pin: Pin) -> None:
    if got.sha256 != pin.sha256:
        raise SproutError(
            f"{pin.origin}: {pin.file}: SHA-256 is {got.sha256}, the lock says {pin.sha256}",
            "The origin's file is not the one that was locked: find out why before updating.",
        )
