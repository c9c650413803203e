"""A host in QEMU, started directly: its hypervisor, its kernel, and an initramfs with zones."""

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

from commands import built

from sprout.base.run import check, started
from sprout.format import ready, zones
from sprout.format.zones import Disk, Nic, Zone
from sprout.initramfs.assemble import assemble, write_headers
from sprout.initramfs.compile import compile_program
from sprout.initramfs.cpio import Entry, read_cpio, write_cpio
from sprout.vm.console import clean

ROOT = Path(__file__).resolve().parents[2]
_GUESTS = ROOT / "tests/boot/host_guest"
_LOOK = ROOT / "tests/boot/host_look"
_BOOT_S = 240.0
FILE = stat.S_IFREG | 0o644
PROGRAM = stat.S_IFREG | 0o755
PV = Zone("first", "pv", 64, 1, "/zones/kernels/zone", "/zones/initramfs/zone.cpio", "quiet")
POWERED_OFF = "reboot: Power down"
Machine = Callable[..., str]


@dataclass(frozen=True)
class Parts:
    """The built files that a host is made of here: kernels are uncompressed ELF files."""

    hypervisor: Path
    kernel: Path
    zone_kernel: Path
    tools: Path


def built_parts() -> Parts:
    """Build them with the real command."""
    return Parts(
        hypervisor=built("xen-kernel", "image"),
        kernel=built("host-kernel", "elf"),
        zone_kernel=built("zone-kernel", "elf"),
        tools=built("xen-tools", "tools.tar"),
    )


def make_entries(parts: Parts, work: Path) -> list[Entry]:
    """Give the product's own initramfs of a host, with a zone's kernel and initramfs in it.

    The zone's has the programs of host_guest/ as /bin/NAME.
    """
    write_headers(work)
    assemble(ROOT / "initramfs" / "host.toml", work / "host.cpio", epoch=1, tools=parts.tools)
    assemble(ROOT / "initramfs" / "zone.toml", work / "zone.cpio", epoch=1)
    silent = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"
    mute = Entry("init", PROGRAM, program(work, silent))
    exits = Entry("init", PROGRAM, program(work, "int main(void) { return 3; }\n"))
    zone = read_cpio((work / "zone.cpio").read_bytes(), work)
    for source in sorted(_GUESTS.glob("*.c")):
        compile_program([source], work / source.stem, base=_GUESTS, include=work)
        zone.append(Entry(f"bin/{source.stem}", PROGRAM, (work / source.stem).read_bytes()))
    return [
        *read_cpio((work / "host.cpio").read_bytes(), work),
        Entry("zones/kernels/zone", FILE, parts.zone_kernel.read_bytes()),
        Entry("zones/kernels/none", FILE, b"this is no kernel\n"),
        Entry("zones/initramfs/zone.cpio", FILE, write_cpio(zone, epoch=1)),
        Entry("zones/initramfs/mute.cpio", FILE, write_cpio([mute], epoch=1)),
        Entry("zones/initramfs/exits.cpio", FILE, write_cpio([exits], epoch=1)),
        Entry("zones/initramfs/empty.cpio", FILE, write_cpio([], epoch=1)),
        Entry("roots/zone.squashfs", FILE, root_of_zone(work)),
        Entry("disks/a", FILE, b"the disk a\n".ljust(4096, b"\0")),
        Entry("disks/b", FILE, b"the disk b\n".ljust(4096, b"\0")),
    ]


def with_looks(parts: Parts, entries: Sequence[Entry], work: Path) -> list[Entry]:
    """Give the same host with xl in it, and what shows every four seconds what Xen knows."""
    write_headers(work)
    assemble(ROOT / "initramfs/host-xl.toml", work / "xl.cpio", epoch=1, tools=parts.tools)
    both = {entry.name: entry for entry in entries}
    both |= {entry.name: entry for entry in read_cpio((work / "xl.cpio").read_bytes(), work)}
    compile_program([_LOOK / "look.c"], work / "look", base=_LOOK, include=work)
    name = "usr/sbin/xenconsoled"
    real = replace(both[name], name=f"{name}.real")
    looks = Entry(name, PROGRAM, (work / "look").read_bytes())
    return [*replaced(list(both.values()), looks), real]


def looks(text: str) -> list[tuple[str, str]]:
    """Give each look: all that was written before it began, and what it shows."""
    found = []
    for match in re.finditer(r"^look begins\n((?:.|\n)*?)^look ends$", text, re.MULTILINE):
        found.append((text[: match.start()], match[1]))
    return found


