"""Limits of zones as they are in force: seen from inside, and by Xen's own tools."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from host_machine import (
    POWERED_OFF,
    PV,
    Machine,
    Parts,
    Said,
    looks,
    supervised,
    with_looks,
    with_zones,
)

from sprout.initramfs.cpio import Entry


def number(text: str, zone: str, what: str) -> int:
    match = re.search(rf"^\[{zone}\] {what}: (\d+)$", text, re.MULTILINE)
    assert match is not None, text
    return int(match[1])


def row(text: str, zone: str) -> list[list[str]]:
    """Give the rows of all of xl's tables that begin with the zone's name, as words."""
    return [line.split() for line in text.splitlines() if line.split()[:1] == [zone]]


def share_of(zone: str, early: str, late: str) -> float:
    """Give the part of a processor that Xen says the zone had between two looks."""
    (began, begins), (ended, ends) = (
        (int(look.split("uptime: ")[1].split()[0]), row(look, zone)[0]) for look in (early, late)
    )
    return round((float(ends[-1]) - float(begins[-1])) * 1000 / (ended - began), 2)


def test_limits_are_in_force_inside_and_in_xen(
    machine: Machine, host_entries: list[Entry], parts: Parts, tmp_path: Path
) -> None:
    free = replace(PV, name="free", memory_mib=48, cpus=(0,), cmdline="quiet -- /bin/limits")
    held = replace(free, name="held", memory_mib=96, vcpus=2, cpus=(1,), weight=512, cap=30)
    asked = [
        ("console free", Said("processors: 1")),
        ("console held", Said("processors: 2")),
        ("console free", Said("looked")),
        ("console held", Said("looked")),
        ("list", {"done": "list"}),
        ("", 30.0),
    ]
    *heard, last = supervised(
        machine,
        with_zones(with_looks(parts, host_entries, tmp_path), free, held),
        tmp_path / "channel",
        asked,
        extra=("-smp", "2", "-m", "768"),
    )
    text = str(last["text"])
    assert (number(text, "free", "processors"), number(text, "held", "processors")) == (1, 2)
    assert 48 - 24 < number(text, "free", "memory") <= 48
    assert 96 - 24 < number(text, "held", "memory") <= 96
    # Both run at the same time, each on a processor of its own: one gets 30 % of it at most, by
    # Xen's account, and comes less far. How far depends on what else this machine does.
    steps = [number(text, zone, "thousands") for zone in ("free", "held")]
    found = [look for before, look in looks(text) if before.count("looked") == 2]
    # The hypervisor and the host share a line: now and then one writes into what the other says.
    whole = [look for look in found if (len(row(look, "free")), len(row(look, "held"))) == (3, 4)]
    early, look = whole[0], whole[-1]
    shares = [share_of(zone, early, look) for zone in ("free", "held")]
    print(f"thousands of steps {steps}, shares by Xen {shares}")
    assert steps[1] < steps[0]
    assert 0.15 < shares[1] < 0.4 < shares[0]
    # What the host's init and the launcher say is what Xen's own tool says.
    states = {line["zone"]: line["state"] for line in heard if "state" in line}
    assert states == {"free": "ready", "held": "ready"}
    listed = re.findall(r"^(\S+) +\d+ +\d+ +\d+ +[-a-z]{6} ", look, re.MULTILINE)
    assert listed == ["Domain-0", "free", "held"], look
    lists, *vcpus, share = row(look, "held")
    assert lists[2:4] == ["96", "2"]
    assert [words[-3:-2] or words for words in vcpus] == [["1"], ["1"]], vcpus
    assert share[-2:] == ["512", "30"]
    (first, _vcpu, share) = row(look, "free")
    assert (first[2:4], share[-2:]) == (["48", "1"], ["256", "0"])
    assert POWERED_OFF in text
