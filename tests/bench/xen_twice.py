#!/usr/bin/env python3
"""Builds Xen and its tools twice, in two places with nothing kept between, and compares the bytes.

tests/bench/xen_twice.py [DIRECTORY]
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from sprout.build.cache import cache_root
from sprout.kernel import xen, xen_tools
from sprout.kernel.fetch import Store, resolve
from sprout.kernel.flavor import load_flavor
from sprout.kernel.kbuild import job_count
from sprout.kernel.order import Order
from sprout.kernel.sources import load_sources

ROOT = Path(__file__).resolve().parents[2]


def build(place: Path) -> dict[str, bytes]:
    """Build both in `place` and give what came out."""
    flavor = load_flavor(ROOT, "xen")
    source = load_sources(ROOT)[flavor.tools_source]
    pin = resolve(ROOT, Store(cache_root()), source, locked=True)
    order = Order(flavor, source, pin, 1767225600)
    os.environ["CCACHE_DIR"] = str(place / "ccache")
    jobs, found = job_count(None), {}
    for name, make in (("xen", xen.build_hypervisor), ("tools", xen_tools.build_tools)):
        target = place / name
        target.mkdir(parents=True)
        make(order, Store(place / "store"), target, jobs=jobs, log=place / f"{name}.log")
        found.update({f"{name}/{file.name}": file.read_bytes() for file in target.iterdir()})
    return found


def main() -> int:
    """Build twice and give 1 where a byte differs."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if sys.argv[1:] else None) as name:
        one, other = build(Path(name) / "one"), build(Path(name) / "another/place")
    for file in sorted(one.keys() | other.keys()):
        same = one.get(file) == other.get(file)
        print(f"{file}: {'the same bytes' if same else 'DIFFERENT'}")
    return 0 if one == other else 1


if __name__ == "__main__":
    sys.exit(main())
