"""The host's init under a real hypervisor in QEMU: zones, their devices, failures, and the end."""

from __future__ import annotations

import json
import re
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from commands import built

from sprout.base.run import check, started
from sprout.format import ready, zones
from sprout.format.zones import Disk, Nic, Zone
from sprout.initramfs.assemble import assemble, write_headers
from sprout.initramfs.compile import compile_program
from sprout.initramfs.cpio import Entry, read_cpio, write_cpio
from sprout.vm.console import clean

_ROOT = Path(__file__).resolve().parents[2]
_GUESTS = Path(__file__).resolve().parent / "host_guest"
_BOOT_S = 240.0
_FILE = stat.S_IFREG | 0o644
_PROGRAM = stat.S_IFREG | 0o755
_PV = Zone("first", "pv", 64, 1, "/zones/kernels/zone", "/zones/initramfs/zone.cpio", "quiet")
POWERED_OFF = "reboot: Power down"


@dataclass(frozen=True)
class Parts:
    """The built files that a host is made of here: kernels are uncompressed ELF files."""

    hypervisor: Path
    kernel: Path
    zone_kernel: Path
    tools: Path


@pytest.fixture(scope="module")
def parts() -> Parts:
    return Parts(
        hypervisor=built("xen-kernel", "image"),
        kernel=built("host-kernel", "elf"),
        zone_kernel=built("zone-kernel", "elf"),
        tools=built("xen-tools", "tools.tar"),
    )


