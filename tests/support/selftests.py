"""Compiles a chosen list of the kernel's selftests, from the source of a flavor's kernel."""

from __future__ import annotations

import os
import shutil
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from commands import ROOT
from ktap import Expected

from sprout.base.run import check
from sprout.build.cache import cache_root
from sprout.kernel.fetch import Store, obtain, resolve
from sprout.kernel.flavor import load_flavor
from sprout.kernel.patches import patched_tree
from sprout.kernel.sources import load_sources

_SELFTESTS = Path("tools/testing/selftests")
# What selftests include and what their makefiles read, beside themselves.
_BESIDE = (
    *("arch/x86/include", "scripts/subarch.include"),
    *("tools/arch", "tools/include", "tools/scripts"),
)
_HINT = "Run ./sprout.sh, which installs what is missing."


@dataclass(frozen=True)
class Chosen:
    """The selftests to compile and run, by directory, and what is expected of each."""

    programs: Mapping[str, tuple[str, ...]]
    helpers: Mapping[str, tuple[str, ...]]
    plain: tuple[str, ...]
    expected: tuple[Expected, ...]


def load_chosen(path: Path) -> Chosen:
    """Read the list of selftests."""
    table = tomllib.loads(path.read_text())
    fails, skips = table["fails"], table["skips"]
    names = [f"{folder}/{one}" for folder, ones in table["programs"].items() for one in ones]
    assert {*fails, *skips} <= set(names), "something is expected of what is not run"
    expected = tuple(Expected(name, fails.get(name, {}), skips.get(name, {})) for name in names)
    lists = [{key: tuple(ones) for key, ones in table[k].items()} for k in ("programs", "helpers")]
    return Chosen(lists[0], lists[1], tuple(table["plain"]["directories"]), expected)


def compile_selftests(chosen: Chosen, flavor_name: str, work: Path) -> dict[str, bytes]:
    """Compile the selftests for a flavor's kernel below `work` and give what came out, by path."""
    flavor = load_flavor(ROOT, flavor_name)
    source, store = load_sources(ROOT)[flavor.source], Store(cache_root())
    pin = resolve(ROOT, store, source, locked=True)
    tree = patched_tree(obtain(store, source, pin), flavor.patches_for(pin.upstream))
    headers = work / "headers"
    headers.mkdir()
    jobs = f"-j{os.cpu_count() or 1}"
    check(["make", "-s", jobs, "-C", tree, f"O={headers}", "ARCH=x86", "headers"], _HINT)
    # A copy: some makefiles write beside the sources, which builds of kernels share.
    copy = work / "tree"
    for part in (_SELFTESTS, *_BESIDE):
        if (tree / part).is_dir():
            shutil.copytree(tree / part, copy / part, symlinks=True)
        else:
            (copy / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(tree / part, copy / part)
    for folder, programs in chosen.programs.items():
        out = work / "out" / folder
        out.mkdir(parents=True)
        words = ["make", "-s", jobs, f"--directory={copy / _SELFTESTS / folder}", f"OUTPUT={out}"]
        include = f"-isystem {headers}/usr/include"
        words += ["CAN_BUILD_I386=0", f"KHDR_INCLUDES={include}"]
        if folder in chosen.plain:
            words.append(f"CFLAGS=-O2 -D_GNU_SOURCE= {include}")
        named = (*programs, *chosen.helpers.get(folder, ()))
        check([*words, *(str(out / name) for name in named)], _HINT, timeout=300)
        missing = [name for name in named if not (out / name).is_file()]
        assert not missing, f"{folder}: make did not make {missing}"
    files = sorted((work / "out").rglob("*"))
    return {
        str(file.relative_to(work / "out")): file.read_bytes()
        for file in files
        if file.is_file() and file.stat().st_mode & stat.S_IXUSR
    }
