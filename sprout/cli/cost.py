"""Measure what booting costs, to the instruction, and judge it by budgets and a baseline.

Each IMAGE (default: all of the tree) is built and booted in exact mode, through UEFI and by PVH.
The first line says what grew, or that nothing did. Budgets are in ci/budgets.toml, baselines in
ci/baseline/IMAGE.json; where a baseline is of another machine (QEMU, firmware, toolchain, CPU
model), the base commit is built too and both are compared in this run.

`sprout cost peers` measures how others do the same work, `sprout cost wall A [B]` compares two
disks (or images) in wall time; they inform and judge nothing. `sprout cost guest [FLAVOR]`
measures, exactly, what system calls, processes, memory, pipes, files and TCP take on a kernel and
on Debian's, and ends with status 1 where ours is slower, or defends itself otherwise.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sprout.base.errors import UsageError
from sprout.cli.build import add_settings, positive, settings
from sprout.cli.where import chosen_tree
from sprout.vm.accel import CHOICES

# Words that stand in an image's place, with the options that they take.
_WORDS = {
    "peers": ("json", "markdown", "rounds", "write"),
    "wall": ("json", "rounds", "accel"),
    "guest": ("cpu", "json", "variant", "words"),
}
_OF_WORDS = ("rounds", "accel", "write", "cpu", "variant", "words")
_OPTIONS = (
    *("boot", "functions", "initcalls", "top", "budgets", "against", "base", "accept", "reason"),
    *("markdown", "json", "html", "svg"),
)
_EPILOG = """\
examples:
  sprout cost                            the gate: exit status 1 on a breach
  sprout cost zone --functions kernel    where the kernel's instructions go
  sprout cost zone --boot uefi --svg c.svg   who called whom, as a picture
  sprout cost zone --json main.json      keep the figures ...
  sprout cost zone --against main.json   ... and compare with them later
  sprout cost --markdown --html c.html   for a pull request
  sprout cost zone --accept --reason "the installer needs legacy ptys"

