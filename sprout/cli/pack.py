"""Pack an image's kernel, initramfs, boot image and disk as OCI artifacts, in one image layout.

What is not built yet is built first. `oci/artifacts.toml` says which files an artifact holds; its
SBOM (CycloneDX) and its provenance (SLSA) lie beside it. The layout (default: build/NAME-oci) is
the source of what `push` sends; the same input always gives the same digests.

Named FILE.tar, the layout is an archive, for who has no registry: sign it with --key as it is made.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError, UsageError
from sprout.base.files import read_bounded, scratch_prefix
from sprout.base.table import load_table
from sprout.build import origins, signed
from sprout.build.driver import build
from sprout.build.graph import Graph, load_graph
from sprout.cli.build import add_settings, settings
from sprout.cli.where import chosen_tree
from sprout.oci.archive import write_archive
from sprout.oci.attest import Evidence
from sprout.oci.definition import Definition, load_definitions, present
from sprout.oci.layout import is_layout, open_layout
from sprout.oci.layout_sign import sign_layout
from sprout.oci.pack import ARCHITECTURES, pack
from sprout.signing.certificates import public_key
from sprout.signing.keyring import open_signer, public, resolve

_MAX_CONFIG_BYTES = 4 << 20
_MAX_METADATA_BYTES = 1 << 20
_URI = re.compile(r"[a-z][a-z0-9+.-]{0,31}:[!-~]{1,400}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("name", metavar="NAME", help="an image of images.toml")
    parser.add_argument(
        *("-o", "--output"),
        metavar="OUT",
        type=Path,
        help="the layout's directory, or FILE.tar (default: build/NAME-oci)",
    )
    parser.add_argument(
        "--key", metavar="KEY", help="sign everything with this key's role artifact"
    )
    parser.add_argument(
        *("--passphrase-file", "--pin-file"),
        metavar="FILE",
        type=Path,
        help="its first line is the passphrase or PIN (default: ask on the terminal)",
    )
    parser.add_argument(
        "--signed-by",
        metavar="KEY",
        help="pack the boot image and disk that `sign NAME --key KEY` made, for Secure Boot",
    )
    parser.add_argument(
        "--builder", metavar="URI", help="who builds (default: as oci/provenance.toml says)"
    )
    parser.add_argument("--json", action="store_true", help="print the artifacts as JSON")
    add_settings(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Build what is packed, pack it, and print each artifact's digest."""
    tree, name = chosen_tree(arguments), arguments.name
    if name not in tree.images:
        known = ", ".join(tree.images)
        raise UsageError(f"{name}: no such image", f"Images in images.toml: {known}.")
    target = arguments.output or tree.build / f"{name}-oci"
    _check_target(target)
    sign = None
    if arguments.key is not None:
        signer = open_signer(resolve(arguments.key), "artifact", arguments.passphrase_file)
        sign = (signer, public_key(signer.certificate, arguments.key))
    status = build(tree, _targets(load_graph(tree, settings(arguments)), name), settings(arguments))
    if status != 0:
        return status
    packing = _gather(load_graph(tree, settings(arguments)), name, arguments)
    with ExitStack() as stack:
        folder = target
        if target.suffix == ".tar":
            scratch = tempfile.TemporaryDirectory(prefix=scratch_prefix("oci"), dir=tree.build)
            folder = Path(stack.enter_context(scratch)) / "layout"
        packed = pack(
            folder,
            packing.definitions,
            {packing.architecture: packing.sources},
            {packing.architecture: packing.evidence},
        )
        if sign is not None:
            sign_layout(open_layout(folder), *sign)
        if folder != target:
            write_archive(folder, target)
    if arguments.json:
        print(json.dumps([vars(row) for row in packed], indent=2))
    else:
        for row in packed:
            print(f"{row.kind:<10} {row.size:>13,} bytes  {row.digest}")
    return 0


@dataclass(frozen=True)
class _Packing:
    """What is packed, for one architecture: files by their source's name, evidence by kind."""

    architecture: str
    definitions: list[Definition]
    sources: dict[str, Path | bytes]
    evidence: dict[str, Evidence]


