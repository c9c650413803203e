#!/usr/bin/env python3
"""Starts and ends one zone of a host many times, and looks at what that leaves behind.

    tests/bench/soak.py [STARTS]

Another zone runs all the while. Prints what Xen has free, the nodes of the store and the grants
that are in use before and after; exit status 1 where they differ.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT), str(ROOT / "tests/support")]

from host_machine import (  # noqa: E402
    AGAIN,
    PV,
    built_parts,
    least_kept,
    make_entries,
    restarts,
    run_host,
    supervised,
    with_looks,
    with_zones,
)


def main() -> int:
    """Run it and print a table."""
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    parts, asked = built_parts(), restarts(starts)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        entries = with_looks(parts, make_entries(parts, work), work)
        machine = functools.partial(run_host, parts, work)
        begun = time.monotonic()
        *heard, last = supervised(
            machine,
            with_zones(entries, PV, AGAIN),
            work / "channel",
            asked,
            limit_s=60 + 10 * starts,
        )
        took = time.monotonic() - begun
    text = str(last["text"])
    free = [int(str(line["free_kib"])) for line in heard if line.get("event") == "memory"]
    first = (max(free[:5]), *least_kept(text, 2))
    then = (max(free[5:]), *least_kept(text, 2 + starts))
    print(f"{starts} starts in {took:.0f} s")
    for what, before, after in zip(
        ("free KiB", "nodes", "grants", "tables"), first, then, strict=True
    ):
        print(f"{what:10} before {before}, after {after}")
    return 0 if first == then else 1


if __name__ == "__main__":
    sys.exit(main())
