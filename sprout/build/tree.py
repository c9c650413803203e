"""A tree: the folder with `images.toml` and the data that users edit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sprout.base.errors import UsageError
from sprout.base.table import Table, load_table
from sprout.build.zones import Host, Zone, load_host, load_zones

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_MODULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MAX_CMDLINE = 2047  # COMMAND_LINE_SIZE of x86 is 2048 with its NUL


@dataclass(frozen=True)
class Image:
    """One boot image: the flavor of its kernel, its initramfs list, and the command line.

    `modules` are the kernel modules that lie in it, below /lib/modules. `host` is what makes it the
    image of a host; flavor, initramfs and command line are then those of the host's own kernel.
    """

    name: str
    flavor: str
    initramfs: str
    cmdline: str
    os_id: str
    os_name: str
    modules: tuple[str, ...] = ()
    host: Host | None = None

    def with_cmdline(self, cmdline: str) -> Image:
        """Give the same image with another command line.

        Raises UsageError when that is no command line a kernel takes.
        """
        problem = _cmdline_problem(cmdline)
        if problem is not None:
            raise UsageError(f"{self.name}: the command line {problem}", "Mend it.")
        return replace(self, cmdline=cmdline)


@dataclass(frozen=True)
class Tree:
    """What `images.toml` says; `epoch` is SOURCE_DATE_EPOCH for every artifact.

    `zones` are all of them, those too that no image starts.
    """

    root: Path
    epoch: int
    images: dict[str, Image]
    zones: dict[str, Zone]

    @property
    def build(self) -> Path:
        """Give the directory that artifacts are built into."""
        return self.root / "build"


def load_tree(root: Path) -> Tree:
    """Read the tree at `root`.

    Raises UsageError when there is none, SproutError when its `images.toml` is malformed.
    """
    path = root / "images.toml"
    if not path.is_file():
        raise UsageError(
            f"{root}: is no tree: it has no images.toml",
            "Run this inside a checkout, or name one with --tree DIR.",
        )
    table = load_table(path)
    epoch = table.number("epoch")
    zones = load_zones(table)
    images = {name: _image(name, entry, zones) for name, entry in table.table("images").items()}
    table.finish()
    if not images:
        raise table.error("images", "names no image", "Add an [images.NAME] table.")
    return Tree(root, epoch, images, zones)


def _image(name: str, table: Table, zones: Mapping[str, Zone]) -> Image:
    image = Image(
        name=name,
        flavor=table.text("flavor"),
        initramfs=table.text("initramfs"),
        cmdline=table.text("cmdline", ""),
        os_id=table.text("os_id", "sprout"),
        os_name=table.text("os_name", f"Sprout {name}"),
        modules=table.texts("modules", ()),
        host=load_host(table, zones),
    )
    table.finish()
    for key in ("flavor", "initramfs"):
        if not _NAME.fullmatch(getattr(image, key)):
            raise table.error(key, "is no name", "Use lower-case letters, digits and dashes.")
    if not _NAME.fullmatch(name):
        raise table.error("", f"{name} is no name", "Use lower-case letters, digits and dashes.")
    if any(not _MODULE.fullmatch(module) for module in image.modules):
        raise table.error("modules", "holds what is no name", "Name modules as modprobe does.")
    if len(set(image.modules)) != len(image.modules):
        raise table.error("modules", "names one twice", "Name each once.")
    problem = _cmdline_problem(image.cmdline)
    if problem is not None:
        raise table.error("cmdline", problem, "Mend it; it is what the kernel is started with.")
    return image


def _cmdline_problem(text: str) -> str | None:
    if text and not (text.isascii() and text.isprintable()):
        return "is not printable ASCII"
    return f"is longer than {_MAX_CMDLINE} characters" if len(text) > _MAX_CMDLINE else None