def _addons(graph: Graph, name: str) -> str:
    """Give what the step is called that makes a file system of modules, where there is one."""
    return f"{graph.tree.images[name].flavor}-addons"


def _targets(graph: Graph, name: str) -> list[str]:
    return [step for step in graph.steps if step in (f"{name}-disk", _addons(graph, name))]


def _gather(graph: Graph, name: str, arguments: argparse.Namespace) -> _Packing:
    tree, image = graph.tree, graph.tree.images[name]
    kernel = graph.steps[f"{image.flavor}-kernel"]
    config = read_bounded(kernel.directory / "config", _MAX_CONFIG_BYTES)
    facts = json.loads(read_bounded(kernel.directory / "metadata.json", _MAX_METADATA_BYTES))
    if facts["arch"] not in ARCHITECTURES:
        raise SproutError(f"{name}: no artifact is made for {facts['arch']}", "Pack another image.")
    steps = {
        "kernel": kernel,
        "config.gz": kernel,
        "metadata": kernel,
        "initramfs": graph.steps[f"{image.initramfs}-initramfs"],
        "image": graph.steps[f"{name}-image"],
        "disk": graph.steps[f"{name}-disk"],
    }
    boot_image, disk = steps["image"].files()[0], steps["disk"].files()[0]
    if arguments.signed_by is not None:
        boot_image, disk = _signed(graph, name, arguments.signed_by)
    sources: dict[str, Path | bytes] = {
        "kernel": kernel.directory / "image",
        "config.gz": gzip.compress(config, 9, mtime=0),
        "metadata": kernel_metadata(facts),
        "initramfs": steps["initramfs"].files()[0],
        "image": boot_image,
        "disk": disk,
    }
    if _addons(graph, name) in graph.steps:
        steps |= {"addons": graph.steps[_addons(graph, name)], "sdk": kernel}
        sources |= {"addons": steps["addons"].files()[0], "sdk": kernel.directory / "sdk.tar.gz"}
    words = {
        "name": name,
        "flavor": facts["flavor"],
        "version": facts["version"],
        "release": facts["release"],
    }
    definitions = load_definitions(tree.root / "oci" / "artifacts.toml", words)
    definitions = present(definitions, sources)
    builder = arguments.builder or _builder(tree.root)
    evidence = {
        row.kind: origins.evidence(
            graph,
            f"{name} {row.kind}",
            facts["version"],
            [steps[file.source].name for file in row.files],
            builder,
        )
        for row in definitions
    }
    return _Packing(ARCHITECTURES[facts["arch"]], definitions, sources, evidence)


def _check_target(target: Path) -> None:
    """Refuse to replace what is no layout; raises SproutError."""
    if target.suffix == ".tar":
        if target.exists() and not (target.is_file() and is_layout(target)):
            raise SproutError(f"{target}: is there and is no layout", "Name another place.")
    elif target.exists() and not target.is_dir():
        raise SproutError(f"{target}: is no directory", "Name it FILE.tar, or another place.")
    elif target.exists() and any(target.iterdir()) and not is_layout(target):
        raise SproutError(f"{target}: is there and is no layout", "Name another place.")


def _signed(graph: Graph, name: str, key: str) -> tuple[Path, Path]:
    shared = public(resolve(key))
    certificates = [shared.certificate(role) for role in signed.roles(graph, name)]
    if not signed.is_signed_by(graph, name, certificates):
        raise SproutError(
            f"{name}: its present build is not signed by {key}",
            f"Sign it: sprout sign {name} --key {key}.",
        )
    files = signed.signed_files(graph.tree, name)
    return files.image, files.disk


def _builder(root: Path) -> str:
    table = load_table(root / "oci" / "provenance.toml")
    builder = table.text("builder")
    table.finish()
    if not _URI.fullmatch(builder):
        raise table.error("builder", "is no URI", 'Write it as "https://ci.example/kernels".')
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
