"""Build an image, boot its disk in QEMU as a UEFI machine would, and print the timeline.

IMAGE is the name of an image of this tree (default: its first one), or a file: a boot image (.efi)
or a bootable disk. The machine is ended as soon as the guest says that it is ready, the image of a
host when its zones are; with --until exit it runs until the guest powers off.

With --secure-boot the machine trusts the keys --key and boots nothing else: an image of the tree is
signed first, a file is booted as it is. What firmware or stub refuses ends with exit status 3.

With --exact the boot is counted in instructions and waits under deterministic emulation: the same
image gives the same numbers on any machine with the same QEMU and firmware, under any load.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sprout.base.errors import SproutError, UsageError
from sprout.base.files import read_bounded
from sprout.build.artifacts import lay_out_image
from sprout.build.cache import cache_root
from sprout.build.driver import build
from sprout.build.graph import load_graph
from sprout.build.tree import Image, Tree
from sprout.cli.build import add_settings, positive, settings
from sprout.cli.colour import coloured
from sprout.cli.where import chosen_tree
from sprout.cli.words import is_changed, with_words
from sprout.image.disk import make_disk, read_disk
from sprout.image.gpt import is_gpt
from sprout.image.reading import parse_image, read_image
from sprout.image.uki import MAX_IMAGE_BYTES
from sprout.initramfs.cpio import read_cpio
from sprout.vm.accel import CHOICES
from sprout.vm.boot import BootResult, boot
from sprout.vm.hypervisor import MEMORY_MIB as HOST_MEMORY_MIB
from sprout.vm.hypervisor import memory_for
from sprout.vm.timeline import write_json

_TIMEOUT_S = 120
_MEMORY_MIB = 512


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("image", nargs="?", metavar="IMAGE", help="image name, .efi file or disk")
    parser.add_argument(
        "--accel", choices=CHOICES, default="auto", help="auto tries KVM and falls back to TCG"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the timeline as JSON")
    parser.add_argument("--console", action="store_true", help="show the guest's console")
    parser.add_argument(
        "--until", choices=("ready", "exit"), default="ready", help="when to stop (ready)"
    )
    parser.add_argument(
        "--timeout",
        type=positive,
        default=_TIMEOUT_S,
        metavar="S",
        help="time limit in seconds (%(default)s)",
    )
    parser.add_argument(
        "--memory",
        type=positive,
        metavar="MIB",
        help="memory in MiB (512; of a host 1024; of a zone with --exact 256)",
    )
    parser.add_argument(
        "--cpus", type=positive, default=1, metavar="N", help="processors (%(default)s)"
    )
    parser.add_argument(
        "--initramfs", type=Path, metavar="FILE", help="another initramfs in place of the image's"
    )
    parser.add_argument(
        "--exact", action="store_true", help="count instructions, the same each time (TCG)"
    )
    parser.add_argument(
        "--via", choices=("uefi", "pvh"), default="uefi", help="with --exact: how to boot (uefi)"
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="with --exact: draw the timeline")
    parser.add_argument(
        "--append", default="", metavar="TEXT", help="more words for the image's command line"
    )
    parser.add_argument(
        "--append-hypervisor",
        default="",
        metavar="TEXT",
        help="more words for the hypervisor's command line",
    )
    parser.add_argument(
        "--zones", type=positive, metavar="N", help="of a host: N zones, more like the last"
    )
    parser.add_argument(
        "--secure-boot", action="store_true", help="boot a machine that enforces signatures"
    )
    parser.add_argument("--key", metavar="KEY", help="with --secure-boot: whom the machine trusts")
    parser.add_argument(
        *("--passphrase-file", "--pin-file"),
        type=Path,
        metavar="FILE",
        help="with --secure-boot: opens --key",
    )
    add_settings(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Boot and print the timeline."""
    name = arguments.image
    _check_reports(arguments)
    _check_secure(arguments)
    if arguments.exact:
        return _exact(arguments)
    if name is not None and ("/" in name or name.endswith((".efi", ".img"))):
        if is_changed(arguments):
            raise UsageError(
                f"{name}: --initramfs and --append need an image of a tree",
                "Name an image such as zone, or leave those options out.",
            )
        with _disk_of_file(Path(name)) as (disk, hypervisor):
            what = _Booted(disk, Path(name).name, _log_of_file(Path(name)), hypervisor)
            return _boot(arguments, what)
    tree = chosen_tree(arguments)
    image = _image_name(tree, name)
    changed = is_changed(arguments)
    chosen = with_words(tree.images[image], arguments)
    target = f"{image}-{'image' if changed or arguments.secure_boot else 'disk'}"
    initramfs = arguments.initramfs
    if initramfs is not None:
        read_cpio(read_bounded(initramfs, MAX_IMAGE_BYTES), initramfs)
    status = build(tree, [target], settings(arguments))
    if status != 0:
        return status
    log = tree.build / "log" / f"{image}-console.log"
    hypervisor = chosen.host.hypervisor_cmdline() if chosen.host is not None else None
    if arguments.secure_boot:
        secure = importlib.import_module("sprout.cli.secure")
        signed = secure.signed_disk(arguments, tree, image)
        return _boot(arguments, _Booted(signed, image, log, hypervisor))
    if not changed:
        disk = tree.build / target / f"{image}.img"
        return _boot(arguments, _Booted(disk, image, log, hypervisor))
    with tempfile.TemporaryDirectory(prefix="sprout-boot-") as work:
        disk = Path(work) / "disk.img"
        _changed_disk(tree, chosen, arguments, Path(work), disk)
        least = memory_for(chosen.host.machine_memory_mib) if chosen.host is not None else 0
        return _boot(arguments, _Booted(disk, image, log, hypervisor, least))