A breach is: a figure over its budget, or grown by more than 0.1 % (or a small
amount, or what chance makes of the kernel: at most 1 %); one that improved by
more than 1 % and was not accepted; and anything missing: a budget, a baseline,
a phase, something to compare with. docs/cost.md says more.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="images of the tree, or `peers`, `wall A B`, `guest`",
    )
    parser.add_argument("--boot", choices=("uefi", "pvh", "both"), help="which way to boot (both)")
    look = parser.add_argument_group("look, and judge nothing")
    look.add_argument(
        "--functions",
        nargs="?",
        const="",
        metavar="PHASE",
        help="where the instructions go: functions by unit",
    )
    look.add_argument("--initcalls", action="store_true", help="what each initcall costs")
    look.add_argument("--top", type=positive, metavar="N", help="rows in each of those tables")
    look.add_argument(
        "--budgets", action="store_true", help="print budgets 5 %% above the figures, as TOML"
    )
    compare = parser.add_argument_group("what to compare with (default: the baseline)")
    compare.add_argument(
        "--against", type=Path, metavar="FILE", help="figures that --json wrote, here or elsewhere"
    )
    compare.add_argument(
        "--base",
        metavar="REV",
        help="the base commit, for a baseline of another machine (where HEAD left origin's branch)",
    )
    compare.add_argument(
        "--accept", action="store_true", help="make these figures the baseline; not in CI"
    )
    compare.add_argument("--reason", metavar="TEXT", help="with --accept: why, for the next reader")
    reports = parser.add_argument_group("reports")
    reports.add_argument("--markdown", action="store_true", help="print Markdown, not a table")
    reports.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    reports.add_argument("--html", type=Path, metavar="FILE", help="write one page with pictures")
    reports.add_argument(
        "--svg", type=Path, metavar="FILE", help="draw the icicle of one image and one --boot"
    )
    others = parser.add_argument_group("for `cost peers`, `cost wall` and `cost guest`")
    others.add_argument("--rounds", type=positive, metavar="N", help="how often to boot each")
    others.add_argument("--accel", choices=CHOICES, help="wall: kvm, unless told otherwise")
    others.add_argument("--write", type=Path, metavar="FILE", help="peers: write the page")
    others.add_argument(
        "--cpu",
        metavar="MODEL",
        help="guest: QEMU's model of the processor, such as Skylake-Server (default: max)",
    )
    others.add_argument(
        "--variant",
        action="append",
        metavar="OPTIONS",
        help='guest: what options cost, such as "INIT_ON_ALLOC_DEFAULT_ON=n"; again for another',
    )
    others.add_argument(
        "--words",
        action="append",
        metavar="WORDS",
        help='guest: the same by the command line, such as "init_on_alloc=0"',
    )
    add_settings(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Run one of the words that are no image, or the gate."""
    for option in ("json", "html", "svg", "write"):
        path = getattr(arguments, option)
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise UsageError(f"--{option} {path}: cannot be a file", "Name a file in a directory.")
    word = arguments.images[0] if arguments.images else ""
    if word in _WORDS:
        unfit = [name for name in (*_OPTIONS, *_OF_WORDS) if name not in _WORDS[word]]
        _refuse(arguments, word, unfit)
        return {"peers": _peers, "wall": _wall, "guest": _guest}[word](arguments)
    _refuse(arguments, "IMAGE", _OF_WORDS)
    # Only here: attribution needs a library for ELF files, and `--help` must not wait for it.
    gating, lab = (importlib.import_module(f"sprout.cli.{name}") for name in ("gating", "lab"))
    tree = chosen_tree(arguments)
    status: int = gating.run_gate(arguments, tree, lab.real_lab(arguments, tree))
    return status


def _refuse(arguments: argparse.Namespace, word: str, names: Sequence[str]) -> None:
    """Refuse options that have no meaning there: nothing that was asked for is passed over."""
    for name in names:
        if getattr(arguments, name) not in (None, False):
            raise UsageError(f"--{name} does not go with `cost {word}`", "Leave it out.")


def _peers(arguments: argparse.Namespace) -> int:
    """Run `sprout cost peers`."""
    if len(arguments.images) > 1:
        raise UsageError("cost peers takes no image", "Leave it out.")
    module = importlib.import_module("sprout.cli.peers")
    status: int = module.execute(arguments)
    return status


def _guest(arguments: argparse.Namespace) -> int:
    """Run `sprout cost guest [FLAVOR]`."""
    module = importlib.import_module("sprout.cli.guest")
    status: int = module.execute(arguments)
    return status


def _wall(arguments: argparse.Namespace) -> int:
    """Run `sprout cost wall A [B]`."""
    module = importlib.import_module("sprout.cost.wall")
    names = arguments.images[1:]
    if len(names) not in (1, 2):
        raise UsageError("cost wall takes one or two disks or images", "Name A, or A and B.")
    pair = (names[0], names[-1])
    disks = [_disk(arguments, name) for name in pair]
    columns = min(shutil.get_terminal_size().columns, 120) if sys.stdout.isatty() else 80
    call = partial(module.execute_wall, *disks, names=pair, report=arguments.json, columns=columns)
    if arguments.rounds is not None:
        call = partial(call, rounds=arguments.rounds)
    if arguments.accel is not None:
        call = partial(call, accel=arguments.accel)
    status: int = call()
    return status


def _disk(arguments: argparse.Namespace, name: str) -> Path:
    """Give the disk of a name: a file, or an image of the tree, which is built."""
    if "/" in name or name.endswith(".img"):
        return Path(name)
    driver = importlib.import_module("sprout.build.driver")
    tree = chosen_tree(arguments)
    if name not in tree.images:
        raise UsageError(f"{name}: no such image", f"Images: {', '.join(tree.images)}; or a file.")
    status = driver.build(tree, [f"{name}-disk"], settings(arguments))
    if status != 0:
        raise SystemExit(status)
    return tree.build / f"{name}-disk" / f"{name}.img"
