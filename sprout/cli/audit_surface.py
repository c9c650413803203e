"""`sprout audit FLAVOR --surface`: how much of a kernel can be executed, beside Debian's."""

from __future__ import annotations

import json
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.build.cache import cache_root
from sprout.cost.peers_surface import debian_surface
from sprout.kernel.surface import (
    BUDGETS,
    Surface,
    SurfaceBudget,
    count_built,
    load_surface_budget,
)


def audit_surface(root: Path, flavor: str, kernel: Path, release: str, *, as_json: bool) -> int:
    """Print the executable bytes of the kernel in the directory `kernel`, and of Debian's.

    Raises SproutError when one of them is above the flavor's budget.
    """
    budget = load_surface_budget(root, flavor)
    ours = count_built(kernel)
    sizes = {name: (kernel / name).stat().st_size for name in ("image", "vmlinux")}
    name, debian = debian_surface(release, cache_root() / "peers")
    if as_json:
        rows = {flavor: vars(ours), name: vars(debian)}
        print(json.dumps({"surface": rows, "share": ours.total / debian.total, **sizes}, indent=2))
    else:
        print("\n".join(_lines({flavor: ours, name: debian})))
        print(f"{flavor} has {ours.total / debian.total:.1%} of what Debian's kernel has")
        for file, size in sizes.items():
            print(f"{file}: {size:,} bytes")
    _check(flavor, budget, {"executable": ours.total, **sizes})
    return 0


def _lines(rows: dict[str, Surface]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows.values() for name in row.sections))
    lines = [f"{'executable bytes':<24}" + "".join(f"{_short(name):>27}" for name in rows)]
    for name in names:
        sizes = (f"{row.sections.get(name, 0):>27,}" for row in rows.values())
        lines.append(f"{name:<24}" + "".join(sizes))
    modules = (f"{f'{row.modules:,} in {row.count:,}':>27}" for row in rows.values())
    lines.append(f"{'modules':<24}" + "".join(modules))
    return [*lines, f"{'total':<24}" + "".join(f"{row.total:>27,}" for row in rows.values())]


def _short(name: str) -> str:
    return name.partition(" ")[0].removeprefix("linux-image-")[:26]


def _check(flavor: str, budget: SurfaceBudget, found: dict[str, int]) -> None:
    for name, size in found.items():
        limit = getattr(budget, name)
        if size > limit:
            raise SproutError(
                f"{BUDGETS}: {flavor}: {name}: {size:,} bytes are above the budget of {limit:,}",
                "Find what was added (diff the two configurations), or raise the budget.",
            )
