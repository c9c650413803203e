"""What a tree's image is packed as: which built files, and what is known of them."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.base.table import load_table
from sprout.build import origins, signed
from sprout.build.graph import Graph
from sprout.build.step import Step
from sprout.oci.attest import Evidence
from sprout.oci.definition import Definition, load_definitions, present
from sprout.oci.pack import ARCHITECTURES

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_MAX_CONFIG_BYTES = 4 << 20
_MAX_METADATA_BYTES = 1 << 20
_URI_HINT = "Write it as https://ci.example/kernels, with --builder or in oci/provenance.toml."
_URI = re.compile(r"[a-z][a-z0-9+.-]{0,31}:[!-~]{1,400}")


@dataclass(frozen=True)
class Packing:
    """What is packed, for one architecture: files by their source's name, evidence by kind."""

    architecture: str
    definitions: list[Definition]
    sources: dict[str, Path | bytes]
    evidence: dict[str, Evidence]


def targets(graph: Graph, name: str) -> list[str]:
    """Give the steps that have to be made before the image `name` is packed."""
    flavor = graph.tree.images[name].flavor
    # Only a kernel with modules has the second one.
    return [step for step in (f"{name}-disk", f"{flavor}-addons") if step in graph.steps]


def gather(graph: Graph, name: str, builder: str | None, keys: Sequence[Certificate]) -> Packing:
    """Give what the built image `name` is packed as.

    `builder` is the URI of who builds, None for the one in oci/provenance.toml. With `keys`, in the
    order of `signed.roles`, boot image and disk are the ones that they signed. Raises SproutError
    when these are not there or not of the present build, and for what is malformed in the tree.
    """
    tree = graph.tree
    steps = _steps(graph, name)
    kernel = steps["kernel"].directory
    facts = json.loads(read_bounded(kernel / "metadata.json", _MAX_METADATA_BYTES))
    if facts["arch"] not in ARCHITECTURES:
        raise SproutError(f"{name}: no artifact is made for {facts['arch']}", "Pack another image.")
    config = read_bounded(kernel / "config", _MAX_CONFIG_BYTES)
    sources: dict[str, Path | bytes] = {
        "kernel": kernel / "image",
        "config.gz": gzip.compress(config, 9, mtime=0),
        "metadata": kernel_metadata(facts),
        **{source: steps[source].files()[0] for source in ("initramfs", "image", "disk")},
    }
    if "addons" in steps:
        sources["addons"] = steps["addons"].files()[0]
        sources["sdk"] = kernel / "sdk.tar.gz"
    if keys:
        if not signed.is_signed_by(graph, name, keys):
            raise SproutError(
                f"{name}: its present build is not signed by that key",
                f"Sign it: sprout sign {name} --key KEY.",
            )
        files = signed.signed_files(tree, name)
        sources |= {"image": files.image, "disk": files.disk}
    words = {word: facts[word] for word in ("flavor", "version", "release")}
    listed = load_definitions(tree.root / "oci" / "artifacts.toml", {"name": name, **words})
    definitions = present(listed, sources)
    uri = builder or _builder(tree.root)
    if not _URI.fullmatch(uri):
        raise SproutError(f"{uri}: is no URI of a builder", _URI_HINT)
    evidence = {
        row.kind: origins.evidence(
            graph,
            f"{name} {row.kind}",
            facts["version"],
            [steps[file.source].name for file in row.files],
            uri,
        )
        for row in definitions
    }
    return Packing(ARCHITECTURES[facts["arch"]], definitions, sources, evidence)


def _steps(graph: Graph, name: str) -> dict[str, Step]:
    """Give the step that makes each source of an artifact's files."""
    image = graph.tree.images[name]
    kernel = graph.steps[f"{image.flavor}-kernel"]
    found = {
        **dict.fromkeys(("kernel", "config.gz", "metadata", "sdk"), kernel),
        "initramfs": graph.steps[f"{image.initramfs}-initramfs"],
        "image": graph.steps[f"{name}-image"],
        "disk": graph.steps[f"{name}-disk"],
    }
    addons = graph.steps.get(f"{image.flavor}-addons")
    return found if addons is None else {**found, "addons": addons}


def _builder(root: Path) -> str:
    table = load_table(root / "oci" / "provenance.toml")
    builder = table.text("builder")
    table.finish()
    return builder


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
