"""How a zone's end is taken, and that nobody waits for one that is not there yet."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from host_machine import PV, Machine, said, with_zones

from sprout.format.zones import Disk
from sprout.initramfs.cpio import Entry


@pytest.mark.parametrize(
    ("status", "restart", "why", "times"),
    [(3, "on-failure", "failed", 2), (0, "on-failure", "poweroff", 1), (3, "never", "failed", 1)],
)
def test_a_program_that_fails_is_a_failure_of_its_zone(
    machine: Machine,
    host_entries: list[Entry],
    *,
    status: int,
    restart: str,
    why: str,
    times: int,
) -> None:
    zone = replace(PV, name="work", cmdline=f"quiet -- /bin/ends {status}", restart=restart)
    late = replace(PV, name="late", cmdline="quiet -- /bin/alive")
    # By then one that is started again has been.
    until = rf"((zone work ended: {why}(.|\n)*){{{times}}})" + r"(.|\n)*\[late\] alive 30"
    if times > 1:
        until = rf"(zone work ended: {why}(.|\n)*){{{times}}}"
    text = machine(with_zones(host_entries, zone, late), until)
    assert said(text).count(f"zone work ended: {why}") == times, text


def test_a_zone_that_reboots_without_end_waits_in_between(
    machine: Machine, host_entries: list[Entry]
) -> None:
    """It gets what it asks for, at once only when it has run well: others are heard meanwhile."""
    again = replace(PV, name="again", cmdline="quiet -- /bin/ends 133")
    alive = replace(PV, name="alive", cmdline="quiet -- /bin/alive")
    text = machine(with_zones(host_entries, again, alive), r"(zone again ended: reboot(.|\n)*){3}")
    lines = text.splitlines()
    ends = [row for row, line in enumerate(lines) if line.endswith("zone again ended: reboot")]
    for first, second in itertools.pairwise(ends):
        # A second of waiting, and one line of the other zone in each tenth of it.
        assert sum(line.startswith("[alive] alive") for line in lines[first:second]) > 5, text


def test_a_disk_that_is_not_there_keeps_nobody_waiting(
    machine: Machine, host_entries: list[Entry]
) -> None:
    disks = (Disk("xvda", "/disks/none", writable=True),)
    text = machine(
        with_zones(host_entries, replace(PV, name="bare", disks=disks), PV),
        "zone bare did not start",
    )
    assert "zone bare did not start: /disks/none: No such file or directory" in said(text), text
    assert text.index("[first] sprout-ready") < text.index("zone bare did not start"), text
