"""Does a kernel slow its programs down? Measured beside Debian's (`sprout cost guest`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.progress import Progress
from sprout.cost.guest_lines import BENCHES, Guest, read_guest
from sprout.cost.peers_boot import direct_machine
from sprout.vm.exact import exact_console
from sprout.vm.qemu import Direct

# What the kernel is wanted to be beside Debian's.
MOST_MEAN, BELOW_SYSCALL = 1.05, 1.0
SYSCALL = "syscall"
_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Kernel:
    """A kernel to measure: what it is called, which version it is, and its bzImage.

    `words` are more of a command line, for it alone.
    """

    name: str
    version: str
    image: Path
    words: str = ""


@dataclass(frozen=True)
class Measured:
    """A kernel with what was measured of it."""

    kernel: Kernel
    guest: Guest

    def ratio(self, other: Measured, bench: str) -> float:
        """Give how much this kernel takes for a benchmark, as a multiple of `other`."""
        mine, theirs = self.guest.figures[bench], other.guest.figures[bench]
        return mine.instructions / theirs.instructions

    def mean(self, other: Measured) -> float:
        """Give the geometric mean of the ratios to `other`."""
        return float(prod(self.ratio(other, bench) for bench in BENCHES) ** (1 / len(BENCHES)))


def measure_kernels(
    kernels: Sequence[Kernel], *, initramfs: Path, cmdline: str, cpu: str = "max"
) -> tuple[Measured, ...]:
    """Boot each kernel in exact mode, with the same machine, initramfs and command line.

    `initramfs` is what initramfs/bench.toml describes, `cpu` QEMU's model of a processor. Raises
    SproutError where QEMU is missing or does not know the model, a kernel does not get to the end,
    or one was measured otherwise than another.
    """
    found: list[Measured] = []
    with Progress("measuring kernels", len(kernels)) as progress:
        for kernel in kernels:
            qemu, machine = direct_machine(
                Direct(kernel.image, initramfs, f"{cmdline} {kernel.words}".strip())
            )
            machine = replace(machine, cpu=cpu)
            lines = exact_console(qemu, machine, name=kernel.name, timeout_s=_TIMEOUT_S)
            found.append(Measured(kernel, read_guest(lines, kernel.name)))
            progress.advance()
    for one in found:
        for bench, figure in one.guest.figures.items():
            if figure.times != found[0].guest.figures[bench].times or not figure.instructions:
                raise SproutError(
                    f"{one.kernel.name}: {bench} was not measured as for {found[0].kernel.name}",
                    "Report this.",
                )
    return tuple(found)


def unlike(one: Measured, other: Measured) -> list[str]:
    """Give the names of the vulnerabilities that two kernels do not say the same of."""
    mine, theirs = one.guest.vulnerabilities, other.guest.vulnerabilities
    return sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))


def check_guest(ours: Measured, peer: Measured) -> None:
    """Raise SproutError, in one line, where `ours` is not what is wanted beside `peer`."""
    names = unlike(ours, peer)
    if names:
        raise SproutError(
            f"{ours.kernel.name}: defends itself otherwise than {peer.kernel.name}: "
            + ", ".join(names),
            "Give both the same mitigations, or the figures are of different work.",
        )
    mean, syscall = ours.mean(peer), ours.ratio(peer, SYSCALL)
    missed = []
    if mean > MOST_MEAN:
        missed.append(f"the geometric mean is {mean:.3f}, above {MOST_MEAN}")
    if syscall >= BELOW_SYSCALL:
        missed.append(f"a system call is {syscall:.3f}, not below {BELOW_SYSCALL}")
    if missed:
        raise SproutError(
            f"{ours.kernel.name}: slows its guest down: {'; '.join(missed)}",
            "See with --variant which option takes it.",
        )
