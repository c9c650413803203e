"""A host from its disk: firmware, stub, hypervisor, host and zone, and what none of them takes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from commands import assert_one_error, built, command
from secure import (
    DEFAULT_PATH,
    LIMIT_S,
    Keys,
    boot_options,
    enrolled,
    flipped,
    make_disk_of,
    make_store,
    try_in_turn,
)

from sprout.base.run import Output
from sprout.format import pe
from sprout.format.ready import HostReady
from sprout.image.uki import Section, lay_out
from sprout.signing.authenticode import sign_image
from sprout.vm.boot import BootResult, boot

EPOCH = 1767225600
# A machine has room for the hypervisor's page of facts and its 2 MiB, and little else is copied.
MOST_COPIED = 4 << 20


@dataclass(frozen=True)
class Host:
    """The built host: its image, its disk, and its hypervisor's command line."""

    image: Path
    disk: Path
    cmdline: str


@pytest.fixture(scope="module")
def host() -> Host:
    disk = built("host-disk", "host.img")
    image = built("host-image", "host.efi")
    text = json.loads(command("inspect", "--json", image).stdout)["hypervisor_cmdline"]
    return Host(image, disk, text)


def started(host: Host, *, memory_mib: int = 512, cpus: int = 1) -> BootResult:
    return boot(
        host.disk,
        image="host",
        accel="tcg",
        timeout_s=240,
        memory_mib=memory_mib,
        cpus=cpus,
        hypervisor=host.cmdline,
    )


def assert_zone_is_ready(result: BootResult) -> HostReady:
    assert [zone.zone for zone in result.zones] == ["first"], result.console_lines
    ready = result.ready
    assert isinstance(ready, HostReady)
    zone = result.zones[0]
    assert zone.create < zone.unpaused <= zone.ready <= ready.ready
    return ready


def test_host_boots_from_its_disk_and_tells_its_phases(host: Host, tmp_path: Path) -> None:
    report = tmp_path / "host.json"
    output = command("boot", "host", "--json", report, "--accel", "tcg")
    assert output.status == 0, output.stderr.decode()
    phases = [phase["name"] for phase in json.loads(report.read_text())["phases"]]
    assert phases == [
        *("firmware", "stub", "xen", "host kernel", "host init"),
        *("first create", "first kernel", "first init"),
    ]
    assert all(len(line) <= 80 for line in output.stdout.decode().splitlines())


@pytest.mark.parametrize(("memory_mib", "cpus"), [(512, 1), (2048, 1), (8192, 2)])
def test_the_same_image_on_small_and_large_machines(host: Host, memory_mib: int, cpus: int) -> None:
    ready = assert_zone_is_ready(started(host, memory_mib=memory_mib, cpus=cpus))
    assert 0 < ready.entry < ready.handover < ready.kernel < ready.init
    # What the firmware loads above 4 GiB has to be copied; what it loads below does not.
    whole = host.image.stat().st_size
    assert 0 < ready.copied < (MOST_COPIED if memory_mib < 4096 else whole + MOST_COPIED)


@pytest.mark.parametrize("count", [2, 8, 16])
def test_several_zones_become_ready(tmp_path: Path, count: int) -> None:
    report = tmp_path / "host.json"
    words = ("--zones", str(count), "--json", report, "--accel", "tcg", "--timeout", "300")
    output = command("boot", "host", *words)
    assert output.status == 0, output.stderr.decode()
    zones = json.loads(report.read_text())["zones"]
    more = (f"first-{number}" for number in range(2, count + 1))
    assert [zone["name"] for zone in zones] == ["first", *more]


def test_a_number_of_zones_that_cannot_be_is_refused() -> None:
    for wrong, what in (("65", "65 zones: a host has"), ("0", "--zones: 0 is not")):
        assert_one_error(command("boot", "host", "--zones", wrong), what, status=2)
    assert_one_error(command("boot", "zone", "--zones", "2"), "zone is no host", status=2)


def test_host_as_pvh(host: Host) -> None:
    output = command("boot", "host", "--append-hypervisor", "dom0=pvh", "--accel", "tcg")
    assert output.status == 0, output.stderr.decode()
    assert b"first init" in output.stdout


MICROCODE = """[[file]]
path = "kernel/x86/microcode/AuthenticAMD.bin"
source = "microcode/amd.bin"
"""


