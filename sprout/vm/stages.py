"""The phases that a boot's stamps stand for: contiguous from power-on to readiness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sprout.base.errors import SproutError
from sprout.format.ready import HostReady, Ready, ZoneReady


@dataclass(frozen=True)
class Phase:
    """One phase: time stamp counter ticks, and milliseconds where the frequency is known."""

    name: str
    ticks: int
    wall_ms: float | None


@dataclass(frozen=True)
class ZoneTimes:
    """What a host's zone took, and when it was ready after the timeline began: ticks.

    Where the kernel was done before the toolstack came back, `create` holds all until then and
    `kernel` is 0.
    """

    name: str
    create: int
    kernel: int
    init: int
    ready: int
    free_kib: int


def boot_phases(ready: Ready) -> tuple[Phase, ...]:
    """Give the phases of a boot without a hypervisor.

    A stamp of 0 is unknown, so its phase is one with the next; without a stub's stamps the first
    phase is "firmware + kernel". Raises SproutError when the stamps run backwards.
    """
    ends = [("firmware", ready.entry), ("kernel", ready.init), ("init", ready.ready)]
    if ready.entry or ready.handover:
        ends.insert(1, ("stub", ready.handover))
    return _contiguous(ends, ready.hz)


def host_begin(ready: HostReady) -> int:
    """Give the tick at which a host's timeline begins: 0, which is power-on, where that is known.

    Without the stub's stamps the host's clock is another one: Xen starts that of a PVH host anew.
    Then it is where the host's kernel began.
    """
    return 0 if ready.entry or ready.handover else ready.kernel


def host_phases(ready: HostReady, zones: Sequence[ZoneReady]) -> tuple[Phase, ...]:
    """Give the phases of a host's boot: the way to the zone that was ready last.

    A zone is created after the one before it, so each one's creation that comes before is on the
    way, up to where the next one's begins. Without zones the way ends with the host's init. A stamp
    of 0 is as in `boot_phases`; `host_begin` tells where it all begins.
    """
    begin = host_begin(ready)
    ends = [("host kernel", ready.init)]
    if not begin:
        before = [("firmware", ready.entry), ("stub", ready.handover), ("xen", ready.kernel)]
        ends = [*before, *ends]
    way = sorted(zones, key=lambda zone: zone.create)
    if not way:
        return _contiguous([*ends, ("host init", ready.ready)], ready.hz, begin)
    last = max(way, key=lambda zone: zone.ready)
    way = way[: way.index(last) + 1]
    ends.append(("host init", way[0].create))
    ends += [(f"{zone.zone} create", after.create) for zone, after in pairwise(way)]
    ends += [
        (f"{last.zone} create", _created(last)),
        (f"{last.zone} kernel", last.init),
        # The host says that it is ready when it has seen the last zone's word.
        (f"{last.zone} init", ready.ready),
    ]
    return _contiguous(ends, ready.hz, begin)


def zone_times(zones: Sequence[ZoneReady], begin: int) -> tuple[ZoneTimes, ...]:
    """Give what each zone took, in the order in which they were created, from `begin` (ticks)."""
    return tuple(
        ZoneTimes(
            name=zone.zone,
            create=(_created(zone) or zone.init) - zone.create,
            kernel=zone.init - (_created(zone) or zone.init),
            init=zone.ready - zone.init,
            ready=zone.ready - begin,
            free_kib=zone.free,
        )
        for zone in sorted(zones, key=lambda zone: zone.create)
    )


def _created(zone: ZoneReady) -> int:
    """Give when the toolstack came back, 0 where the zone's kernel was done by then."""
    return zone.unpaused if zone.unpaused <= zone.init else 0


def _contiguous(ends: Sequence[tuple[str, int]], hz: int, begin: int = 0) -> tuple[Phase, ...]:
    phases: list[Phase] = []
    names: list[str] = []
    for name, end in ends:
        names.append(name)
        if end == 0:
            continue
        if end < begin:
            raise SproutError(
                f"the readiness line's stamps run backwards: {' + '.join(names)} ends at "
                f"{end:,} ticks and begins at {begin:,}",
                "Use stub and init of one version, and one CPU if the host's counters differ.",
            )
        ticks = end - begin
        wall_ms = round(ticks * 1000 / hz, 3) if hz else None
        phases.append(Phase(" + ".join(names), ticks, wall_ms))
        begin, names = end, []
    return tuple(phases)
