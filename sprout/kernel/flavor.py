"""A kernel flavor: `kernels/flavors/NAME.toml` and the fragments and patches that it names."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.table import Table, load_table
from sprout.kernel.fragment import Fragment, Request, load_fragment
from sprout.kernel.patches import Patch, constraint

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_LOCALVERSION = re.compile(r"-[A-Za-z0-9.-]{1,40}")
_OPTION = re.compile(r"CONFIG_[A-Za-z0-9_]{1,100}")
BASES = ("allnoconfig", "alldefconfig", "defconfig")
ARCHITECTURES = ("x86_64",)
KINDS = ("linux", "xen")
HYPERVISORS = ("built", "packaged")


@dataclass(frozen=True)
class Waiver:
    """Leave to miss one option: why, and the last day on which it holds."""

    option: str
    reason: str
    until: datetime.date


@dataclass(frozen=True)
class Flavor:
    """What kernel to build: the named source, architecture, configuration and patches.

    `kind` is whose kernel it is, `linux` or `xen`. A hypervisor is `built`, or `packaged`: then
    the distribution's own is taken from the source SOURCE-packaged, as it is. Its tools are built
    from `tools_source` in either case; a Linux kernel has none.
    """

    name: str
    path: Path
    kind: str
    hypervisor: str
    source: str
    tools_source: str
    arch: str
    base: str
    localversion: str
    fragments: tuple[Fragment, ...]
    patches: tuple[Patch, ...]
    waivers: tuple[Waiver, ...]

    def requests(self) -> list[Request]:
        """Give every option asked for, with who asked; two that disagree are an error."""
        asked: dict[str, Request] = {}
        for fragment in self.fragments:
            for request in fragment.requests:
                other = asked.setdefault(request.option, request)
                if other.value != request.value:
                    raise SproutError(
                        f"{request.where}: {request.option}={request.value} contradicts "
                        f"{other.option}={other.value} at {other.where}",
                        "Keep one of the two.",
                    )
        if self.localversion:
            text = f'"{self.localversion}"'
            asked["CONFIG_LOCALVERSION"] = Request("CONFIG_LOCALVERSION", text, str(self.path))
        return list(asked.values())

    def has_modules(self) -> bool:
        """Tell whether the flavor asks for a kernel that loads modules, and may not miss that."""
        option = "CONFIG_MODULES"
        asked = [
            r.value for fragment in self.fragments for r in fragment.requests if r.option == option
        ]
        return "y" in asked and all(waiver.option != option for waiver in self.waivers)

    def patches_for(self, version: str) -> list[Patch]:
        """Give the patches meant for an upstream version, in order."""
        return [patch for patch in self.patches if patch.applies_to(version)]

    def check_waivers(self, today: datetime.date) -> None:
        """Refuse a waiver whose end date has passed, before anything is built or taken as built."""
        for waiver in self.waivers:
            if waiver.until < today:
                raise SproutError(
                    f"{self.path}: the waiver for {waiver.option} ended on {waiver.until}",
                    "Mend the option, or renew the waiver with a reason that still holds.",
                )

    def input_files(self) -> list[Path]:
        """Give every file whose content decides what this flavor is."""
        return [
            self.path,
            *(fragment.path for fragment in self.fragments),
            *(patch.file for patch in self.patches),
        ]


def load_flavor(tree: Path, name: str) -> Flavor:
    """Read a flavor of the tree at `tree`.

    Raises SproutError naming file and field for anything unknown, missing or malformed.
    """
    path = tree / "kernels" / "flavors" / f"{name}.toml"
    if not _NAME.fullmatch(name) or not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.toml"))
        raise SproutError(
            f"{path}: there is no flavor {name}", f"Flavors here: {', '.join(known) or 'none'}."
        )
    table = load_table(path)
    kind = _one_of(table, "kind", KINDS) if table.has("kind") else KINDS[0]
    source = table.text("source")
    hypervisor = HYPERVISORS[0]
    if kind == "xen" and table.has("hypervisor"):
        hypervisor = _one_of(table, "hypervisor", HYPERVISORS)
    flavor = Flavor(
        name=name,
        path=path,
        kind=kind,
        hypervisor=hypervisor,
        source=f"{source}-packaged" if hypervisor == "packaged" else source,
        tools_source=source if kind == "xen" else "",
        arch=_one_of(table, "arch", ARCHITECTURES),
        base=_one_of(table, "base", BASES),
        # Xen has no such option.
        localversion=table.text("localversion") if kind == "linux" else "",
        fragments=tuple(
            load_fragment(_named(table, tree, "fragments", f"{fragment}.config"))
            for fragment in table.texts("fragments")
        ),
        patches=tuple(_patch(entry, tree) for entry in table.tables("patches")),
        waivers=tuple(_waiver(entry) for entry in table.tables("waivers")),
    )
    table.finish()
    if kind == "linux" and not _LOCALVERSION.fullmatch(flavor.localversion):
        raise table.error("localversion", "is not a suffix such as -zone", "Begin with a dash.")
    return flavor


def _one_of(table: Table, key: str, known: tuple[str, ...]) -> str:
    value = table.text(key)
    if value not in known:
        raise table.error(key, f"{value} is unknown", f"Known: {', '.join(known)}.")
    return value


def _named(table: Table, tree: Path, folder: str, name: str) -> Path:
    """Give `kernels/FOLDER/NAME`, refusing a name that leaves the folder or does not exist."""
    path = tree / "kernels" / folder / name
    parts = Path(name).parts
    if ".." in parts or Path(name).is_absolute() or len(name) > 200 or not path.is_file():
        raise table.error(folder, f"there is no {path}", "Create it, or mend the name.")
    return path


def _patch(table: Table, tree: Path) -> Patch:
    text = table.text("versions")
    versions = constraint(text)
    if versions is None:
        raise table.error("versions", f"{text} is no constraint", 'Write e.g. ">=6.12,<6.13".')
    patch = Patch(_named(table, tree, "patches", table.text("file")), versions, _reason(table))
    table.finish()
    return patch


def _waiver(table: Table) -> Waiver:
    waiver = Waiver(table.text("option"), _reason(table), table.date("until"))
    table.finish()
    if not _OPTION.fullmatch(waiver.option):
        raise table.error("option", f"{waiver.option} is no option", "Write CONFIG_NAME.")
    return waiver


def _reason(table: Table) -> str:
    reason = table.text("reason").strip()
    if not reason:
        raise table.error("reason", "is empty", "Say why in one line.")
    return reason
