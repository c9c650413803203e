"""The lists of what kernels were compiled from: true to their configurations and their trees."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from commands import ROOT, built

from sprout.build.graph import Settings, load_graph
from sprout.build.kernel_steps import store
from sprout.build.tree import load_tree
from sprout.kernel.dotconfig import parse
from sprout.kernel.fetch import obtain
from sprout.kernel.patches import patched_tree

KERNELS = ("zone-kernel", "host-kernel")
# Each is on in one of the two kernels and off in the other.
DRIVERS = {
    "CONFIG_ATA": "drivers/ata/libata-core.c",
    "CONFIG_BLK_DEV_NVME": "drivers/nvme/host/pci.c",
    "CONFIG_BRIDGE": "net/bridge/br.c",
    "CONFIG_CGROUPS": "kernel/cgroup/cgroup.c",
    "CONFIG_E1000E": "drivers/net/ethernet/intel/e1000e/netdev.c",
    "CONFIG_MEMCG": "mm/memcontrol.c",
    "CONFIG_PID_NS": "kernel/pid_namespace.c",
    "CONFIG_SCSI": "drivers/scsi/scsi.c",
}
_RULE = re.compile(r"^obj-\$\((CONFIG_\w+)\)\s*\+=\s*([\w-]+)\.o$", re.MULTILINE)


def listed(kernel: str, key: str = "sources") -> dict[str, str]:
    """Give the files of one list of a built kernel with their digests."""
    rows = json.loads(built(kernel, "sources.json").read_bytes())[key]
    paths = [row["path"] for row in rows]
    assert paths == sorted(set(paths))
    return {row["path"]: row["sha256"] for row in rows}


def configuration(kernel: str) -> dict[str, str]:
    return parse(built(kernel, "config").read_text())


def trees(kernel: str) -> tuple[Path, Path]:
    """Give the tree that a kernel was built from, and the one before its patches."""
    order = load_graph(load_tree(ROOT), Settings()).orders[kernel]
    pin = order.locked()
    unpacked = obtain(store(), order.source, pin)
    return patched_tree(unpacked, order.flavor.patches_for(pin.upstream)), unpacked


@pytest.mark.parametrize(("option", "file"), DRIVERS.items())
def test_file_of_a_driver_is_listed_where_the_driver_is_on(option: str, file: str) -> None:
    on = {kernel: configuration(kernel).get(option) == "y" for kernel in KERNELS}
    assert sorted(on.values()) == [False, True]
    assert {kernel: file in listed(kernel) for kernel in KERNELS} == on


@pytest.mark.parametrize("kernel", KERNELS)
def test_nothing_is_listed_of_an_option_that_is_off(kernel: str) -> None:
    tree, config, sources = trees(kernel)[0], configuration(kernel), listed(kernel)
    rules: list[tuple[str, str]] = []
    for makefile in sorted({(tree / file).parent / "Makefile" for file in sources}):
        # bzImage's own code includes files of lib/ to unpack the kernel, whatever is on in it.
        if makefile.is_file() and not makefile.is_relative_to(tree / "lib"):
            folder = str(makefile.parent.relative_to(tree))
            text = makefile.read_text()
            rules += [(f"{folder}/{name}.c", option) for option, name in _RULE.findall(text)]
    # A file that two options bring says nothing about either.
    times = Counter(file for file, _ in rules)
    tied = {file: option for file, option in rules if times[file] == 1}
    found = {file: option for file, option in tied.items() if file in sources}
    assert len(found) > 100
    assert not [file for file, option in found.items() if config.get(option) != "y"]
    off = [file for file, option in tied.items() if config.get(option) is None]
    assert len(off) > 1000
    assert not sources.keys() & set(off)


@pytest.mark.parametrize("kernel", [*KERNELS, "xen-kernel"])
def test_digests_are_those_of_the_patched_tree(kernel: str) -> None:
    tree, unpacked = trees(kernel)
    files = listed(kernel) | listed(kernel, "headers")
    assert len(files) > 500
    for path, digest in files.items():
        assert hashlib.sha256((tree / path).read_bytes()).hexdigest() == digest, path
    assert [
        path
        for path, digest in files.items()
        if not (unpacked / path).exists()  # a patch brings it
        or hashlib.sha256((unpacked / path).read_bytes()).hexdigest() != digest
    ]


def test_hypervisor_names_what_it_was_compiled_from() -> None:
    files = set(listed("xen-kernel"))
    assert {"xen/common/domain.c", "xen/arch/x86/boot/head.S", "xen/arch/x86/boot/reloc.c"} <= files
    assert "xen/common/efi/boot.c" in files  # compiled through a link to it
    assert "xen/common/kexec.c" not in files
    assert not [path for path in files if not path.startswith("xen/")]
    rows = json.loads(built("xen-kernel", "sources.json").read_bytes())
    assert {*rows["generated"]} <= {"arch/x86/boot/built-in-32.S"}  # of Xen 4.20 alone


@pytest.mark.parametrize("kernel", KERNELS)
def test_programs_of_the_build_are_not_listed(kernel: str) -> None:
    files = listed(kernel)
    assert {"init/main.c", "arch/x86/boot/main.c", "arch/x86/boot/compressed/misc.c"} <= set(files)
    assert {"arch/x86/entry/vdso/vclock_gettime.c", "arch/x86/realmode/rm/reboot.S"} <= set(files)
    tools = ("scripts/", "tools/objtool/", "arch/x86/tools/", "arch/x86/boot/tools/")
    assert not [path for path in files if path.startswith(tools)]
    generated = json.loads(built(kernel, "sources.json").read_bytes())["generated"]
    assert "arch/x86/kernel/cpu/capflags.c" in generated
