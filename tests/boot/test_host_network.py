"""What a zone can do to others over the host's bridges: nothing that its row does not say."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from host_machine import PV, Machine, said, with_zones

from sprout.format.zones import Nic
from sprout.initramfs.cpio import Entry

SERVER, CALLER, STRANGER = (f"00:16:3e:00:00:0{number}" for number in (1, 2, 3))


@pytest.mark.parametrize("isolated", [False, True], ids=["open", "isolated"])
def test_a_zone_is_nobody_else_and_the_host_is_nobody(
    machine: Machine, host_entries: list[Entry], isolated: bool
) -> None:
    """Frames with another's address are dropped, and its own go where they should.

    No node of IPv6 answers: there is none on the bridge, and the host speaks to no zone.
    """
    server = replace(
        PV, cmdline="quiet -- /bin/talk serve 10.9.0.1", nics=(Nic("br0", SERVER, False),)
    )
    stranger = replace(
        PV,
        name="stranger",
        cmdline=f"quiet ipv6.disable=1 -- /bin/stranger {SERVER}",
        nics=(Nic("br0", STRANGER, isolated),),
    )
    caller = replace(
        PV,
        name="caller",
        cmdline="quiet -- /bin/talk call 10.9.0.2 10.9.0.1",
        nics=(Nic("br0", CALLER, False),),
        after=(0, 1),
    )
    zones = [replace(zone, cmdline=f"ipv6.disable=1 {zone.cmdline}") for zone in (server, caller)]
    text = machine(
        with_zones(host_entries, zones[0], stranger, zones[1]), r"\[stranger\] stranger: caught .*"
    )
    lines = text.splitlines()
    assert "[stranger] stranger: begins" in lines, text
    assert "[caller] talk: hello" in lines, text
    assert re.search(r"^\[stranger\] stranger: caught 0, answered 0$", text, re.MULTILINE), text
    assert said(text) == []
