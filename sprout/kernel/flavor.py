"""A kernel flavor: `kernels/flavors/NAME.toml` and the fragments and patches that it names."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.table import Table, load_table
from sprout.kernel.fragment import Fragment, Request, load_fragment
from sprout.kernel.patches import Patch
from sprout.kernel.versions import read_versions

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
    from `tools_source` in either case; a Linux kernel has none. `paths` are the files that say all
    this: the flavor's own, and after it that of the flavor which it is like.
    """

    name: str
    paths: tuple[Path, ...]
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

    @property
    def path(self) -> Path:
        """Give the flavor's own file."""
        return self.paths[0]

    def requests(self, version: str) -> list[Request]:
        """Give every option asked for in an upstream version, with who asked.

        Raises SproutError where two disagree.
        """
        asked: dict[str, Request] = {}
        for fragment in self.fragments:
            for request in fragment.requests:
                if not request.applies_to(version):
                    continue
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


def load_flavor(tree: Path, name: str) -> Flavor:
    """Read a flavor of the tree at `tree`, with that which it is `like`, if any.

    Raises SproutError naming file and field for anything unknown, missing or malformed.
    """
    tables = _tables(tree, name)
    kind = _one_of(tables, "kind", KINDS) if _has(tables, "kind") else KINDS[0]
    source = _text(tables, "source")
    hypervisor = HYPERVISORS[0]
    if kind == "xen" and _has(tables, "hypervisor"):
        hypervisor = _one_of(tables, "hypervisor", HYPERVISORS)
    flavor = Flavor(
        name=name,
        paths=tuple(table.where for table in tables),
        kind=kind,
        hypervisor=hypervisor,
        source=f"{source}-packaged" if hypervisor == "packaged" else source,
        tools_source=source if kind == "xen" else "",
        arch=_one_of(tables, "arch", ARCHITECTURES),
        base=_one_of(tables, "base", BASES),
        # Xen has no such option.
        localversion=_text(tables, "localversion") if kind == "linux" else "",
        fragments=tuple(
            load_fragment(_named(table, tree, "fragments", f"{fragment}.config"))
            for table in reversed(tables)
            for fragment in table.texts("fragments", () if len(tables) > 1 else None)
        ),
        patches=tuple(
            _patch(row, tree) for table in reversed(tables) for row in table.tables("patches")
        ),
        waivers=tuple(
            _waiver(row) for table in reversed(tables) for row in table.tables("waivers")
        ),
    )
    for table in tables:
        table.finish()
    if kind == "linux" and not _LOCALVERSION.fullmatch(flavor.localversion):
        raise tables[0].error("localversion", "is not a suffix such as -zone", "Begin with a dash.")
    return flavor


def _tables(tree: Path, name: str) -> list[Table]:
    """Give the flavor's own table, and after it that of the flavor which it is like."""
    own = _table(tree, name)
    if not own.has("like"):
        return [own]
    like = own.text("like")
    other = _table(tree, like)
    if other.has("like"):
        raise own.error("like", f"{like} is itself like another", "Name that other one.")
    return [own, other]


def _table(tree: Path, name: str) -> Table:
    path = tree / "kernels" / "flavors" / f"{name}.toml"
    if not _NAME.fullmatch(name) or not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.toml"))
        raise SproutError(
            f"{path}: there is no flavor {name}", f"Flavors here: {', '.join(known) or 'none'}."
        )
    return load_table(path)


def _has(tables: list[Table], key: str) -> bool:
    return any(table.has(key) for table in tables)


def _text(tables: list[Table], key: str) -> str:
    """Give what the first of the tables says that has the key; each is read, and so known."""
    said = [table.text(key) for table in tables if table.has(key)]
    return said[0] if said else tables[-1].text(key)


def _one_of(tables: list[Table], key: str, known: tuple[str, ...]) -> str:
    value = _text(tables, key)
    if value not in known:
        where = next(table for table in tables if table.has(key))
        raise where.error(key, f"{value} is unknown", f"Known: {', '.join(known)}.")
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
    versions = read_versions(text)
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
