"""docs/benchmarks.md: the comparison with peers, how each was made, and how to repeat it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from sprout.cost.peers_report import (
    byte_table,
    groups,
    kernel_table,
    loader_table,
    per_byte,
    size_text,
)
from sprout.cost.peers_result import Peers, Recipe

_HEAD = """\
# Benchmarks

What others take for the same work, measured in the same run on the same emulated machine. This
page is written by the command itself:

    sprout cost peers --write docs/benchmarks.md

Figures are millions of instructions that the emulated processor executed; they do not depend on how
fast or busy the host is. They are not a time: a real disk, a real firmware and a real processor
weigh them differently. Waits are virtual milliseconds in which nothing was executed.
"""

_LOADERS = """\
## Boot loaders

Every loader starts the same kernel with the same initrd and the same command line, from an EFI
system partition on a read-only virtio disk, under its default name, with its menu off and without
Secure Boot. The initrd is the zone's, followed by a second uncompressed archive with one file of
pseudo-random bytes, always the same: incompressible like what fills a real initrd, and without a
decompressor that would hide the loader's share.

- *firmware*: power-on to the boot application's first instruction. It holds the reading of that
  application, so for a unified kernel image that of kernel and initrd too: compare the sums.
- *loader*: up to the kernel's first instruction.
- *unpack*: up to the kernel's first instruction at its own addresses: its decompression, and in its
  EFI stub the copy of the initrd that it asks the loader for (LoadFile2; not with GRUB 2.06, which
  hands the initrd over itself).
- *kernel*: up to init's first instruction, the initrd's unpacking and timer calibration included.
- *init*: until the zone is ready.

The disk answers when the host pleases, and firmware spins meanwhile, so each figure is the median
of {boots}, the least and the most beside the total. (A median of sums is not the sum of medians.)
"""

_KERNELS = """\
## Kernels

The zone's kernel and Debian's cloud kernels, each handed over by QEMU's BIOS with the zone's initrd
({initrd:,} bytes) and the command line `{cmdline}`. There is no disk, so a boot repeats to the
instruction and one is enough. Debian's kernels serve any cloud with loadable modules; the zone's
serves a zone. *unpack* holds the 16-bit setup code and the decompression; *to /init* is from reset.
"""


def benchmarks_page(
    peers: Peers, *, initrd_bytes: int, cmdline: str, commands: Sequence[tuple[str, str]]
) -> str:
    """Give the page; `commands` are how QEMU was called, as (for what, command line)."""
    parts = [_HEAD]
    if peers.loaders:
        boots = max(len(row.boots) for row in peers.loaders)
        parts.append(_LOADERS.format(boots="one boot" if boots == 1 else f"{boots} boots"))
        for size, rows in groups(peers.loaders):
            parts.append(_block([f"{size_text(size)} of initrd:", "", *loader_table(rows)]))
        if per_byte(peers.loaders):
            sizes = [size for size, _ in groups(peers.loaders)]
            text = (
                f"Instructions for each further byte of initrd, from {size_text(min(sizes))} to "
                f"{size_text(max(sizes))}. The difference between the columns is the kernel's own "
                "unpacking of it:"
            )
            parts.append(_block([*_wrapped(text), "", *byte_table(peers.loaders)]))
    if peers.kernels:
        parts.append(_KERNELS.format(initrd=initrd_bytes, cmdline=cmdline))
        parts.append(_block(kernel_table(peers.kernels)))
    parts.append(_block(["## Machine and versions", "", *_versions(peers)]))
    if any(recipe.lines for recipe in peers.recipes):
        parts.append("## How each was made\n")
        parts += [_recipe(recipe) for recipe in peers.recipes]
    for what, command in commands:
        parts.append(_block([f"QEMU, for {what}:", "", *_indented(command.splitlines())]))
    return "\n".join(parts)


def _block(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _wrapped(text: str) -> list[str]:

    return textwrap.wrap(text, 100, break_on_hyphens=False)


def _versions(peers: Peers) -> list[str]:
    rows = [*peers.machine, *((recipe.name, recipe.version) for recipe in peers.recipes)]
    return ["| what | version |", "|---|---|", *(f"| {what} | {text} |" for what, text in rows)]


def _recipe(recipe: Recipe) -> str:
    lines = _wrapped(f"**{recipe.name}** {recipe.version}. {recipe.note}")
    if recipe.lines:
        lines += ["", *_indented(recipe.lines)]
    return _block(lines)
