"""Takes the modules out of a kernel's build directory."""

from __future__ import annotations

from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.base.run import check
from sprout.kernel.modules import module_name, write_modules

# What make lists of the modules that are built in, for depmod.
BUILT_IN = ("modules.builtin", "modules.builtin.modinfo")
_MAX_MODULE_BYTES = 64 << 20
_MAX_LIST_BYTES = 1 << 20


def pack_modules(out: Path, target: Path, *, epoch: int) -> None:
    """Write the archive `target` of the modules that make has built in `out`: none where it has
    built none.

    `modules.order` names their objects (kernel Documentation/kbuild/kbuild.rst). Raises
    SproutError when two have the same name or one cannot be read.
    """
    order = out / "modules.order"
    objects = read_bounded(order, _MAX_LIST_BYTES).decode().split() if order.exists() else []
    modules: dict[str, bytes] = {}
    needs: dict[str, list[str]] = {}
    for line in objects:
        file = (out / line).with_suffix(".ko")
        name = module_name(file.stem)
        if name in modules:
            raise SproutError(f"{line}: there are two modules {name}", "Ask for one of them.")
        modules[name] = read_bounded(file, _MAX_MODULE_BYTES)
        needs[name] = _needs(file, out / "modinfo")
    write_modules(target, modules, needs, epoch=epoch)


def _needs(module: Path, scratch: Path) -> list[str]:
    """Give the modules that one needs by its `.modinfo`, NAME=VALUE strings that NUL ends."""
    check(
        ["objcopy", "-O", "binary", "--only-section=.modinfo", str(module), str(scratch)],
        "Reinstall binutils.",
    )
    strings = read_bounded(scratch, _MAX_LIST_BYTES).decode(errors="replace").split("\0")
    found = [string.removeprefix("depends=") for string in strings if string.startswith("depends=")]
    return [module_name(need) for value in found for need in value.split(",") if need]
