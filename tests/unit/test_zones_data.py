"""Zones and hosts in `images.toml`: what is read, and what is refused with file and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from sprout.base.errors import SproutError, UsageError
from sprout.build.tree import Tree, load_tree
from sprout.build.zones import Disk, Nic

WHOLE = """
epoch = 1767225600

[images.host]
hypervisor = "xen"
hypervisor_cmdline = "console=com1"
host_memory_mib = 128
machine_memory_mib = 512
flavor = "host"
initramfs = "host"
cmdline = "console=hvc0"
zones = ["web", "db"]

[zones.web]
flavor = "zone"
initramfs = "zone"
type = "pv"
memory_mib = 64
vcpus = 2
cmdline = "quiet"
disks = [{device = "xvda", backend = "/dev/vda2", writable = true}]
nics = [{bridge = "br0", mac = "00:16:3e:00:00:01"}]

[zones.db]
flavor = "zone"
initramfs = "zone"
type = "pvh"
memory_mib = 96
"""
WRITES_TOO = 'memory_mib = 96\ndisks = [{device = "xvda", backend = "/dev/vda2"}]'
ADDRESS_TOO = 'memory_mib = 96\nnics = [{bridge = "br0", mac = "00:16:3e:00:00:01"}]'


def tree_of(folder: Path, text: str) -> Tree:
    (folder / "images.toml").write_text(text)
    return load_tree(folder)


def test_a_host_and_its_zones_are_read(tmp_path: Path) -> None:
    host = tree_of(tmp_path, WHOLE).images["host"].host
    assert host is not None
    assert host.hypervisor_cmdline() == "console=com1 dom0_mem=128M,max:128M"
    web, db = host.zones
    assert (web.name, web.type, web.memory_mib, web.vcpus) == ("web", "pv", 64, 2)
    assert web.disks == (Disk("xvda", "/dev/vda2", writable=True),)
    assert web.nics == (Nic("br0", "00:16:3e:00:00:01"),)
    assert (db.type, db.vcpus, db.cmdline, db.disks, db.nics) == ("pvh", 1, "", (), ())
    assert (db.after, db.restart, db.cpus, db.weight, db.cap) == ((), "never", (), 256, 0)


LIMITS = """memory_mib = 96
after = ["web"]
restart = "on-failure"
cpus = "0-2,8"
weight = 512
cap_percent = 50
ready_seconds = 5
toolstack = "xl"
"""


def test_order_and_limits_of_a_zone_are_read(tmp_path: Path) -> None:
    host = tree_of(tmp_path, WHOLE.replace("memory_mib = 96", LIMITS)).images["host"].host
    assert host is not None
    db = host.zones[1]
    assert (db.after, db.restart, db.cpus) == (("web",), "on-failure", (0, 1, 2, 8))
    assert (db.weight, db.cap, db.ready_s, db.by_xl) == (512, 50, 5, True)


def test_an_image_without_a_hypervisor_is_no_host(tmp_path: Path) -> None:
    text = 'epoch = 1\n[images.zone]\nflavor = "zone"\ninitramfs = "zone"\n'
    assert tree_of(tmp_path, text).images["zone"].host is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('hypervisor = "xen"\n', "", "images.host.hypervisor_cmdline: needs a hypervisor"),
        ('["web", "db"]', '["web", "dbb"]', "images.host.zones: there is no zone dbb"),
        ('["web", "db"]', '["web", "web"]', "images.host.zones: names one twice"),
        ('"console=com1"', '"dom0_mem=1G"', "images.host.hypervisor_cmdline: has dom0_mem="),
        ('"console=com1"', '"dom0-mem=1G"', "images.host.hypervisor_cmdline: has dom0_mem="),
        ('"/dev/vda2"', '"/dev//vda2"', "backend: is no path"),
        ('"/dev/vda2"', '"/dev/./vda2"', "backend: is no path"),
        ('"/dev/vda2"', '"/dev/vda2/"', "backend: is no path"),
        ("[zones.db]", "[zones.12]", "zones.12: 12 is no name"),
        ('"console=com1"', '"a -- b"', "hypervisor_cmdline: has a word --"),
        ('"console=com1"', '"bootscrub=0"', "hypervisor_cmdline: lets zones see what memory"),
        ('"console=com1"', '"a no-bootscrub"', "hypervisor_cmdline: lets zones see what memory"),
        ('"/dev/vda2"', '"/dev/../etc"', "backend: is no path"),
        ('"console=com1"', '"a\\nb"', "images.host.hypervisor_cmdline: is not printable"),
        ("machine_memory_mib = 512", "machine_memory_mib = 300", "zones take 368"),
        ("host_memory_mib = 128", "host_memory_mib = 8", "host_memory_mib: 8 is out of range"),
        ('type = "pvh"', 'type = "hvm"', "zones.db.type: hvm is no type"),
        ("memory_mib = 96", "memory_mib = 4", "zones.db.memory_mib: 4 is out of range"),
        ("memory_mib = 96", "memory = 96", "zones.db.memory_mib: is missing"),
        ("memory_mib = 96", "memory_mib = 96\ncpu = 1", "zones.db.cpu: is an unknown key"),
        ("vcpus = 2", "vcpus = 0", "zones.web.vcpus: 0 is out of range"),
        ("vcpus = 2", "vcpus = true", "zones.web.vcpus: is not an integer"),
        ("[zones.db]", "[zones.Db]", "zones.Db: Db is no name"),
        ('"xvda"', '"sda"', "device: sda is no disk of a zone"),
        ('"/dev/vda2"', '"vda2"', "backend: is no path"),
        ('"/dev/vda2"', '"/dev/v,w"', "backend: is no path"),
        ("writable = true", "writable = 1", "writable: is not true or false"),
        ('"br0"', '"a b"', "bridge: is no bridge's name"),
        ('"00:16:3e:00:00:01"', '"01:16:3e:00:00:01"', "mac: is no station's address"),
        ('cmdline = "quiet"', f'cmdline = "{"x" * 1024}"', "cmdline: is longer than 1023"),
        ("memory_mib = 96", 'memory_mib = 96\ncpus = "3-1"', "zones.db.cpus: 3-1 is out of range"),
        ("memory_mib = 96", 'memory_mib = 96\ncpus = "a"', "zones.db.cpus: a is no list"),
        ("memory_mib = 96", 'memory_mib = 96\ncpus = "0-128"', "zones.db.cpus: 0-128 is out of"),
        ("memory_mib = 96", "memory_mib = 96\ncap_percent = 101", "cap_percent: 101 per cent"),
        ("memory_mib = 96", "memory_mib = 96\nweight = 0", "zones.db.weight: 0 is out of range"),
        ("memory_mib = 96", 'memory_mib = 96\nrestart = "no"', "zones.db.restart: no is no choice"),
        ("memory_mib = 96", 'memory_mib = 96\ntoolstack = "a"', "db.toolstack: a is no choice"),
        ("vcpus = 2", 'vcpus = 2\nafter = ["db"]', "zones: web comes after db, which does not"),
        ("memory_mib = 96", WRITES_TOO, "zones: web and db share /dev/vda2, and one of them"),
        ("memory_mib = 96", ADDRESS_TOO, "web and db both have the address 00:16:3e:00:00:01"),
        ('"00:16:3e:00:00:01"', '"00:00:00:00:00:00"', "zones.web.nics[0].mac: is no station's"),
        ('hypervisor = "xen"\n', 'hypervisor = "xen"\nmicrocode = "A"\n', "microcode: is no name"),
        (
            "disks = [",
            'disks = [{device = "xvdb", backend = "/dev/vda2"}, ',
            "zones.web.disks: has one twice",
        ),
        (
            "disks = [",
            'disks = [{device = "xvda", backend = "/dev/vda1"}, ',
            "zones.web.disks: has one twice",
        ),
    ],
)
def test_what_no_hypervisor_would_start_is_refused(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    assert old in WHOLE
    with pytest.raises(SproutError) as caught:
        tree_of(tmp_path, WHOLE.replace(old, new, 1))
    assert words in caught.value.message
    assert "images.toml" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("dom0_mem=8M", "has dom0_mem="),
        ("--", "has a word --"),
        ("é", "not printable ASCII"),
        ("x" * 1024, "longer than"),
    ],
)
def test_words_from_elsewhere_keep_the_same_rules(tmp_path: Path, words: str, problem: str) -> None:
    host = tree_of(tmp_path, WHOLE).images["host"].host
    assert host is not None
    assert host.with_words("loglvl=all").cmdline == "console=com1 loglvl=all"
    with pytest.raises(UsageError) as caught:
        host.with_words(words)
    assert problem in caught.value.message
