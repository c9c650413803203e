"""The flavors build with more than one series of Linux, where the distribution has them."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest
from commands import ROOT, Sprout, assert_one_error

from sprout.base.run import run
from sprout.build.kernel_steps import named_source, store
from sprout.kernel.configure import configure
from sprout.kernel.fetch import obtain, resolve
from sprout.kernel.flavor import load_flavor
from sprout.kernel.kbuild import Kbuild
from sprout.kernel.patches import patched_tree
from sprout.kernel.sources import load_sources

_EPOCH = 1767225600
_OLDER = {"zone": "zone-6-1", "host": "host-6-1"}


def has_older() -> bool:
    """Tell whether this machine's distribution has Linux 6.1 as a source."""
    # Not by apt's status: it takes what is no name for a pattern, and finds linux-source-6.12.
    shown = run(["apt-cache", "show", "linux-source-6.1"]).stdout.decode()
    return "Package: linux-source-6.1\n" in shown


def configured(tree: Path, name: str, work: Path) -> dict[str, str]:
    """Give the final configuration of a flavor, which keeps the contract."""
    flavor = load_flavor(tree, name)
    source = named_source(load_sources(tree), flavor)
    pin = resolve(tree, store(), source, locked=False)
    unpacked = patched_tree(obtain(store(), source, pin), flavor.patches_for(pin.upstream))
    kbuild = Kbuild(unpacked, work / name, flavor.arch, _EPOCH, work / f"{name}.log")
    return configure(kbuild, flavor, pin.upstream)


@pytest.mark.parametrize("name", _OLDER)
def test_contract_holds_in_both(tree: Path, name: str, tmp_path: Path, sprout: Sprout) -> None:
    newer = configured(tree, name, tmp_path)
    assert newer["CONFIG_MITIGATION_RETPOLINE"] == newer["CONFIG_LIST_HARDENED"] == "y"
    if not has_older():
        assert_one_error(sprout("--tree", tree, "update", _OLDER[name]), "linux-6.1")
        return
    older = configured(tree, _OLDER[name], tmp_path)
    assert older["CONFIG_RETPOLINE"] == older["CONFIG_DEBUG_LIST"] == "y"
    assert "CONFIG_MITIGATION_RETPOLINE" not in older
    same = {"CONFIG_LOCALVERSION", "CONFIG_RANDOMIZE_BASE", "CONFIG_SECURITY_LANDLOCK"}
    assert {option: older[option] for option in same} == {option: newer[option] for option in same}


def test_older_series_boots_as_the_page_says(tree: Path, sprout: Sprout) -> None:
    section = (ROOT / "docs/kernels.md").read_text().split("\n## Another series\n")[1]
    section = section.split("\n## ")[0]
    (image,) = re.findall(r"^( +\[images\.older\]\n(?: +.*\n)+)", section, re.MULTILINE)
    with (tree / "images.toml").open("a") as images:
        images.write(f"\n{textwrap.dedent(image)}")
    (command,) = re.findall(r"^\$ sprout (.*)$", section, re.MULTILINE)
    output = sprout("--tree", tree, *command.split())
    if not has_older():
        assert_one_error(output, "linux-6.1")
        return
    assert output.status == 0, output.stderr.decode()
    facts = json.loads((tree / "build/zone-6-1-kernel/metadata.json").read_bytes())
    assert facts["version"].startswith("6.1.")
    assert facts["release"].endswith("-zone")
    table = output.stdout.decode()
    assert all(phase in table for phase in ("firmware", "stub", "kernel", "init")), table
    # And it keeps the same rules, of which those that a boot can show are in force.
    output = sprout("--tree", tree, "audit", "zone-6-1")
    assert output.status == 0, output.stderr.decode()
    output = sprout("--tree", tree, "audit", "zone-6-1", "--live", "--accel", "tcg", "--json")
    assert output.status == 0, output.stderr.decode()
    acts = json.loads(output.stdout)["acts"]
    assert {row["name"] for row in acts if not row["refused"]} == {"unprivileged-user-namespace"}