def _check_reports(arguments: argparse.Namespace) -> None:
    for option, report in (("--json", arguments.json), ("--svg", arguments.svg)):
        if report is not None and (report.is_dir() or not report.absolute().parent.is_dir()):
            raise UsageError(f"{option} {report}: cannot be a file", "Name a file in a directory.")
    if not arguments.exact and (arguments.svg is not None or arguments.via != "uefi"):
        raise UsageError("--svg and --via go with --exact", "Add --exact, or leave them out.")


def _check_secure(arguments: argparse.Namespace) -> None:
    if not arguments.secure_boot:
        if arguments.key is not None or arguments.passphrase_file is not None:
            raise UsageError("--key goes with --secure-boot", "Add it, or leave --key out.")
        return
    if arguments.key is None:
        raise UsageError("--secure-boot needs --key KEY", "`sprout keys new KEY` makes keys.")
    if arguments.exact or is_changed(arguments):
        raise UsageError(
            "--secure-boot boots what is signed, on the host's clock",
            "Leave out --exact, --initramfs and --append.",
        )
    # Before anything is built. Imported here: cryptography slows down every other boot's start.
    importlib.import_module("sprout.cli.secure").check_key(arguments)


def _exact(arguments: argparse.Namespace) -> int:
    # Only here: attribution and pictures would slow down every other boot's start.
    exact = importlib.import_module("sprout.cli.exact")
    tree = chosen_tree(arguments)
    exact.check_arguments(arguments)
    status: int = exact.execute_exact(arguments, tree, _image_name(tree, arguments.image))
    return status


def _log_of_file(path: Path) -> Path:
    """Give where the console of a file's boot is kept: not beside it, which is not our place."""
    return cache_root() / "log" / f"{path.name}-console.log"


def _image_name(tree: Tree, name: str | None) -> str:
    if name is None:
        return next(iter(tree.images))
    if name not in tree.images:
        raise UsageError(
            f"{name}: no such image", f"Images in images.toml: {', '.join(tree.images)}."
        )
    return name


def _changed_disk(
    tree: Tree, image: Image, arguments: argparse.Namespace, work: Path, disk: Path
) -> None:
    """Lay out `image` again, with the initramfs that was asked for."""
    parts = load_graph(tree, settings(arguments)).ingredients(image)
    if arguments.initramfs is not None:
        parts = replace(parts, initramfs=arguments.initramfs)
    lay_out_image(work / "image.efi", image, parts, tree.epoch)
    make_disk(disk, work / "image.efi", epoch=tree.epoch)


@contextmanager
def _disk_of_file(path: Path) -> Iterator[tuple[Path, str | None]]:
    """Give a bootable disk for a file: itself when it is one, else one made for the boot.

    With it comes the command line of the hypervisor in it, if there is one.
    """
    if not path.is_file():
        raise SproutError(f"{path}: no such file", "Name an image, a .efi file or a disk.")
    if is_gpt(_head(path)):
        yield path, _hypervisor_of(read_disk(path).image, path)
        return
    hypervisor = read_image(path).hypervisor_cmdline
    with tempfile.TemporaryDirectory(prefix="sprout-boot-") as work:
        disk = Path(work) / "disk.img"
        make_disk(disk, path, epoch=int(path.stat().st_mtime))
        yield disk, hypervisor


def _hypervisor_of(image: bytes, where: Path) -> str | None:
    try:
        return parse_image(image, where).hypervisor_cmdline
    except SproutError:  # whether a disk's image is any good, the firmware is asked
        return None


@dataclass(frozen=True)
class _Booted:
    """What is booted: a disk, its name in messages, its console's log, its hypervisor's words."""

    disk: Path
    name: str
    log: Path
    hypervisor: str | None
    least_memory_mib: int = 0


def _boot(arguments: argparse.Namespace, what: _Booted) -> int:
    def show(line: str) -> None:
        print(line, flush=True)

    usual = _MEMORY_MIB if what.hypervisor is None else HOST_MEMORY_MIB
    with _store(arguments) as store:
        result = boot(
            what.disk,
            image=what.name,
            accel=arguments.accel,
            timeout_s=arguments.timeout,
            memory_mib=arguments.memory or max(usual, what.least_memory_mib),
            cpus=arguments.cpus,
            console=show if arguments.console else None,
            until=arguments.until,
            log=what.log,
            secure=store,
            hypervisor=what.hypervisor,
        )
    _print_timeline(result)
    if arguments.json is not None:
        write_json(arguments.json, result.timeline)
    return 0


@contextmanager
def _store(arguments: argparse.Namespace) -> Iterator[Path | None]:
    """Give the variable store of the machine; None where the firmware's blank one will do."""
    if not arguments.secure_boot:
        yield None
        return
    secure = importlib.import_module("sprout.cli.secure")
    with secure.enrolled_store(arguments) as store:
        yield store


def _print_timeline(result: BootResult) -> None:
    columns = min(shutil.get_terminal_size().columns, 120) if sys.stdout.isatty() else 80
    print(result.timeline.table(columns, colour=coloured(sys.stdout)), end="")


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(4096)
