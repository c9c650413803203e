"""Puts a tree's built parts together: which files make the boot image of an `[images.NAME]`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sprout import __version__
from sprout.build.tree import Image
from sprout.format.sbat import fill_sbat
from sprout.image.uki import build_image


@dataclass(frozen=True)
class Ingredients:
    """The files of one boot image; `kernel` is the directory that the kernel step made."""

    stub: Path
    kernel: Path
    initramfs: Path
    sbat: Path


def lay_out_image(target: Path, image: Image, parts: Ingredients, epoch: int) -> None:
    """Write the boot image `image` to `target`, in one step.

    Raises SproutError when one of the parts is not what it should be.
    """
    metadata = json.loads((parts.kernel / "metadata.json").read_bytes())
    build_image(
        target,
        stub=parts.stub,
        kernel=parts.kernel / "image",
        initramfs=parts.initramfs,
        cmdline=image.cmdline,
        os_release={
            "ID": image.os_id,
            "NAME": image.os_name,
            "PRETTY_NAME": f"{image.os_name} (Linux {metadata['version']})",
            "VERSION_ID": metadata["version"],
        },
        uname=metadata["release"],
        sbat=fill_sbat(parts.sbat, {"stub": __version__, "kernel": metadata["version"]}),
        epoch=epoch,
    )
