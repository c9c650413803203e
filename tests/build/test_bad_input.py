"""Bad input meets the real command on the real condition: one error, one hint, nothing left."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from commands import ROOT, Sprout, assert_one_error, command

from sprout.base.run import Output, run
from sprout.build.cache import Cache, cache_root

PATCH = """\
--- a/init/main.c
+++ b/init/main.c
@@ -1,3 +1,4 @@
 // this line
 // is not in the kernel
+// added
 // at all
"""


def add_options(tree: Path, *lines: str) -> Path:
    """Make the tree's flavor ask for more, in a fragment of its own."""
    fragment = tree / "kernels/fragments/more.config"
    fragment.write_text("# Why.\n" + "".join(f"{line}\n" for line in lines))
    flavor = tree / "kernels/flavors/zone.toml"
    flavor.write_text(flavor.read_text().replace('"core",', '"core", "more",'))
    return fragment


def add_patch(tree: Path, text: str, name: str = "more.patch") -> None:
    """Make the tree's flavor apply a patch."""
    (tree / "kernels/patches").mkdir(exist_ok=True)
    (tree / "kernels/patches" / name).write_text(text)
    flavor = tree / "kernels/flavors/zone.toml"
    entry = f'\n[[patches]]\nfile = "{name}"\nversions = ">=6.12,<6.13"\nreason = "test"\n'
    flavor.write_text(flavor.read_text() + entry)


def isolated(script: str, *words: str | Path, env: dict[str, str] | None = None) -> Output:
    """Run the real command in namespaces of its own, where `script` may change the machine."""
    inside = f'{script} && exec "$@"'
    return run(
        ["unshare", "-rmn", "sh", "-c", inside, "sh", sys.executable, "-m", "sprout", *words],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        timeout=600,
    )


def left_behind(tree: Path, cache: Path) -> list[Path]:
    """Give everything half-done in a tree and its cache."""
    places = [*tree.rglob("*.tmp"), *cache.rglob("*.tmp"), *cache.glob("fetch-*")]
    return [*places, *cache.glob("kernel-*"), *(tree / "build").glob("*/image")]


def test_unknown_and_unmet_options_name_who_asked(
    tree: Path, sprout: Sprout, zone_kernel: Path
) -> None:
    add_options(
        tree,
        "CONFIG_NO_SUCH_OPTION=y",
        "CONFIG_ACPI_BUTTON=y",
        "# CONFIG_XEN_XENBUS_FRONTEND is not set",
    )
    output = sprout("--tree", tree, "build", "zone-kernel")
    assert_one_error(
        output,
        "more.config:2: CONFIG_NO_SUCH_OPTION was asked to be y and came out not set",
        "this kernel has no such option",
        "more.config:3: CONFIG_ACPI_BUTTON",
        "unmet: INPUT [=n]",
        "more.config:4: CONFIG_XEN_XENBUS_FRONTEND was asked to be not set and came out y",
        "selected by",
    )
    assert not list((tree / "build/zone-kernel").glob("*"))


def test_waiver_that_waives_nothing(tree: Path, sprout: Sprout, zone_kernel: Path) -> None:
    flavor = tree / "kernels/flavors/zone.toml"
    waiver = '[[waivers]]\noption = "CONFIG_NET"\nreason = "a"\nuntil = 2999-01-01\n'
    flavor.write_text(flavor.read_text() + waiver)
    output = sprout("--tree", tree, "build", "zone-kernel")
    assert_one_error(output, "zone.toml", "CONFIG_NET waives nothing")


def test_waiver_that_has_ended(tree: Path, sprout: Sprout) -> None:
    flavor = tree / "kernels/flavors/zone.toml"
    waiver = '[[waivers]]\noption = "CONFIG_NET"\nreason = "a"\nuntil = 2026-01-01\n'
    flavor.write_text(flavor.read_text() + waiver)
    output = sprout("--tree", tree, "build", "zone-kernel")
    assert_one_error(output, "zone.toml", "CONFIG_NET ended on 2026-01-01")


def test_fragment_line_that_does_not_parse(tree: Path, sprout: Sprout) -> None:
    add_options(tree, "CONFIG_NET=maybe")
    output = sprout("--tree", tree, "build", "zone-kernel")
    assert_one_error(output, "more.config:2", "CONFIG_NET=maybe")


def test_flavor_that_names_a_missing_file(tree: Path, sprout: Sprout) -> None:
    (tree / "kernels/fragments/core.config").unlink()
    output = sprout("--tree", tree, "build", "zone-kernel")
    assert_one_error(output, "zone.toml: fragments", "core.config")


