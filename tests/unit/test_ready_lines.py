"""The lines with which an init says that something is ready."""

from __future__ import annotations

import pytest

from sprout.format.ready import HostReady, ZoneReady, parse, parse_host, parse_zone, unread_zone

ZONE = "sprout-zone v=1 zone=first create=10 unpaused=20 init=30 ready=31 free=44388"
HOST = "sprout-host v=1 entry=1 handover=2 copied=3 hz=4 free=5 kernel=6 init=7 services=8 ready="
HOST += str(2**64 - 1)


def test_a_zone_line_is_read() -> None:
    assert parse_zone(ZONE) == ZoneReady("first", 10, 20, 30, 31, 44388)
    assert parse_zone(ZONE + " \r\n") == parse_zone(ZONE)
    early = ZONE.replace("unpaused=20", "unpaused=99")
    found = parse_zone(early)
    assert found is not None
    assert found.unpaused > found.ready


def test_a_host_line_is_read() -> None:
    assert parse_host(HOST) == HostReady(1, 2, 3, 4, 5, 6, 7, 8, 2**64 - 1)
    assert parse_host(HOST.replace("entry=1 handover=2", "entry=0 handover=0")) is not None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[first] " + ZONE,
        ZONE.replace("v=1", "v=2"),
        ZONE.replace("first", "First"),
        ZONE.replace("first", "a" * 32),
        ZONE.replace("create=10", "create=0"),
        ZONE.replace("create=10", "create=-1"),
        ZONE.replace("create=10", "create=21"),
        ZONE.replace("init=30", "init=9"),
        ZONE.replace("ready=31", "ready=29"),
        ZONE.replace("ready=31", "ready=18446744073709551616"),
        ZONE + " more=1",
        HOST,
    ],
)
def test_what_is_no_zone_line_is_none(line: str) -> None:
    assert parse_zone(line) is None


@pytest.mark.parametrize(
    "line", ["(XEN) x" + ZONE, ZONE[:40] + "(XEN) x", ZONE.replace("init=30", "init=9")]
)
def test_zone_line_that_cannot_be_read_is_told(line: str) -> None:
    told = unread_zone(line)
    assert told is not None
    assert repr(line) in told


@pytest.mark.parametrize("line", ["", ZONE, HOST, "[first] " + ZONE + " more", "[first] x" + ZONE])
def test_other_lines_are_nobodys_fault(line: str) -> None:
    assert unread_zone(line) is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x " + HOST,
        HOST.replace("v=1", "v=11"),
        HOST.replace("init=7", "init=0").replace("kernel=6", "kernel=0"),
        HOST.replace("kernel=6", "kernel=8"),
        HOST.replace("services=8", "services=6"),
        HOST.replace("5 kernel", "5 kernels"),
        HOST + "0",
        ZONE,
    ],
)
def test_what_is_no_host_line_is_none(line: str) -> None:
    assert parse_host(line) is None


def test_neither_is_a_readiness_line_of_a_zone() -> None:
    assert parse(ZONE) is None
    assert parse(HOST) is None
