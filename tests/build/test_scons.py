"""SCons and the command do the same work, and do it once."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import ROOT, Sprout

from sprout.base.files import sha256_file
from sprout.base.run import Output, run
from sprout.build.cache import cache_root
from sprout.kernel.flavor import load_flavor

# The steps that compile somebody's source, which take minutes.
COMPILED = ("zone-kernel", "host-kernel", "xen-kernel", "xen-tools")
MADE = re.compile(r"^\S+: (?:making it|from the cache)", re.MULTILINE)


def scons(tree: Path, *words: str) -> Output:
    command = [sys.executable, "-m", "SCons", "-C", str(tree), *words]
    return run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=1500)


def keys(sprout: Sprout, tree: Path, env: dict[str, str] | None = None) -> dict[str, str]:
    output = sprout("--tree", tree, "build", "--list", "--json", env=env)
    assert output.status == 0, output.stderr.decode()
    return {row["target"]: row["key"] for row in json.loads(output.stdout)}


def test_second_build_does_nothing(sprout: Sprout, zone_disk: Path) -> None:
    assert sprout("build").status == 0
    for output in (sprout("build"), scons(ROOT)):
        assert output.status == 0, output.stderr.decode()
        assert not MADE.search(output.stderr.decode())


def test_cleaned_tree_comes_back_from_the_cache(
    tree: Path, sprout: Sprout, zone_disk: Path
) -> None:
    first = scons(tree)
    assert first.status == 0, first.stderr.decode()
    files = [tree / "build" / step / name for step, name in _artifacts()]
    digests = [sha256_file(path) for path in files]
    assert digests == [sha256_file(ROOT / "build" / step / name) for step, name in _artifacts()]
    assert scons(tree, "-c").status == 0
    assert not any(path.exists() for path in files)
    again = scons(tree)
    assert again.status == 0, again.stderr.decode()
    text = again.stderr.decode()
    assert len(re.findall(r": from the cache", text)) == len(
        keys(sprout, tree).keys() - {"counter"}  # which no disk needs
    )
    assert "making it" not in text
    assert [sha256_file(path) for path in files] == digests
    # What a target that is current was made of comes back too, and nothing else is told.
    (tree / "build/stub/stub.efi").unlink()
    output = sprout("--tree", tree, "build", "zone-disk", "zone-kernel")
    assert output.stderr.decode().splitlines() == [
        "stub: from the cache (its files were touched or removed)"
    ]
    assert output.stdout == b""
    # No file that two builds of a tree would write at once.
    assert not [*tree.glob(".scons*"), *tree.glob("build/.scons*")]


def _artifacts() -> list[tuple[str, str]]:
    return [
        ("zone-kernel", "image"),
        ("zone-initramfs", "initramfs.cpio"),
        ("zone-image", "zone.efi"),
        ("zone-disk", "zone.img"),
    ]


def test_same_tree_gives_the_same_bytes_without_a_cache(
    tree: Path, sprout: Sprout, zone_disk: Path, tmp_path: Path
) -> None:
    """All but what compiles is made again, elsewhere, with another umask and time zone."""
    cache = tmp_path / "cache"
    assert sprout("build").status == 0
    steps = keys(sprout, tree)
    for name in COMPILED:
        shutil.copytree(cache_root() / "steps" / steps[name], cache / "steps" / steps[name])
    environment = {"SPROUT_CACHE": str(cache), "TZ": "Pacific/Kiritimati", "LC_ALL": "C"}
    old = os.umask(0o077)
    try:
        output = sprout("--tree", tree, "build", env=environment)
    finally:
        os.umask(old)
    assert output.status == 0, output.stderr.decode()
    assert output.stderr.decode().count("making it") == len(steps) - len(COMPILED) - 1
    for step, name in _artifacts():
        ours, theirs = tree / "build" / step / name, ROOT / "build" / step / name
        assert sha256_file(ours) == sha256_file(theirs), name


def test_fragment_and_compiler_change_the_kernel_and_what_needs_it(
    tree: Path, sprout: Sprout, tmp_path: Path
) -> None:
    before = keys(sprout, tree)
    fragment = tree / "kernels/fragments/core.config"
    fragment.write_text(fragment.read_text().replace("CONFIG_AIO=y", "# CONFIG_AIO is not set"))
    after = keys(sprout, tree)
    changed = {name for name in before if before[name] != after[name]}
    parts = ("kernel", "image", "disk")
    assert changed == {f"{name}-{part}" for name in ("zone", "host") for part in parts}
    wrapper = tmp_path / "bin" / "gcc"
    wrapper.parent.mkdir()
    wrapper.write_text('#!/bin/sh\nexec /usr/bin/gcc "$@"\n')
    wrapper.chmod(0o755)
    other = keys(sprout, tree, {"PATH": f"{wrapper.parent}:{os.environ['PATH']}"})
    compiled = {name for name in after if after[name] != other[name]}
    assert compiled == changed | {"xen-kernel", "xen-tools", "host-initramfs"}


@pytest.mark.parametrize("command", [["sprout", "build"], ["SCons", "-Q"]])
def test_number_of_jobs_is_for_one_step_at_a_time(
    tree: Path, tmp_path: Path, command: list[str]
) -> None:
    env = {**os.environ, "SPROUT_CACHE": str(tmp_path / "cache")}
    words = [sys.executable, "-m", *command, "-j", "3", "stub"]
    output = run(words, cwd=tree, env=env, timeout=300)
    assert output.status == 0, output.stderr.decode()
    assert (tree / "build/stub/stub.efi").is_file()


def test_tree_of_its_own_needs_no_sconstruct(tree: Path, sprout: Sprout, zone_disk: Path) -> None:
    (tree / "SConstruct").unlink()
    output = sprout("--tree", tree, "build", "zone-initramfs")
    assert output.status == 0, output.stderr.decode()
    assert (tree / "build/zone-initramfs/initramfs.cpio").is_file()


def test_metadata_says_what_was_used(zone_kernel: Path) -> None:
    metadata = json.loads((zone_kernel.parent / "metadata.json").read_bytes())
    assert metadata["flavor"] == "zone"
    assert metadata["release"] == f"{metadata['version']}-zone"
    assert re.fullmatch("[0-9a-f]{64}", metadata["source"]["sha256"])
    assert metadata["source"]["origin"] in ("debian", "kernel.org")
    assert metadata["config_sha256"] == sha256_file(zone_kernel.parent / "config")
    config = (zone_kernel.parent / "config").read_text()
    # Whatever else is installed here: another machine's configuration is the same.
    for line in ("CONFIG_RUSTC_VERSION=0\n", "CONFIG_PAHOLE_VERSION=0\n"):
        assert line in config
    used = {patch["file"]: patch["sha256"] for patch in metadata["patches"]}
    patches = load_flavor(ROOT, "zone").patches_for(metadata["version"])
    assert used == {patch.file.name: sha256_file(patch.file) for patch in patches}
    assert "slub-sysfs-is-a-choice.patch" in used
    lock = (ROOT / "kernels/sources.lock").read_text()
    assert metadata["source"]["sha256"] in lock


def test_interrupted_build_leaves_nothing(tree: Path, zone_kernel: Path) -> None:
    fragment = tree / "kernels/fragments/core.config"
    fragment.write_text(fragment.read_text().replace("CONFIG_AIO=y", "# CONFIG_AIO is not set"))
    command = [sys.executable, "-m", "sprout", "--tree", str(tree), "build", "zone-kernel"]
    before = set(cache_root().glob("kernel-*"))  # others may be building with this cache
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("compiling"):
                break
        time.sleep(3)  # long enough for make to have started compilers
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130, rest
    assert "Traceback" not in rest
    assert set(cache_root().glob("kernel-*")) <= before
    assert not (tree / "build/zone-kernel/image").exists()
    assert not _running(str(cache_root() / "kernel-"))


def _running(words: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if words in line:
            found.append(line)
    return found


def test_interrupted_fetch_leaves_nothing(tree: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    command = [sys.executable, "-m", "sprout", "--tree", str(tree), "build", "zone-kernel"]
    environment = {**os.environ, "SPROUT_CACHE": str(cache)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("unpacking"):
                break
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130, rest
    assert "Traceback" not in rest
    assert not list(cache.glob("fetch-*"))
    assert not list((cache / "sources").iterdir())
    assert not _running(str(cache))


def test_tree_whose_path_means_something_to_others(
    tree: Path, sprout: Sprout, zone_disk: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "dol$lar $HOME"
    tree.rename(odd)
    output = sprout("--tree", odd, "build")
    assert output.status == 0, output.stderr.decode()
    assert sha256_file(odd / "build/zone-disk/zone.img") == sha256_file(zone_disk)
    assert sorted(path.name for path in tmp_path.iterdir()) == [odd.name]
