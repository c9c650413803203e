"""`sprout cost guest`: builds the kernels that are compared, and hands them over."""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path

from sprout.base.errors import UsageError
from sprout.base.files import read_bounded, scratch_prefix, write_file
from sprout.base.run import find_program
from sprout.build.cache import cache_root
from sprout.build.driver import build
from sprout.build.kernel_steps import load_compiled_flavor
from sprout.build.tree import Tree
from sprout.build.variant import read_changes, variant_tree
from sprout.cli.build import settings
from sprout.cli.where import chosen_tree
from sprout.cost.guest import Kernel, check_guest, measure_kernels
from sprout.cost.guest_report import guest_json, guest_table, variants_table
from sprout.cost.peers_kernels import NEEDS, debian_kernel, release_with
from sprout.initramfs.assemble import assemble

_MAX_METADATA_BYTES = 1 << 20
_CPU = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,40}")
_MAX_WORDS = 1000  # COMMAND_LINE_SIZE of x86 is 2048
_LIST = "bench"
# Both kernels have the console, and a command line that asks for nothing else flatters none.
_CMDLINE = "console=ttyS0 quiet"


def execute(arguments: argparse.Namespace) -> int:
    """Measure a kernel beside Debian's of the same series, and variants of it beside itself."""
    tree = chosen_tree(arguments)
    flavor = _flavor(tree, arguments.images[1:])
    load_compiled_flavor(tree, flavor, "linux")
    cpu = arguments.cpu or "max"
    if not _CPU.fullmatch(cpu):
        raise UsageError(f"--cpu {cpu}: is no name", "`qemu-system-x86_64 -cpu help` lists them.")
    for words in arguments.words or ():
        if not words.isprintable() or not 0 < len(words.strip()) <= _MAX_WORDS:
            raise UsageError(f"--words {words}: are no words", "Write them as a kernel takes them.")
    changes = [(text, read_changes(text)) for text in arguments.variant or ()]
    for program, package in NEEDS:
        find_program(program, f"Install the package {package}.")
    status = build(tree, [f"{flavor}-kernel"], settings(arguments))
    if status != 0:
        return status
    ours = _kernel(flavor, tree, flavor)
    kernels = [ours, _peer(ours.version)]
    kernels += [replace(ours, name=words, words=words) for words in arguments.words or ()]
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("guest"), dir=tree.build) as name:
        work = Path(name)
        initramfs = work / "initramfs.cpio"
        assemble(tree.root / "initramfs" / f"{_LIST}.toml", initramfs, epoch=tree.epoch)
        for number, (text, values) in enumerate(changes):
            variant = variant_tree(tree, flavor, values, work / str(number))
            status = build(variant, [f"{flavor}-kernel"], settings(arguments))
            if status != 0:
                return status
            kernels.append(_kernel(text, variant, flavor))
        mine, peer, *variants = measure_kernels(
            kernels, initramfs=initramfs, cmdline=_CMDLINE, cpu=cpu
        )
    if arguments.json is not None:
        write_file(arguments.json, guest_json(mine, peer, variants, cpu).encode())
    print(guest_table(mine, peer, cpu), end="")
    if variants:
        print(variants_table(mine, variants), end="")
    check_guest(mine, peer)
    return 0


def _flavor(tree: Tree, names: list[str]) -> str:
    if len(names) > 1:
        raise UsageError("cost guest takes one flavor", "Name one, or none.")
    if names:
        return names[0]
    found = [image.flavor for image in tree.images.values() if image.host is None]
    if not found:
        raise UsageError("the tree has no image without a hypervisor", "Name a flavor.")
    return found[0]


def _kernel(name: str, tree: Tree, flavor: str) -> Kernel:
    directory = tree.build / f"{flavor}-kernel"
    facts = json.loads(read_bounded(directory / "metadata.json", _MAX_METADATA_BYTES))
    return Kernel(name, facts["version"], directory / "image")


def _peer(version: str) -> Kernel:
    """Give Debian's cloud kernel of the same series as `version`."""
    release = release_with(version)
    series = ".".join(version.split(".")[:2])
    found = debian_kernel(series, release, cache_root() / "peers")
    return Kernel(f"Debian {series} cloud", f"{found.package} {found.version}", found.image)
