"""The flavors of this tree: they fit together, use all that lies here, and are hardened alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from sprout.kernel.flavor import load_flavor

KERNELS = Path(__file__).parents[2] / "kernels"
FLAVORS = sorted(path.stem for path in (KERNELS / "flavors").glob("*.toml"))
HARDENED = {"hardening", "lockdown", "monolithic", "x86_64/hardening"}


def used(name: str, folder: str) -> set[str]:
    flavor = load_flavor(KERNELS.parent, name)
    files = {
        "fragments": [fragment.path for fragment in flavor.fragments],
        "patches": [patch.file for patch in flavor.patches],
    }[folder]
    return {str(file.relative_to(KERNELS / folder).with_suffix("")) for file in files}


@pytest.mark.parametrize("version", ["6.1.192", "6.12.117"])
@pytest.mark.parametrize("name", FLAVORS)
def test_fragments_of_a_flavor_agree(name: str, version: str) -> None:
    assert load_flavor(KERNELS.parent, name).requests(version)


@pytest.mark.parametrize(("folder", "suffix"), [("fragments", ".config"), ("patches", ".patch")])
def test_nothing_lies_here_unused(folder: str, suffix: str) -> None:
    files = (KERNELS / folder).rglob(f"*{suffix}")
    there = {str(file.relative_to(KERNELS / folder).with_suffix("")) for file in files}
    assert there == set().union(*(used(name, folder) for name in FLAVORS))


@pytest.mark.parametrize("name", ["zone", "host"])
def test_kernels_of_images_are_hardened(name: str) -> None:
    assert used(name, "fragments") >= HARDENED


def test_host_asks_for_what_its_toolstack_and_back_ends_need() -> None:
    asked = {r.option: r.value for r in load_flavor(KERNELS.parent, "host").requests("6.12.117")}
    needed = ("DOM0", "PV", "PVH", "PRIVCMD", "GNTDEV", "DEV_EVTCHN", "COMPAT_XENFS")
    backends = ("NETDEV_BACKEND", "BLKDEV_BACKEND")
    assert {asked[f"CONFIG_XEN_{name}"] for name in needed + backends} == {"y"}