@pytest.fixture(scope="module")
def host_entries(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    """The product's own initramfs of a host, with a zone's kernel and initramfs in it."""
    work = tmp_path_factory.mktemp("host")
    write_headers(work)
    assemble(_ROOT / "initramfs" / "host.toml", work / "host.cpio", epoch=1, tools=parts.tools)
    assemble(_ROOT / "initramfs" / "zone.toml", work / "zone.cpio", epoch=1)
    compile_program([_GUESTS / "devices.c"], work / "devices", base=_GUESTS, include=work)
    silent = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"
    mute = Entry("init", _PROGRAM, program(work, silent))
    zone = read_cpio((work / "zone.cpio").read_bytes(), work)
    for name in ("talk", "keep"):
        compile_program([_GUESTS / f"{name}.c"], work / name, base=_GUESTS, include=work)
    for name in ("devices", "talk"):
        zone.append(Entry(f"bin/{name}", _PROGRAM, (work / name).read_bytes()))
    return [
        *read_cpio((work / "host.cpio").read_bytes(), work),
        Entry("zones/kernels/zone", _FILE, parts.zone_kernel.read_bytes()),
        Entry("zones/kernels/none", _FILE, b"this is no kernel\n"),
        Entry("zones/initramfs/zone.cpio", _FILE, write_cpio(zone, epoch=1)),
        Entry("zones/initramfs/mute.cpio", _FILE, write_cpio([mute], epoch=1)),
        Entry("zones/initramfs/empty.cpio", _FILE, write_cpio([], epoch=1)),
        Entry("roots/zone.squashfs", _FILE, root_of_zone(work)),
        Entry("disks/a", _FILE, b"the disk a\n".ljust(4096, b"\0")),
        Entry("disks/b", _FILE, b"the disk b\n".ljust(4096, b"\0")),
    ]


def root_of_zone(work: Path) -> bytes:
    """Make a root for a zone that is no initramfs: its init and one program, read-only."""
    root = work / "root"
    for name in ("bin", "sbin", "dev", "proc", "sys", "run", "tmp", "root"):
        (root / name).mkdir(parents=True)
    shutil.copy(work / "keep", root / "bin/keep")
    init = next(
        one for one in read_cpio((work / "zone.cpio").read_bytes(), work) if one.name == "init"
    )
    (root / "init").write_bytes(init.data)
    (root / "init").chmod(0o755)
    for name in ("poweroff", "reboot"):
        (root / "sbin" / name).symlink_to("/init")
    nodes = ("-p", "dev/console c 600 0 0 5 1", "-p", "dev/null c 666 0 0 1 3")
    words: list[str | Path] = [
        "mksquashfs",
        root,
        work / "root.squashfs",
        "-comp",
        "zstd",
        "-all-root",
        *nodes,
    ]
    check(words, "Install squashfs-tools.")
    return (work / "root.squashfs").read_bytes()


Machine = Callable[..., str]


@pytest.fixture
def machine(parts: Parts, tmp_path: Path) -> Machine:
    def boot(
        entries: Sequence[Entry],
        until: str | None = None,
        *,
        say: str = "system_powerdown",
        xen: str = "",
        words: str = "",
        extra: tuple[str | Path, ...] = (),
        meanwhile: Callable[[], None] | None = None,
    ) -> str:
        """Run a host until it ends by itself, and give what it wrote on its serial port.

        When the regular expression `until` has been found there, `meanwhile` is called, and then
        the machine is told `say`.
        """
        initramfs, console = tmp_path / "host.cpio", tmp_path / "console"
        initramfs.write_bytes(write_cpio(entries, epoch=1))
        console.write_bytes(b"")
        arguments: list[str | Path] = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg"]
        arguments += ["-cpu", "max,-smap,-rdtscp,-xsave,-avx,-avx2", "-m", "512", "-no-reboot"]
        arguments += ["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "stdio"]
        arguments += ["-serial", f"file:{console}", "-kernel", parts.hypervisor, *extra]
        arguments += ["-append", f"console=com1 com1=115200,8n1 dom0_mem=128M,max:128M {xen}"]
        kernel = f"{parts.kernel} console=hvc0 quiet swiotlb=2048 {words}"
        arguments += ["-initrd", f"{kernel},{initramfs}"]
        deadline = time.monotonic() + _BOOT_S
        with started(arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as qemu:
            assert qemu.stdin is not None
            while qemu.poll() is None:
                text = shown(console)
                assert time.monotonic() < deadline, text
                if until is not None and re.search(until, text):
                    if meanwhile is not None:
                        meanwhile()
                    qemu.stdin.write(f"{say}\n".encode())
                    qemu.stdin.flush()
                    until = None
                time.sleep(0.2)
        return shown(console)

    return boot


def shown(console: Path) -> str:
    text = console.read_bytes().decode(errors="replace")
    return "\n".join(clean(line) for line in text.splitlines())


def with_zones(entries: Sequence[Entry], *rows: Zone) -> list[Entry]:
    return [*entries, Entry("zones/table", _FILE, zones.pack(rows))]


def replaced(entries: Sequence[Entry], new: Entry) -> list[Entry]:
    return [*(entry for entry in entries if entry.name != new.name), new]


def program(directory: Path, text: str) -> bytes:
    """Compile a small static program."""
    (directory / "a.c").write_text(text)
    compile_program([directory / "a.c"], directory / "a", base=directory, include=directory)
    return (directory / "a").read_bytes()


def said(text: str) -> list[str]:
    lines = text.splitlines()
    return [line.removeprefix("sprout-init: ") for line in lines if line.startswith("sprout-init")]


def zone_lines(text: str) -> list[ready.ZoneReady]:
    return [found for line in text.splitlines() if (found := ready.parse_zone(line))]


def host_lines(text: str) -> list[ready.HostReady]:
    return [found for line in text.splitlines() if (found := ready.parse_host(line))]


@pytest.mark.parametrize(
    ("xen", "extra"), [("", ()), ("dom0=pvh", ("-device", "amd-iommu"))], ids=["pv", "pvh"]
)
def test_zones_become_ready_in_order_and_the_power_button_ends_them(
    machine: Machine, host_entries: list[Entry], xen: str, extra: tuple[str, ...]
) -> None:
    second = replace(_PV, name="second", type="pvh")
    entries = with_zones(host_entries, _PV, second)
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
        _PV,
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
    bad = replace(_PV, name="bad", initramfs="/zones/initramfs/empty.cpio", restart="on-failure")
    mute = replace(_PV, name="mute", initramfs="/zones/initramfs/mute.cpio", ready_s=4)
    late = replace(_PV, name="late", after=(2,), weight=512, cap=50, cpus=(0,))
    rows = (bad, mute, _PV, late, replace(_PV, name="never", after=(1,)))
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
    text = machine(with_zones(host_entries, replace(_PV, cpus=(9,))), "zone first did not start")
    assert any("the processors that it is to run on" in line for line in said(text)), text


Line = dict[str, object]


@dataclass(frozen=True)
class Said:
    """That a zone's console has this line."""

    line: str


Asked = Sequence[tuple[str, object]]


def supervised(machine: Machine, entries: Sequence[Entry], path: Path, asked: Asked) -> list[Line]:
    """Boot a host with a channel; give what is heard there, and last the console as "text".

    Each request is written when the answer to the one before has come: a line, or (zone, event).
    With `Said` it is written again until a zone's console has the line.
    """
    heard: list[Line] = []

    def ask() -> None:
        with socket.socket(socket.AF_UNIX) as channel, channel.makefile("rw") as stream:
            channel.connect(str(path))
            channel.settimeout(60)
            for request, last in asked:
                said = False
                stream.write(f"{request}\n")
                stream.flush()
                while True:
                    line = json.loads(stream.readline())
                    heard.append(line)
                    if last in (line, (line.get("zone"), line.get("event"))):
                        break
                    if not isinstance(last, Said):
                        continue
                    said = said or line.get("line") == last.line
                    if line != {"done": "console"}:
                        continue
                    if said:
                        break
                    time.sleep(0.1)
                    stream.write(f"{request}\n")
                    stream.flush()

    text = machine(
        entries,
        "sprout-host ",
        words="SPROUT_CHANNEL=/dev/vport0p1",
        extra=(
            *("-device", "virtio-serial-pci,disable-legacy=on", "-chardev"),
            f"socket,path={path},server=on,wait=off,id=channel",
            *("-device", "virtserialport,chardev=channel,name=org.sprout.zones"),
        ),
        meanwhile=ask,
    )
    return [*heard, {"text": text}]


@pytest.mark.parametrize("isolated", [False, True], ids=["open", "isolated"])
def test_two_zones_talk_where_their_bridge_lets_them(
    machine: Machine, host_entries: list[Entry], isolated: bool
) -> None:
    nics = [Nic("br0", f"00:16:3e:00:00:0{number}", isolated) for number in (1, 2)]
    server = replace(_PV, cmdline="quiet -- /bin/talk serve 10.9.0.1", nics=(nics[0],))
    caller = replace(
        _PV,
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
        _PV,
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
    machine: Machine, host_entries: list[Entry], tmp_path: Path
) -> None:
    zone = replace(
        _PV,
        name="again",
        disks=(Disk("xvda", "/disks/a", writable=True),),
        nics=(Nic("br0", "00:16:3e:00:00:01"),),
    )
    # The first start makes the bridge and what else stays. Memory is looked at while the zone is
    # not there, several times: Xen gives back the last of a domain a little after its end.
    stop, start = ("stop again", ("again", "ended")), ("start again", ("again", "ready"))
    memory = [("memory", (None, "memory"))] * 20
    asked = [
        *(stop, start, stop, *memory),
        *((start, stop) * 50),
        *(*memory, start, ("list", {"done": "list"})),
    ]
    *heard, last = supervised(
        machine, with_zones(host_entries, _PV, zone), tmp_path / "channel", asked
    )
    free = [int(str(line["free_kib"])) for line in heard if line.get("event") == "memory"]
    assert max(free[:20]) == max(free[20:]), last["text"]
    states = {line["zone"]: line["state"] for line in heard if "state" in line}
    assert states == {"first": "ready", "again": "ready"}, last["text"]


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
    rows = (_PV, replace(_PV, name="second"))
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
    listed = _ROOT / "initramfs" / "host-xl.toml"
    assemble(listed, tmp_path / "xl.cpio", epoch=1, tools=parts.tools)
    both = {entry.name: entry for entry in host_entries}
    both |= {
        entry.name: entry for entry in read_cpio((tmp_path / "xl.cpio").read_bytes(), tmp_path)
    }
    rows = (_PV, replace(_PV, name="other", by_xl=True))
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
        replace(_PV, name="none", kernel="/zones/kernels/none"),
        replace(_PV, name="empty", initramfs="/zones/initramfs/empty.cpio"),
        replace(_PV, name="large", memory_mib=4096),
        _PV,
    )
    ended = r"sprout-zone (.|\n)*empty ended|empty ended(.|\n)*sprout-zone "
    text = machine(with_zones(host_entries, *rows), ended)
    lines = said(text)
    assert lines[0].startswith("launch: xc: error: "), text
    assert lines[1].startswith("zone none did not start: /zones/kernels/none"), text
    assert any(line.startswith("zone large did not start: its memory") for line in lines), text
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
    entries = replaced(host_entries, Entry(name, _PROGRAM, program(tmp_path, text)))
    console = machine(entries)
    assert expected in said(console), console
    assert POWERED_OFF in console


def test_a_damaged_table_is_named_and_ends_the_host(
    machine: Machine, host_entries: list[Entry]
) -> None:
    table = zones.pack([_PV])
    text = machine([*host_entries, Entry("zones/table", _FILE, table[:-1])])
    assert said(text) == ["/zones/table: it does not have the rows that it counts"], text
    assert POWERED_OFF in text
