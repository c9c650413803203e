"""Send the artifacts of a packed image to a registry, signed with the key `artifact`.

WHAT is the name of an image that `pack` packed, or the directory of a layout. Its kernel goes to
the tag that REFERENCE names, the others to that tag with their suffix (-initramfs and so on). What
the registry has already is not sent again. Both of cosign's forms of signature are made, without
any network but the registry. Credentials are docker's ($DOCKER_CONFIG or ~/.docker).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sprout.base.errors import UsageError
from sprout.base.progress import Progress
from sprout.cli.registry import access, peak_memory
from sprout.cli.registry_options import add_access
from sprout.cli.where import chosen_tree
from sprout.oci.keys import PublicKey
from sprout.oci.layout import Layout, is_layout, open_layout
from sprout.oci.model import SUFFIX, Descriptor
from sprout.oci.names import Reference, parse_reference
from sprout.oci.push import plan, push
from sprout.oci.remote import Remote
from sprout.signing.certificates import public_key
from sprout.signing.keyring import open_signer, resolve
from sprout.signing.signer import Signer


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument(
        "what", metavar="WHAT", help="a packed image, or a layout: its directory, or a tar archive"
    )
    parser.add_argument("reference", metavar="REFERENCE", help="registry/repository:tag")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--key", metavar="KEY", help="name or path of the keys to sign with")
    how.add_argument("--unsigned", action="store_true", help="sign nothing; nobody will trust it")
    parser.add_argument(
        *("--passphrase-file", "--pin-file"),
        metavar="FILE",
        type=Path,
        help="its first line is the passphrase or PIN (default: ask on the terminal)",
    )
    parser.add_argument(
        "--only", metavar="KIND,…", help="send these alone: kernel, sdk, initramfs, image, disk"
    )
    parser.add_argument(
        "--mount", metavar="REPOSITORY", help="take blobs from another repository of the registry"
    )
    add_access(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Send what was asked for and print the digest of each artifact."""
    reference = parse_reference(arguments.reference)
    if reference.tag is None or reference.digest is not None:
        raise UsageError(f"{reference}: a push wants a tag", "Write it as registry/repository:tag.")
    layout = _layout(arguments)
    roots = _roots(layout, arguments.only)
    sign = None
    if arguments.key is not None:
        signer = open_signer(resolve(arguments.key), "artifact", arguments.passphrase_file)
        sign = (signer, public_key(signer.certificate, arguments.key))
    for root in roots:
        where = reference.with_suffix(root.annotations.get(SUFFIX, ""))
        _send(arguments, layout, root, where, sign)
    print(f"peak memory: {peak_memory()}")
    return 0


def _send(
    arguments: argparse.Namespace,
    layout: Layout,
    root: Descriptor,
    where: Reference,
    sign: tuple[Signer, PublicKey] | None,
) -> None:
    remote = Remote(where, access(arguments))
    what = plan(layout, root)
    with Progress(f"pushing {where}", what.size) as progress:
        sent = push(
            layout,
            what,
            remote,
            sign=sign,
            mount=arguments.mount,
            advance=progress.advance,
        )
    print(f"{where}@{sent.digest}: {sent.blobs} blobs, {sent.size:,} bytes sent")


def _layout(arguments: argparse.Namespace) -> Layout:
    path = Path(arguments.what)
    if "/" in arguments.what or is_layout(path):
        return open_layout(path)
    tree = chosen_tree(arguments)
    if arguments.what not in tree.images:
        known = ", ".join(tree.images)
        raise UsageError(f"{arguments.what}: no such image or layout", f"Images: {known}.")
    path = tree.build / f"{arguments.what}-oci"
    if not is_layout(path):
        raise UsageError(
            f"{arguments.what}: is not packed", f"Pack it: sprout pack {arguments.what}."
        )
    return open_layout(path)


def _roots(layout: Layout, only: str | None) -> list[Descriptor]:
    named = layout.artifacts()
    if only is not None:
        return [layout.root(kind) for kind in only.split(",")]
    suffixes = [row.annotations.get(SUFFIX) for row in named]
    if len(named) > 1 and (None in suffixes or len(set(suffixes)) != len(suffixes)):
        raise UsageError(f"{layout.path}: holds several artifacts", "Name one with --only.")
    return named or [layout.root(None)]
