"""Pack an image's kernel, initramfs, boot image and disk as OCI artifacts, in one image layout.

What is not built yet is built first. `oci/artifacts.toml` says which files an artifact holds. The
layout (default: build/NAME-oci) is the source of what `push` sends; the same input always gives the
same digests.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

from sprout.base.errors import SproutError, UsageError
from sprout.base.files import read_bounded
from sprout.build.driver import build
from sprout.build.graph import load_graph
from sprout.cli.build import add_settings, settings
from sprout.cli.where import chosen_tree
from sprout.oci.definition import load_definitions, present
from sprout.oci.pack import ARCHITECTURES, pack

_MAX_CONFIG_BYTES = 4 << 20
_MAX_METADATA_BYTES = 1 << 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("name", metavar="NAME", help="an image of images.toml")
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, help="the layout (default: build/NAME-oci)"
    )
    parser.add_argument("--json", action="store_true", help="print the artifacts as JSON")
    add_settings(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Build what is packed, pack it, and print each artifact's digest."""
    tree, name = chosen_tree(arguments), arguments.name
    if name not in tree.images:
        known = ", ".join(tree.images)
        raise UsageError(f"{name}: no such image", f"Images in images.toml: {known}.")
    image = tree.images[name]
    # Only a kernel with modules has the second one.
    wanted = {f"{name}-disk", f"{image.flavor}-addons"}
    steps = load_graph(tree, settings(arguments)).steps
    status = build(tree, [step for step in steps if step in wanted], settings(arguments))
    if status != 0:
        return status
    graph = load_graph(tree, settings(arguments))
    kernel = graph.steps[f"{image.flavor}-kernel"].directory
    config = read_bounded(kernel / "config", _MAX_CONFIG_BYTES)
    facts = json.loads(read_bounded(kernel / "metadata.json", _MAX_METADATA_BYTES))
    if facts["arch"] not in ARCHITECTURES:
        raise SproutError(f"{name}: no artifact is made for {facts['arch']}", "Pack another image.")
    words = {
        "name": name,
        "flavor": facts["flavor"],
        "version": facts["version"],
        "release": facts["release"],
    }
    sources: dict[str, Path | bytes] = {
        "kernel": kernel / "image",
        "config.gz": gzip.compress(config, 9, mtime=0),
        "metadata": kernel_metadata(facts),
        "initramfs": graph.steps[f"{image.initramfs}-initramfs"].files()[0],
        "image": graph.steps[f"{name}-image"].files()[0],
        "disk": graph.steps[f"{name}-disk"].files()[0],
    }
    if f"{image.flavor}-addons" in graph.steps:
        sources["addons"] = graph.steps[f"{image.flavor}-addons"].files()[0]
        sources["sdk"] = kernel / "sdk.tar.gz"
    target = arguments.output or tree.build / f"{name}-oci"
    if target.exists() and any(target.iterdir()) and not (target / "oci-layout").is_file():
        raise SproutError(f"{target}: is there and is no layout", "Name another place.")
    definitions = load_definitions(tree.root / "oci" / "artifacts.toml", words)
    packed = pack(target, present(definitions, sources), {ARCHITECTURES[facts["arch"]]: sources})
    if arguments.json:
        print(json.dumps([vars(row) for row in packed], indent=2))
    else:
        for row in packed:
            print(f"{row.kind:<10} {row.size:>13,} bytes  {row.digest}")
    return 0


def kernel_metadata(facts: dict[str, str]) -> bytes:
    """Give the file `kernel/metadata`: what consumers of linux-kernel-oci read, a line per fact."""
    rows = {
        "KERNEL_ARCH": facts["arch"],
        "KERNEL_VERSION": facts["version"],
        "KERNEL_UNAME_R": facts["release"],
        "KERNEL_FLAVOR": facts["flavor"],
        "KERNEL_CONFIG": f"sha256:{facts['config_sha256']}",
    }
    return "".join(f"{name}={value}\n" for name, value in rows.items()).encode()
