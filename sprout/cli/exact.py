"""`sprout boot IMAGE --exact`: the same boot counted to the instruction."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from sprout.base.errors import UsageError
from sprout.base.files import write_file
from sprout.build.artifacts import lay_out_image
from sprout.build.graph import load_graph
from sprout.build.tree import Tree
from sprout.cli.build import settings
from sprout.cli.colour import coloured
from sprout.cli.subject import AnySubject, built_subject, measured
from sprout.cli.words import is_changed, with_words
from sprout.cost.host import HostSubject
from sprout.cost.model import Measurement
from sprout.cost.phases import phase_table
from sprout.cost.record import write_measurements
from sprout.cost.svg_timeline import timeline_svg


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse what exact mode has no place for; raises UsageError."""
    for unfit, why in (
        (arguments.accel == "kvm", "--accel kvm: exact mode is emulation"),
        (arguments.initramfs is not None, "--initramfs: exact mode needs the symbols of its init"),
        (arguments.until != "ready", "--until exit: exact mode ends when the image is ready"),
    ):
        if unfit:
            raise UsageError(why, "Leave it out, or leave out --exact.")


def execute_exact(arguments: argparse.Namespace, tree: Tree, name: str) -> int:
    """Build, boot in exact mode, print the phases, and write what was asked for."""
    if arguments.cpus != 1 and tree.images[name].host is None:
        raise UsageError(
            f"--cpus {arguments.cpus}: exact mode has one CPU for an image without a hypervisor",
            "Leave it out, or leave out --exact.",
        )
    status, subject = built_subject(tree, name, settings(arguments))
    if subject is None:
        return status
    if not is_changed(arguments):
        return _measured(arguments, subject)
    with tempfile.TemporaryDirectory(prefix="sprout-boot-") as work:
        return _measured(arguments, _appended(arguments, tree, subject, Path(work)))


def _appended(
    arguments: argparse.Namespace, tree: Tree, subject: AnySubject, work: Path
) -> AnySubject:
    """Lay out the image again with more words on its command lines."""
    image = with_words(tree.images[subject.name], arguments)
    parts = load_graph(tree, settings(arguments)).ingredients(image)
    target = work / "image.efi"
    lay_out_image(target, image, parts, tree.epoch)
    if isinstance(subject, HostSubject) and image.host is not None:
        host = image.host
        subject = replace(
            subject,
            hypervisor_cmdline=host.hypervisor_cmdline(),
            zones=len(host.zones),
            machine_memory_mib=host.machine_memory_mib,
        )
    return subject.with_image(target, image.cmdline)


def _measured(arguments: argparse.Namespace, subject: AnySubject) -> int:
    def show(line: str) -> None:
        print(line, flush=True)

    console = show if arguments.console else None
    found = measured(
        subject,
        arguments.via,
        memory_mib=arguments.memory,
        cpus=arguments.cpus,
        console=console,
    )
    _print_phases(found)
    if arguments.json is not None:
        write_measurements(arguments.json, [found])
    if arguments.svg is not None:
        write_file(arguments.svg, timeline_svg(found).encode())
    return 0


def _print_phases(found: Measurement) -> None:
    columns = min(shutil.get_terminal_size().columns, 120) if sys.stdout.isatty() else 80
    print(phase_table(found, columns=columns, colour=coloured(sys.stdout)), end="")
