"""More words for an image's command lines, as `boot` takes them."""

from __future__ import annotations

import argparse
from dataclasses import replace

from sprout.base.errors import UsageError
from sprout.build.tree import Image


def is_changed(arguments: argparse.Namespace) -> bool:
    """Tell whether another image than the built one is asked for."""
    words = bool(arguments.append or arguments.append_hypervisor)
    return arguments.initramfs is not None or words or arguments.zones is not None


def with_words(image: Image, arguments: argparse.Namespace) -> Image:
    """Give the image with the command lines that were asked for."""
    if arguments.append_hypervisor:
        if image.host is None:
            raise UsageError(
                f"--append-hypervisor: {image.name} has no hypervisor", "Leave it out, or --append."
            )
        image = replace(image, host=image.host.with_words(arguments.append_hypervisor))
    if arguments.zones is not None:
        if image.host is None:
            raise UsageError(f"--zones: {image.name} is no host", "Name the image of a host.")
        image = replace(image, host=image.host.with_zones(arguments.zones))
    if arguments.append:
        image = image.with_cmdline(f"{image.cmdline} {arguments.append}".strip())
    return image