def what_is_kept(look: str) -> tuple[int, int, list[str]]:
    """Give from a look: nodes of the store, grants that are in use, and the tables' sizes."""
    nodes = re.search(r"^store: (\d+) nodes$", look, re.MULTILINE)
    assert nodes is not None, look
    grants = re.findall(r"\[0x[0-9a-f]+\] +\d+ 0x", look)
    frames = re.findall(r"\d+ frames \(\d+ max\), \d+ maptrack frames", look)
    return int(nodes[1]), len(grants), sorted(frames)


def least_kept(text: str, starts: int) -> tuple[int, int, list[str]]:
    """Give the least that was kept after the zone `again` had started so often: it is gone then."""
    return min(
        what_is_kept(look)
        for before, look in looks(text)
        if before.count("[again] sprout-ready") == starts
    )


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


def run_host(
    parts: Parts,
    work: Path,
    entries: Sequence[Entry],
    until: str | None = None,
    *,
    say: str = "system_powerdown",
    xen: str = "",
    words: str = "",
    extra: tuple[str | Path, ...] = (),
    meanwhile: Callable[[], None] | None = None,
    limit_s: float = _BOOT_S,
) -> str:
    """Run a host until it ends by itself, and give what it wrote on its serial port.

    When the regular expression `until` has been found there, `meanwhile` is called, and then
    the machine is told `say`.
    """
    initramfs, console = work / "host.cpio", work / "console"
    initramfs.write_bytes(write_cpio(entries, epoch=1))
    console.write_bytes(b"")
    arguments: list[str | Path] = [
        "qemu-system-x86_64",
        "-machine",
        "q35",
        "-accel",
        "tcg,thread=single",
    ]
    arguments += ["-cpu", "max,-smap,-rdtscp,-xsave,-avx,-avx2", "-m", "512", "-no-reboot"]
    arguments += ["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "stdio"]
    arguments += ["-serial", f"file:{console}", "-kernel", parts.hypervisor, *extra]
    arguments += ["-append", f"console=com1 com1=115200,8n1 dom0_mem=128M,max:128M {xen}"]
    kernel = f"{parts.kernel} console=hvc0 quiet swiotlb=2048 {words}"
    arguments += ["-initrd", f"{kernel},{initramfs}"]
    deadline = time.monotonic() + limit_s
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


def shown(console: Path) -> str:
    text = console.read_bytes().decode(errors="replace")
    return "\n".join(clean(line) for line in text.splitlines())


def with_zones(entries: Sequence[Entry], *rows: Zone) -> list[Entry]:
    return [*entries, Entry("zones/table", FILE, zones.pack(rows))]


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


Line = dict[str, object]


@dataclass(frozen=True)
class Said:
    """That a zone's console has this line."""

    line: str


Asked = Sequence[tuple[str, object]]

AGAIN = replace(
    PV,
    name="again",
    disks=(Disk("xvda", "/disks/a", writable=True),),
    nics=(Nic("br0", "00:16:3e:00:00:01"),),
)


def restarts(starts: int) -> list[tuple[str, object]]:
    """Give what is asked to start and stop the zone `again` so often, after twice to begin with.

    The first start makes the bridge and what else stays. It is looked at while the zone is not
    there, more than once: Xen gives back the last of a domain a little after its end.
    """
    stop, start = ("stop again", ("again", "ended")), ("start again", ("again", "ready"))
    pause = [("", 9.0), *([("memory", (None, "memory"))] * 5)]
    return [stop, start, stop, *pause, *((start, stop) * starts), *pause]


def supervised(
    machine: Machine,
    entries: Sequence[Entry],
    path: Path,
    asked: Asked,
    *,
    extra: tuple[str, ...] = (),
    limit_s: float = _BOOT_S,
) -> list[Line]:
    """Boot a host with a channel; give what is heard there, and last the console as "text".

    Each request is written when the answer to the one before has come: a line, or (zone, event).
    With `Said` it is written again until a zone's console has the line. An empty one is a pause
    of as many seconds.
    """
    heard: list[Line] = []

    def ask() -> None:
        with socket.socket(socket.AF_UNIX) as channel, channel.makefile("rw") as stream:
            channel.connect(str(path))
            channel.settimeout(120)
            for request, last in asked:
                if not request:
                    time.sleep(float(str(last)))
                    continue
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
            *extra,
            *("-device", "virtio-serial-pci,disable-legacy=on", "-chardev"),
            f"socket,path={path},server=on,wait=off,id=channel",
            *("-device", "virtserialport,chardev=channel,name=org.sprout.zones"),
        ),
        meanwhile=ask,
        limit_s=limit_s,
    )
    return [*heard, {"text": text}]
