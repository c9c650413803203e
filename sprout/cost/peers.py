"""The same work done by others, in the same run: boot loaders and kernels (`sprout cost peers`)."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import UsageError
from sprout.base.files import write_file
from sprout.base.progress import Progress
from sprout.base.run import find_program
from sprout.cost.measure import Subject
from sprout.cost.model import Phase
from sprout.cost.peers_boot import (
    Track,
    boot_bzimage,
    boot_disk,
    boot_pvh,
    track_of,
)
from sprout.cost.peers_disks import BOOT_NAME, make_disk, pad_initrd, parts_of
from sprout.cost.peers_kernels import NEEDS, RELEASES, debian_kernel
from sprout.cost.peers_loaders import Loader, loaders
from sprout.cost.peers_machine import commands, described
from sprout.cost.peers_page import benchmarks_page
from sprout.cost.peers_report import size_text, table, to_json
from sprout.cost.peers_result import Peers, Recipe, Row
from sprout.image.bzimage import HEAD_SIZE, read_setup_header

# Decimal megabytes, as disks and networks count.
SIZES = (1_000_000, 8_000_000, 64_000_000)
ROUNDS = 5


@dataclass(frozen=True)
class Plan:
    """What to compare: initrd sizes in bytes, boots of each loader, which loaders, kernels or not.

    No loaders named are all of them.
    """

    sizes: tuple[int, ...] = SIZES
    rounds: int = ROUNDS
    names: tuple[str, ...] = ()
    kernels: bool = True


def execute_peers(
    subject: Subject,
    *,
    cache: Path,
    plan: Plan | None = None,
    report: Path | None = None,
    write: Path | None = None,
    markdown: bool = False,
) -> int:
    """Compare, print the table (as the page where `markdown`), and give the exit status 0.

    `subject` is the built image with the plugins; `cache` a directory for downloaded kernels.
    `report` is where JSON goes, `write` where the page goes (docs/benchmarks.md). Raises
    SproutError naming the package where something is missing, before anything is booted.
    """
    for path in (report, write):
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise UsageError(f"{path}: cannot be a file", "Name a file in a directory.")
    peers = compare(subject, cache=cache, plan=plan or Plan())
    page = benchmarks_page(
        peers,
        initrd_bytes=(subject.initramfs / "initramfs.cpio").stat().st_size,
        cmdline=subject.cmdline,
        commands=commands(subject),
    )
    if report is not None:
        write_file(report, to_json(peers).encode())
    if write is not None:
        write_file(write, page.encode())
    print(page if markdown else table(peers), end="")
    return 0


def compare(subject: Subject, *, cache: Path, plan: Plan) -> Peers:
    """Boot every contestant of `plan` and give what was counted; raises as `execute_peers`."""
    chosen = [loader for loader in loaders() if not plan.names or loader.name in plan.names]
    for loader in chosen:
        loader.check()
    track = track_of(subject)
    recipes = [loader.recipe(subject.cmdline) for loader in chosen]
    kernels: list[Row] = []
    if plan.kernels:
        for program, package in NEEDS:
            find_program(program, f"Install the package {package}.")
        kernels = _compare_kernels(subject, track, cache, recipes)
    rows: list[Row] = []
    for size in plan.sizes if chosen else ():
        rows += _compare_loaders(subject, track, chosen, size, plan.rounds)
    return Peers(described(), tuple(rows), tuple(kernels), tuple(recipes))


def _compare_loaders(
    subject: Subject, track: Track, chosen: Sequence[Loader], size: int, rounds: int
) -> list[Row]:
    """Boot each loader `rounds` times in turn, so that a busy minute falls on all of them."""
    boots: dict[str, list[tuple[Phase, ...]]] = {loader.name: [] for loader in chosen}
    with tempfile.TemporaryDirectory(prefix="sprout-peers-") as name:
        work = Path(name)
        initrd = work / "initrd"
        pad_initrd(initrd, subject.initramfs / "initramfs.cpio", size)
        parts = parts_of(subject, initrd)
        apps: dict[str, Path] = {}
        for loader in chosen:
            directory = work / loader.name
            directory.mkdir()
            files = loader.make(parts, directory)
            make_disk(work / f"{loader.name}.img", files, epoch=parts.epoch)
            apps[loader.name] = files[BOOT_NAME]
        label = f"{size_text(size)} initrd"
        with Progress(f"loaders, {label}", rounds * len(chosen)) as progress:
            for _ in range(rounds):
                for loader in chosen:
                    what, disk = f"{loader.name}, {label}", work / f"{loader.name}.img"
                    app = apps[loader.name]
                    boots[loader.name].append(boot_disk(track, what, disk, app, parts.kernel))
                    progress.advance()
    return [Row(loader.name, size, tuple(boots[loader.name])) for loader in chosen]


def _compare_kernels(
    subject: Subject, track: Track, cache: Path, recipes: list[Recipe]
) -> list[Row]:
    """Boot each kernel once; add to `recipes` which they are."""
    initrd = subject.initramfs / "initramfs.cpio"
    found = [debian_kernel(series, release, cache) for series, release in RELEASES]
    ours = subject.kernel / "image"
    images = [(f"{subject.name}, bzImage", ours)]
    images += [(f"Debian {kernel.series} cloud", kernel.image) for kernel in found]
    note = "What every loader starts; as bzImage and as vmlinux among the kernels."
    build = f"sprout build {subject.name}-image"
    recipes.append(Recipe(f"{subject.name} kernel", _release(ours), note, (build,)))
    for kernel in found:
        name, what = f"Debian {kernel.series} cloud", f"{kernel.package} {kernel.version}"
        note = f"`/boot/vmlinuz-*` out of the package that {kernel.release} has as its newest."
        recipes.append(Recipe(name, what, note, (f"apt-get download {kernel.package}",)))
    with Progress("kernels", len(images) + 1) as progress:
        name, vmlinux = f"{subject.name}, by PVH", subject.kernel / "vmlinux"
        rows = [Row(name, vmlinux.stat().st_size, (boot_pvh(track, name, subject, initrd),))]
        progress.advance()
        for name, image in images:
            boot = boot_bzimage(track, name, image, initrd, subject.cmdline)
            rows.append(Row(name, image.stat().st_size, (boot,)))
            progress.advance()
    return rows


def _release(image: Path) -> str:
    with image.open("rb") as stream:
        header = read_setup_header(stream.read(HEAD_SIZE), image)
    return header.release if header is not None else "unknown"
