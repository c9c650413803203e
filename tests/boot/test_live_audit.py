"""The live audit: what a kernel refuses, and that each check can tell a kernel that does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import ROOT, Sprout, assert_one_error

from sprout.base.errors import SproutError
from sprout.build.graph import Settings, load_graph
from sprout.build.live import attempt
from sprout.build.tree import load_tree
from sprout.kernel.live import ACTS, check_attempts, read_attempts
from sprout.kernel.rules import read_configuration

_WEAK = Path(__file__).parent / "weak"
_IMAGES = """
epoch = 1767225600
[images.weak]
flavor = "weak"
initramfs = "zone"
cmdline = "console=ttyS0 quiet"
"""
# No configuration of Linux 6.12 allows these.
ALWAYS_REFUSED = {"read-vmcore", "write-command-line", "write-read-only-page", "run-writable-page"}


ALLOWED = {"zone": {"unprivileged-user-namespace"}, "host": set()}


@pytest.mark.parametrize("flavor", ALLOWED)
def test_kernel_refuses_what_it_is_configured_to(sprout: Sprout, flavor: str) -> None:
    output = sprout("audit", flavor, "--live", "--accel", "tcg", "--json")
    assert output.status == 0, output.stderr.decode()
    acts = {row["name"]: row for row in json.loads(output.stdout)["acts"]}
    assert acts.keys() == ACTS.keys()
    assert all(row["agrees"] for row in acts.values())
    allowed = {name for name, row in acts.items() if not row["refused"]}
    assert allowed == ALLOWED[flavor]


def test_every_check_fails_on_a_kernel_that_allows_it(sprout: Sprout, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("kernels", "initramfs", "signing"):
        shutil.copytree(ROOT / name, tree / name)
    (tree / "images.toml").write_text(_IMAGES)
    shutil.copyfile(_WEAK / "weak.toml", tree / "kernels/flavors/weak.toml")
    shutil.copyfile(_WEAK / "weak.config", tree / "kernels/fragments/weak.config")
    output = sprout("--tree", tree, "audit", "weak", "--live", "--accel", "tcg", "--json")
    assert output.status == 0, output.stderr.decode()
    acts = json.loads(output.stdout)["acts"]
    assert {row["name"] for row in acts if row["refused"]} == ALWAYS_REFUSED
    # As a host's kernel is audited, which cannot run a zone's init.
    graph = load_graph(load_tree(tree), Settings())
    config = read_configuration((tree / "build/weak-kernel/config").read_text(), "6.12")
    rows = read_attempts(attempt(graph, "weak", "tcg", as_init=True), config)
    assert {row.name for row in rows if row.refused} == ALWAYS_REFUSED


def told(*changes: str, end: bool = True) -> list[str]:
    """Give the lines of a kernel that refuses everything, with some of them changed."""
    lines = {name: f"sprout-audit: {name} refused 1" for name in ACTS}
    for change in changes:
        lines[change.split()[0]] = f"sprout-audit: {change}"
    return [*lines.values(), *(["[    1.0] sprout-audit: end"] if end else [])]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (told(end=False), "did not end"),
        (told("open-devmem unknown"), "could not be attempted: open-devmem"),
        (told("new-act allowed"), "are unknown: new-act"),
        (told()[1:], "were not told of, or are unknown: open-devmem"),
    ],
)
def test_odd_stories_are_refused(lines: list[str], words: str) -> None:
    with pytest.raises(SproutError, match=words):
        read_attempts(lines, read_configuration("", "6.12"))


def test_what_does_not_agree_is_named() -> None:
    config = read_configuration("CONFIG_KEXEC=y\n# CONFIG_DEVMEM is not set\n", "6.12")
    rows = read_attempts(told("open-devmem allowed"), config)
    with pytest.raises(SproutError, match="says otherwise of open-devmem, kexec,"):
        check_attempts(rows, "zone")


def test_wrong_use(sprout: Sprout) -> None:
    assert_one_error(sprout("audit", "xen", "--live"), "is a flavor of xen")
