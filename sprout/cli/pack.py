"""Pack an image's kernel, initramfs, boot image and disk as OCI artifacts, in one image layout.

What is not built yet is built first. `oci/artifacts.toml` says which files an artifact holds; its
SBOM (CycloneDX) and its provenance (SLSA) lie beside it. The layout (default: build/NAME-oci) is
the source of what `push` sends; the same input always gives the same digests.

Named FILE.tar, the layout is an archive, for who has no registry: sign it with --key as it is made.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path

from cryptography.x509 import Certificate

from sprout.base.errors import SproutError, UsageError
from sprout.base.files import scratch_prefix
from sprout.build import signed
from sprout.build.driver import build
from sprout.build.graph import load_graph
from sprout.build.packing import gather, targets
from sprout.cli.build import add_settings, settings
from sprout.cli.where import chosen_tree
from sprout.oci.archive import write_archive
from sprout.oci.layout import is_layout, open_layout
from sprout.oci.layout_sign import sign_layout
from sprout.oci.pack import pack
from sprout.signing.certificates import public_key
from sprout.signing.keyring import open_signer, public, resolve


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
    chosen = settings(arguments)
    status = build(tree, targets(load_graph(tree, chosen), name), chosen)
    if status != 0:
        return status
    graph = load_graph(tree, chosen)
    keys: list[Certificate] = []
    if arguments.signed_by is not None:
        shared = public(resolve(arguments.signed_by))
        keys = [shared.certificate(role) for role in signed.roles(graph, name)]
    packing = gather(graph, name, arguments.builder, keys)
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


def _check_target(target: Path) -> None:
    """Refuse to replace what is no layout; raises SproutError."""
    if target.suffix == ".tar":
        if target.exists() and not (target.is_file() and is_layout(target)):
            raise SproutError(f"{target}: is there and is no layout", "Name another place.")
    elif target.exists() and not target.is_dir():
        raise SproutError(f"{target}: is no directory", "Name it FILE.tar, or another place.")
    elif target.exists() and any(target.iterdir()) and not is_layout(target):
        raise SproutError(f"{target}: is there and is no layout", "Name another place.")