def test_patch_that_does_not_apply(tree: Path, sprout: Sprout, zone_kernel: Path) -> None:
    add_patch(tree, PATCH)
    output = sprout("--tree", tree, "build", "zone-kernel")
    assert_one_error(output, "more.patch", "init/main.c", "Hunk #1 FAILED")


def test_patch_that_breaks_the_kernel_names_the_log(
    tree: Path, sprout: Sprout, zone_kernel: Path
) -> None:
    add_patch(
        tree,
        "--- a/init/broken.h\n+++ b/init/broken.h\n@@ -0,0 +1 @@\n+#error planted\n"
        "--- a/arch/x86/kernel/asm-offsets.c\n+++ b/arch/x86/kernel/asm-offsets.c\n"
        "@@ -1,3 +1,4 @@\n // SPDX-License-Identifier: GPL-2.0\n"
        '+#include "../../../init/broken.h"\n /*\n  * Generate definitions needed by '
        "assembly language modules.\n",
    )
    output = sprout("--tree", tree, "build", "zone-kernel")
    log = tree / "build/log/zone-kernel.log"
    assert_one_error(output, "compiling zone", "failed: arch/x86/kernel/", "#error planted")
    assert str(log) in output.stderr.decode()
    assert "planted" in log.read_text()


def test_no_network(tree: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before = (tree / "kernels/sources.lock").read_bytes()
    output = isolated(
        "true", "--tree", tree, "build", "zone-kernel", env={"SPROUT_CACHE": str(cache)}
    )
    assert_one_error(output, "linux-6.12: no origin has a version that verifies")
    assert (tree / "kernels/sources.lock").read_bytes() == before
    assert left_behind(tree, cache) == []


def test_full_disk_while_fetching(tree: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    # The network stays: only the place to put the source is too small.
    output = run(
        ["unshare", "-rm", "sh", "-c"]
        + [f'mount -t tmpfs -o size=20m none {cache} && "$@"; s=$?; ls {cache} >&2; exit $s', "sh"]
        + [sys.executable, "-m", "sprout", "--tree", str(tree), "build", "zone-kernel"],
        cwd=ROOT,
        env={**os.environ, "SPROUT_CACHE": str(cache)},
        timeout=600,
    )
    assert_one_error(output)
    assert "space" in output.stderr.decode()
    assert "fetch-" not in output.stderr.decode().rsplit("hint:", 1)[1]


def test_full_disk_while_building(tree: Path, zone_disk: Path) -> None:
    build = tree / "build"
    build.mkdir()
    output = run(
        ["unshare", "-rm", "sh", "-c"]
        + [f'mount -t tmpfs -o size=12m none {build} && "$@"; s=$?; ls {build}/* >&2; exit $s']
        + ["sh", sys.executable, "-m", "sprout", "--tree", str(tree), "build", "zone-kernel"],
        cwd=ROOT,
        timeout=600,
    )
    assert_one_error(output, "No space left on device")
    # The full disk is the tree's: what the cache holds is as good as before.
    listed = json.loads(command("build", "--list", "--json").stdout)
    kernel = next(row["key"] for row in listed if row["target"] == "zone-kernel")
    assert Cache(cache_root()).has(kernel)
    assert "image" not in output.stderr.decode().rsplit("hint:", 1)[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("frobnicate",), "invalid choice"),
        ((), "required: VERB"),
        (("build", "-j", "0"), "not a whole number"),
        (("--tree", "build", "boot", "zone"), "is no tree"),
        (("boot", "zone", "--timeout", "nan"), "not a whole number"),
        (("boot", "zone", "--json", "/proc"), "cannot be a file"),
        (("build", "nonsense"), "nonsense: no such target"),
        (("boot", "nonsense"), "nonsense: no such image"),
        (("--tree", "/proc", "build"), "is no tree"),
        (("test", "nonsense"), "no such part"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], says: str, sprout: Sprout) -> None:
    output = sprout(*words)
    assert output.status == 2
    assert_one_error(output, says, status=2)


def test_tree_file_that_is_no_toml(tree: Path, sprout: Sprout) -> None:
    (tree / "images.toml").write_text("epoch = ")
    assert_one_error(sprout("--tree", tree, "build"), "images.toml: is not TOML")


def test_locked_refuses_a_source_that_the_lock_does_not_name(tree: Path, sprout: Sprout) -> None:
    (tree / "kernels/sources.lock").unlink()
    output = sprout("--tree", tree, "build", "--locked", "zone-kernel")
    assert_one_error(output, "sources.lock: has no linux-6.12")
    assert not (tree / "kernels/sources.lock").exists()
