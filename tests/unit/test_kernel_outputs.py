"""What a kernel's step leaves: more where the flavor asks for modules, and a target for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import ROOT

from sprout.build.graph import Settings, load_graph
from sprout.build.tree import load_tree
from sprout.kernel.flavor import load_flavor

_WAIVER = '\n[[waivers]]\noption = "CONFIG_MODULES"\nreason = "None yet."\nuntil = 2999-01-01\n'


@pytest.mark.parametrize(("name", "has"), [("zone", False), ("host", False), ("modular", True)])
def test_flavor_has_modules_where_it_asks_for_them(name: str, has: bool) -> None:
    assert load_flavor(ROOT, name).has_modules() == has


def test_flavor_that_may_miss_modules_promises_none(tree: Path) -> None:
    with (tree / "kernels/flavors/modular.toml").open("a") as flavor:
        flavor.write(_WAIVER)
    assert not load_flavor(tree, "modular").has_modules()


def test_only_a_kernel_with_modules_has_what_comes_of_them(tree: Path) -> None:
    text = (tree / "images.toml").read_text()
    (tree / "images.toml").write_text(
        text + '[images.mine]\nflavor = "modular"\ninitramfs = "zone"\ncmdline = "quiet"\n'
    )
    steps = load_graph(load_tree(tree), Settings()).steps
    assert "modular-addons" in steps
    assert steps["modular-addons"].needs == ("modular-kernel",)
    assert not {"zone-addons", "host-addons", "xen-addons"} & steps.keys()
    of_modules = {"sdk.tar.gz", "modules.builtin", "modules.builtin.modinfo"}
    assert of_modules <= set(steps["modular-kernel"].outputs)
    for name in ("zone-kernel", "host-kernel", "xen-kernel"):
        assert not of_modules & set(steps[name].outputs)
        assert "sources.json" in steps[name].outputs
