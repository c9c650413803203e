"""`sprout update` on two versions of the real Kconfig tree, served signed from loopback."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Sprout, assert_one_error
from site_server import Site, serving

from sprout.build.cache import cache_root
from sprout.kernel.sources import load_lock

OLD, NEW = "6.12.200", "6.12.201"
DOOMED = b"\nconfig DOOMED\n\tdef_bool y\n"


def patched_paths() -> set[str]:
    """Give the paths that the patches of this repository change, as a kernel tree names them."""
    patches = (Path(__file__).parents[2] / "kernels/patches").glob("*.patch")
    return {
        name for patch in patches for name in re.findall(r"(?m)^\+\+\+ b/(\S+)", patch.read_text())
    }


def configurable(tree: Path) -> dict[str, bytes]:
    """Give what `make allnoconfig` reads of a kernel tree, and the files that are patched."""
    wanted = [
        *(tree / name for name in patched_paths()),
        tree / "Makefile",
        *tree.rglob("Kconfig*"),
        *(tree / "scripts").rglob("*"),
        *(tree / "arch/x86").glob("Makefile*"),
        tree / "tools/scripts/Makefile.include",
    ]
    files = [path for path in wanted if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(tree)): path.read_bytes() for path in files}


def with_version(files: dict[str, bytes], version: str) -> dict[str, bytes]:
    sublevel = version.rsplit(".", 1)[1].encode()
    makefile = re.sub(rb"(?m)^SUBLEVEL = .*$", b"SUBLEVEL = " + sublevel, files["Makefile"])
    return {**files, "Makefile": makefile}


@pytest.fixture
def site(tree: Path, tmp_path: Path, zone_kernel: Path) -> Iterator[Site]:
    metadata = json.loads((zone_kernel.parent / "metadata.json").read_bytes())
    source = cache_root() / "sources" / metadata["source"]["sha256"] / "tree"
    assert source.is_dir(), "the kernel was not built with this cache"
    files = configurable(source)
    with serving(tree, tmp_path) as served:
        before = {**files, "init/Kconfig": files["init/Kconfig"] + DOOMED}
        served.publish_files(OLD, with_version(before, OLD))
        changed = dict(files)
        changed["init/Kconfig"] += b"\nconfig PLANTED\n\tdef_bool y\n"
        changed["kernel/Kconfig.hz"] = files["kernel/Kconfig.hz"].replace(
            b"default 250 if HZ_250", b"default 251 if HZ_250"
        )
        changed["init/Kconfig"] = changed["init/Kconfig"].replace(
            b"config FHANDLE\n", b"config FHANDLE_GONE\n"
        )
        served.publish_files("next", with_version(changed, NEW))
        yield served


def test_update_moves_the_lock_and_lists_the_options(
    site: Site, sprout: Sprout, tmp_path: Path
) -> None:
    env = {"SPROUT_CACHE": str(tmp_path / "cache")}
    first = sprout("--tree", site.tree, "update", "zone", env=env)
    assert first.status == 0, first.stderr.decode()
    assert f"nothing -> {OLD}" in first.stdout.decode()
    assert "is for no locked version" not in first.stdout.decode()
    flavor = site.tree / "kernels/flavors/zone.toml"
    text = flavor.read_text()
    flavor.write_text(text.replace(">=6.12.117,<6.13", ">=6.12.117,<6.12.150", 1))
    again = sprout("--tree", site.tree, "update", "zone", env=env)
    assert f"{OLD} from loopback is the newest that verifies" in again.stdout.decode()
    idle = "warning: slub-sysfs-is-a-choice.patch: is for no locked version any more"
    assert again.stdout.decode().count("is for no locked version") == 1
    assert idle in again.stdout.decode()
    flavor.write_text(text)

    # The new version comes out, and lacks an option that the flavor asks for.
    for suffix in ("xz", "sign"):
        (site.served / f"linux-next.tar.{suffix}").rename(site.served / f"linux-{NEW}.tar.{suffix}")
    with (site.served / "sha256sums.asc").open("a") as index:
        index.write(f"{'0' * 64}  linux-{NEW}.tar.xz\n")
    lock = load_lock(site.tree)
    refused = sprout("--tree", site.tree, "update", "zone", env=env)
    assert_one_error(refused, "CONFIG_FHANDLE", "this kernel has no such option")
    assert load_lock(site.tree) == lock

    fragment = site.tree / "kernels/fragments/core.config"
    fragment.write_text(fragment.read_text().replace("CONFIG_FHANDLE=y\n", ""))
    moved = sprout("--tree", site.tree, "update", "zone", env=env)
    assert moved.status == 0, moved.stderr.decode()
    text = moved.stdout.decode()
    assert f"{OLD} from loopback -> {NEW} from loopback" in text
    assert "  new      CONFIG_PLANTED=y" in text
    assert "  lost     CONFIG_DOOMED=y" in text
    assert "  changed  CONFIG_HZ=250 -> 251" in text
    assert [pin.upstream for pin in load_lock(site.tree)] == [NEW]


def test_update_never_goes_back(site: Site, sprout: Sprout, tmp_path: Path) -> None:
    env = {"SPROUT_CACHE": str(tmp_path / "cache")}
    assert sprout("--tree", site.tree, "update", "zone", env=env).status == 0
    lock = (site.tree / "kernels/sources.lock").read_bytes()
    (site.served / "sha256sums.asc").unlink()
    site.publish("6.12.199")
    refused = sprout("--tree", site.tree, "update", "zone", env=env)
    assert_one_error(refused, "the newest version to be had is 6.12.199", f"the lock has {OLD}")
    assert (site.tree / "kernels/sources.lock").read_bytes() == lock


def test_update_of_what_is_not_there(sprout: Sprout) -> None:
    assert_one_error(sprout("update", "nothing"), "there is no flavor nothing")
