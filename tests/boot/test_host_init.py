"""The host's init under a real hypervisor in QEMU: zones, their devices, failures, and the end."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from host_machine import (
    AGAIN,
    FILE,
    POWERED_OFF,
    PROGRAM,
    PV,
    ROOT,
    Machine,
    Parts,
    Said,
    host_lines,
    least_kept,
    program,
    replaced,
    restarts,
    said,
    supervised,
    with_looks,
    with_zones,
    zone_lines,
)

from sprout.format import zones
from sprout.format.zones import Disk, Nic
from sprout.initramfs.assemble import assemble, write_headers
from sprout.initramfs.cpio import Entry, read_cpio


@pytest.mark.parametrize(
    ("xen", "extra"), [("", ()), ("dom0=pvh", ("-device", "amd-iommu"))], ids=["pv", "pvh"]
)
def test_zones_become_ready_in_order_and_the_power_button_ends_them(
    machine: Machine, host_entries: list[Entry], xen: str, extra: tuple[str, ...]
) -> None:
    second = replace(PV, name="second", type="pvh")
    entries = with_zones(host_entries, PV, second)
    text = machine(entries, "sprout-host ", xen=xen, extra=extra)
    first, last = zone_lines(text)
    (host,) = host_lines(text)
    assert (first.zone, last.zone) == ("first", "second"), text
    assert first.unpaused < last.create
    assert 0 < host.kernel < host.init < host.services < first.create
    assert max(first.ready, last.ready) < host.ready
    assert (host.entry, host.handover, host.copied) == (0, 0, 0)
    assert host.free > 16 << 10
    for zone in ("first", "second"):
        assert f"[{zone}] sprout-ready " in text
        assert re.search(rf"^\[{zone}\] .*reboot: ", text, re.MULTILINE), text
    assert said(text) == []
    assert POWERED_OFF in text


def test_disks_and_interfaces_of_a_zone_are_connected(
    machine: Machine, host_entries: list[Entry]
) -> None:
    zone = replace(
        PV,
        cmdline="quiet -- /bin/devices",
        disks=(Disk("xvda", "/disks/a", writable=True), Disk("xvdb", "/disks/b", writable=False)),
        nics=(Nic("br0", "00:16:3e:00:00:01"),),
    )
    text = machine(with_zones(host_entries, zone), "zone first ended")
    lines = [line.removeprefix("[first] ") for line in text.splitlines()]
    for line in (
        "xvda the disk a",
        "xvdb the disk b",
        "xvda: read-only: 0",
        "xvdb: read-only: 1",
        "eth0 00:16:3e:00:00:01",
        "sprout-init: /bin/devices exited with status 0",
    ):
        assert line in lines, text
    assert said(text) == ["zone first ended: poweroff"]


def test_a_zone_comes_after_another_and_one_that_fails_is_started_again(
    machine: Machine, host_entries: list[Entry]
) -> None:
    bad = replace(PV, name="bad", initramfs="/zones/initramfs/empty.cpio", restart="on-failure")
    mute = replace(PV, name="mute", initramfs="/zones/initramfs/mute.cpio", ready_s=4)
    late = replace(PV, name="late", after=(2,), weight=512, cap=50, cpus=(0,))
    rows = (bad, mute, PV, late, replace(PV, name="never", after=(1,)))
    text = machine(with_zones(host_entries, *rows), r"(bad ended(.|\n)*){3}")
    lines = said(text)
    assert lines.count("zone bad ended before it was ready: crash") >= 3, text
    assert "zone mute is not ready in time: it is ended" in lines, text
    assert "zone mute ended before it was ready: killed" in lines, text
    first, second = zone_lines(text)
    assert (first.zone, second.zone) == ("first", "late")
    assert first.ready < second.create
    assert "[never]" not in text
    assert host_lines(text) == []
    assert POWERED_OFF in text


def test_a_zone_may_run_on_a_processor_that_is_there(
    machine: Machine, host_entries: list[Entry]
) -> None:
    text = machine(with_zones(host_entries, replace(PV, cpus=(9,))), "zone first did not start")
    assert any("the processors that it is to run on" in line for line in said(text)), text


@pytest.mark.parametrize("isolated", [False, True], ids=["open", "isolated"])
def test_two_zones_talk_where_their_bridge_lets_them(
    machine: Machine, host_entries: list[Entry], isolated: bool
) -> None:
    nics = [Nic("br0", f"00:16:3e:00:00:0{number}", isolated) for number in (1, 2)]
    server = replace(PV, cmdline="quiet -- /bin/talk serve 10.9.0.1", nics=(nics[0],))
    caller = replace(
        PV,
        name="caller",
        type="pvh",
        cmdline="quiet -- /bin/talk call 10.9.0.2 10.9.0.1",
        nics=(nics[1],),
        after=(0,),
    )
    text = machine(with_zones(host_entries, server, caller), r"\[caller\] talk: .*")
    assert f"[caller] talk: {'no answer' if isolated else 'hello'}" in text.splitlines(), text
    assert "[first] talk: serving" in text.splitlines(), text
    assert said(text) == []


@pytest.mark.parametrize("kind", ["pv", "pvh"])
def test_a_zone_has_its_root_on_a_disk_and_keeps_what_it_writes(
    machine: Machine, host_entries: list[Entry], tmp_path: Path, kind: str
) -> None:
    zone = replace(
        PV,
        type=kind,
        initramfs="/zones/initramfs/empty.cpio",
        cmdline="quiet root=/dev/xvda rootfstype=squashfs ro rootwait init=/init -- /bin/keep",
        disks=(
            Disk("xvda", "/roots/zone.squashfs", writable=False),
            Disk("xvdb", "/disks/b", writable=True),
        ),
    )
    asked: list[tuple[str, object]] = [
        ("console first", Said("done after the disk b")),
        ("stop first", ("first", "ended")),
        ("start first", ("first", "ready")),
        ("console first", Said("done after written by a zone")),
    ]
    *_heard, last = supervised(machine, with_zones(host_entries, zone), tmp_path / "channel", asked)
    text = str(last["text"])
    lines = [
        line for line in text.splitlines() if line.startswith(("[first] kept", "[first] root"))
    ]
    assert lines == [
        "[first] kept: the disk b",
        "[first] root: read-only",
        "[first] kept: written by a zone",
        "[first] root: read-only",
    ], text


def test_fifty_restarts_leave_nothing_behind(
    machine: Machine, host_entries: list[Entry], parts: Parts, tmp_path: Path
) -> None:
    asked = [
        *restarts(50),
        ("start again", ("again", "ready")),
        ("list", {"done": "list"}),
    ]
    entries = with_zones(with_looks(parts, host_entries, tmp_path), PV, AGAIN)
    channel = tmp_path / "channel"
    *heard, last = supervised(machine, entries, channel, asked, limit_s=900)
    text = str(last["text"])
    free = [int(str(line["free_kib"])) for line in heard if line.get("event") == "memory"]
    assert max(free[:5]) == max(free[5:]), text
    states = {line["zone"]: line["state"] for line in heard if "state" in line}
    assert states == {"first": "ready", "again": "ready"}, text
    assert least_kept(text, 2) == least_kept(text, 52), text


def test_a_supervisor_outside_hears_and_tells(
    machine: Machine, host_entries: list[Entry], tmp_path: Path
) -> None:
    asked = [
        ("list", {"done": "list"}),
        ("console second", {"done": "console"}),
        ("stop second", ("second", "ended")),
        ("start second", ("second", "ready")),
        ("start second", {"error": "it runs already"}),
        ("stop nobody", {"error": "there is no such zone"}),
    ]
    rows = (PV, replace(PV, name="second"))
    entries = with_zones(host_entries, *rows)
    *heard, last = supervised(machine, entries, tmp_path / "channel", asked)
    text = str(last["text"])
    states = {line["zone"]: line["state"] for line in heard if "state" in line}
    assert states == {"first": "ready", "second": "ready"}, text
    assert any("sprout-ready" in str(line.get("line")) for line in heard)
    events = [line["event"] for line in heard if line.get("zone") == "second" and "event" in line]
    assert events == ["ended", "starting", "started", "ready"]
    assert said(text) == ["zone second ended: poweroff"]
    assert POWERED_OFF in text


def test_launcher_and_xl_start_zones_side_by_side(
    machine: Machine, host_entries: list[Entry], parts: Parts, tmp_path: Path
) -> None:
    write_headers(tmp_path)
    listed = ROOT / "initramfs" / "host-xl.toml"
    assemble(listed, tmp_path / "xl.cpio", epoch=1, tools=parts.tools)
    both = {entry.name: entry for entry in host_entries}
    both |= {
        entry.name: entry for entry in read_cpio((tmp_path / "xl.cpio").read_bytes(), tmp_path)
    }
    rows = (PV, replace(PV, name="other", by_xl=True))
    text = machine(with_zones(list(both.values()), *rows), "sprout-host ")
    first, other = zone_lines(text)
    assert (first.zone, other.zone) == ("first", "other")
    ours, theirs = (zone.unpaused - zone.create for zone in (first, other))
    print(f"launcher {ours:,} ticks, xl {theirs:,}")
    assert ours < theirs
    assert said(text) == []
    assert POWERED_OFF in text


def test_a_zone_that_fails_is_said_and_the_next_one_started(
    machine: Machine, host_entries: list[Entry]
) -> None:
    rows = (
        replace(PV, name="none", kernel="/zones/kernels/none"),
        replace(PV, name="empty", initramfs="/zones/initramfs/empty.cpio"),
        replace(PV, name="large", memory_mib=4096),
        PV,
    )
    ended = r"sprout-zone (.|\n)*empty ended|empty ended(.|\n)*sprout-zone "
    text = machine(with_zones(host_entries, *rows), ended)
    lines = said(text)
    assert lines[0].startswith("launch: xc: error: "), text
    assert lines[1].startswith("zone none did not start: /zones/kernels/none"), text
    assert any(
        line.startswith("zone large did not start: 4096 MiB of memory, ") for line in lines
    ), text
    assert "zone empty ended before it was ready: crash" in lines, text
    assert re.search(r"^\[empty\] .*Kernel panic - not syncing", text, re.MULTILINE), text
    assert [found.zone for found in zone_lines(text)] == ["first"]
    assert host_lines(text) == []
    assert POWERED_OFF in text


def test_a_host_without_zones_is_ready_after_its_services(
    machine: Machine, host_entries: list[Entry]
) -> None:
    text = machine(host_entries, "sprout-host ")
    (host,) = host_lines(text)
    assert host.init < host.services <= host.ready
    assert (zone_lines(text), said(text)) == ([], [])
    assert POWERED_OFF in text


@pytest.mark.parametrize(
    "case",
    [
        ("usr/sbin/xenstored", "return 3;", "xenstored exited with status 3"),
        ("usr/sbin/xenstored", "for (;;) pause();", "xenstored is not ready after 10 s"),
        ("usr/sbin/xen-init-dom0", 'puts("why"); return 4;', "xen-init-dom0: why"),
        ("usr/sbin/xenconsoled", "sleep(1); return 5;", "xenconsoled exited with status 5"),
        ("usr/sbin/launch", "return 6;", "launch exited with status 6"),
    ],
)
def test_a_service_that_fails_is_named_and_ends_the_host(
    machine: Machine, host_entries: list[Entry], tmp_path: Path, case: tuple[str, str, str]
) -> None:
    name, source, expected = case
    text = f"#include <stdio.h>\n#include <unistd.h>\nint main(void) {{ {source} }}\n"
    entries = replaced(host_entries, Entry(name, PROGRAM, program(tmp_path, text)))
    console = machine(entries)
    assert expected in said(console), console
    assert POWERED_OFF in console


def test_a_damaged_table_is_named_and_ends_the_host(
    machine: Machine, host_entries: list[Entry]
) -> None:
    table = zones.pack([PV])
    text = machine([*host_entries, Entry("zones/table", FILE, table[:-1])])
    assert said(text) == ["/zones/table: it does not have the rows that it counts"], text
    assert POWERED_OFF in text