def test_microcode_reaches_the_hypervisor(tree: Path) -> None:
    images = tree / "images.toml"
    text = images.read_text()
    line = 'hypervisor = "xen"\n'
    images.write_text(text.replace(line, f'{line}microcode = "microcode"\n'))
    (tree / "initramfs/microcode").mkdir()
    # A processor update's own shape is the hypervisor's to judge: emulated ones take none.
    (tree / "initramfs/microcode/amd.bin").write_bytes(b"DMA\0" + bytes(4096))
    listed = tree / "initramfs/microcode.toml"
    listed.write_text(MICROCODE.replace("AuthenticAMD", "other"))
    assert_one_error(
        command("--tree", tree, "build", "host-image"),
        "initramfs/microcode.toml: holds no microcode",
    )
    listed.write_text(MICROCODE)
    output = command("--tree", tree, "boot", "host", "--accel", "tcg", "--console")
    assert output.status == 0, output.stderr.decode()
    assert b"Command line: ucode=scan console=com1" in output.stdout + output.stderr
    assert b"first init" in output.stdout


def test_every_byte_is_covered_by_the_signature(host: Host, tmp_path: Path) -> None:
    keys = Keys()
    image = host.image.read_bytes()
    good = sign_image(image, [keys.db], "host")
    places = {
        row.name: row.raw_offset + row.raw_size // 2
        for row in pe.parse_headers(image, "host").sections
        if row.name in (".hv", ".hvcmd", ".linux", ".initrd")
    }
    places[".hvcmd"] = image.index(host.cmdline.encode())
    places["zone"] = image.rindex(b"\x7fELF", 0, image.index(b"TRAILER!!!", places[".initrd"]))
    files = {f"T/{name.strip('.')}.EFI": flipped(good, at) for name, at in places.items()}
    assert len(files) == 5
    files[DEFAULT_PATH] = good
    disk = make_disk_of(tmp_path / "disk.img", files)
    store = make_store(tmp_path / "s.fd", [*enrolled(keys), *boot_options(disk, list(files))])
    tried = try_in_turn(disk, list(files), store, until="(XEN) Xen version", limit_s=2 * LIMIT_S)
    assert tried.reached, tried.text()
    assert set(tried.refused) == set(files) - {DEFAULT_PATH}
    assert {(row.by, row.reason) for row in tried.refused.values()} == {
        ("firmware", "Access Denied")
    }


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (".hv", ".hv: a segment goes beyond the file"),
        (".hvcmd", ".hvcmd: section is missing or empty"),
        (".linux", ".linux: section is missing or empty"),
        (".initrd", ".initrd: section is missing or empty"),
    ],
)
def test_what_is_cut_or_missing_is_one_line_and_an_end(
    host: Host, boot_stub: Path, tmp_path: Path, name: str, line: str
) -> None:
    kept = []
    for section in _sections(host.image.read_bytes()):
        if section.name != name:
            kept.append(section)
        elif name == ".hv":
            kept.append(replace(section, data=section.data[: len(section.data) // 2]))
    target = tmp_path / "host.efi"
    target.write_bytes(lay_out(boot_stub.read_bytes(), kept, epoch=EPOCH))
    output = command("boot", target, "--accel", "tcg", "--timeout", "100")
    assert_one_error(output, f"the boot stub failed: {line}")


def _sections(image: bytes) -> list[Section]:
    rows = pe.parse_headers(image, "host").sections
    return [
        Section(row.name, image[row.raw_offset : row.raw_offset + row.virtual_size])
        for row in rows
        if row.name.startswith((".hv", ".linux", ".initrd", ".cmdline", ".sbat", ".osrel"))
    ]


def test_inspect_says_why_each_file_is_there(host: Host) -> None:
    output: Output = command("inspect", "--json", host.image)
    facts = json.loads(output.stdout)
    why = {row["path"]: row["why"] for row in facts["initrd"]}
    assert why["zones/kernels/zone"] == "kernel of first"
    library = f"usr/lib/x86_64-linux-gnu/libxenctrl.so.{_series(facts)}"
    assert why[library] == "needed by xenconsoled, xenstored"
    assert not any("xl" in path.rsplit("/", 1)[-1] for path in why)
    assert facts["kind"] == "host image (hypervisor and its host)"
    assert not any(path.endswith(("/sh", "/bash", "/busybox")) for path in why)


def _series(facts: dict[str, object]) -> str:
    rows = facts["sbat"]
    assert isinstance(rows, list)
    version = next(row["version"] for row in rows if row["component"] == "xen")
    return ".".join(version.split(".")[:2])
