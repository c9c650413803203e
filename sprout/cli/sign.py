"""Sign a boot image (Authenticode, with the key db) or a kernel module (with the key module).

WHAT is the name of an image of this tree: it is built, its kernel gets the certificate of the key
for modules where it takes any, its modules are signed, and image and disk lie in build/NAME-signed.
Or it is a file; the signed copy then gets `.signed` before its suffix.

What `pack` made is signed in place, with the key artifact: every artifact in it, its SBOM and its
provenance. That is done together with the image of that name, or alone by naming the directory.

Where the key is on a machine without a network:
--export writes what has to be signed and says how to sign it there, and --attach makes the signed
copy from the signatures that came back. The same inputs always give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import warnings
from pathlib import Path

from sprout.base.errors import UsageError, printable
from sprout.base.files import read_bounded, write_file
from sprout.base.progress import say
from sprout.build.driver import build
from sprout.build.graph import load_graph
from sprout.cli.build import add_settings, settings
from sprout.cli.sign_options import Options, add_key, options
from sprout.cli.sign_tree import sign_image
from sprout.cli.where import chosen_tree
from sprout.oci.layout import is_layout, open_layout
from sprout.oci.layout_sign import sign_layout
from sprout.oci.model import REF_NAME
from sprout.signing.certificates import public_key
from sprout.signing.detached import Attach, Export
from sprout.signing.files import (
    MAX_IMAGE_BYTES,
    check_signable,
    check_signed,
    role_of,
    signed_bytes,
    signed_name,
)
from sprout.signing.keyring import open_signer, public
from sprout.signing.signer import Signer


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument(
        "what", metavar="WHAT", help="image name, boot image (.efi), module (.ko) or OCI layout"
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path, help="a file's signed copy (default: see above)"
    )
    parser.add_argument(
        "--append", action="store_true", help="add a signature to those that an image has"
    )
    add_key(parser)
    add_settings(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Sign one file, or one image of the tree."""
    with warnings.catch_warnings():
        # What is odd in the certificate of an earlier signer is no news for the user.
        warnings.simplefilter("ignore")
        what: str = arguments.what
        if is_layout(Path(what)):
            lines = _sign_layout(arguments, Path(what))
        elif is_file(what):
            path = Path(what)
            target = arguments.output or signed_name(path)
            lines = sign_file(path, target, options(arguments))
        else:
            lines = tuple(_sign_of_tree(arguments, what))
        for line in lines:
            print(printable(line))
    return 0


def _sign_layout(arguments: argparse.Namespace, path: Path) -> tuple[str, ...]:
    how = options(arguments)
    if path.is_file():
        raise UsageError(
            f"{path}: an archive is not signed in place",
            "Sign as it is made: sprout pack NAME -o FILE.tar --key KEY.",
        )
    if how.export is not None or how.attach is not None or how.append or arguments.output:
        raise UsageError(
            f"{path}: a layout is signed in place, by a key that is here",
            "Leave --export, --attach, --append and --output out.",
        )
    signer = open_signer(how.key, "artifact", how.passphrase_file)
    signed = sign_layout(open_layout(path), signer, public_key(signer.certificate, how.key))
    by = signer.certificate.subject.rfc4514_string()
    return tuple(f"{row.annotations[REF_NAME]}: {row.digest} signed by {by}" for row in signed)


def is_file(what: str) -> bool:
    """Tell whether an argument names a file and not an image of the tree."""
    return "/" in what or what.endswith((".efi", ".img", ".ko")) or Path(what).is_file()


def _sign_of_tree(arguments: argparse.Namespace, name: str) -> list[str]:
    if arguments.output is not None or arguments.append:
        raise UsageError(
            f"{name}: --output and --append are for files",
            f"The signed image will be build/{name}-signed/{name}.efi.",
        )
    how = options(arguments)
    public(how.key)  # a wrong name is told before anything is built
    tree = chosen_tree(arguments)
    if name not in tree.images:
        known = ", ".join(tree.images)
        raise UsageError(f"{name}: no such image or file", f"Images in images.toml: {known}.")
    status = build(tree, [f"{name}-image"], settings(arguments))
    if status != 0:
        raise SystemExit(status)  # the build has said why
    lines = sign_image(load_graph(tree, settings(arguments)), name, how)
    packed = tree.build / f"{name}-oci"
    if how.export is None and how.attach is None and is_layout(packed):
        lines += _sign_layout(arguments, packed)
    return lines


def sign_file(source: Path, target: Path, how: Options) -> tuple[str, ...]:
    """Sign `source` into `target`, and give the lines that say what was done, or has to be.

    Raises SproutError when the file is none to sign, is signed already, or the key cannot be had;
    then `target` is not touched.
    """
    data = read_bounded(source, MAX_IMAGE_BYTES)
    role = role_of(data, source)
    label = source.name
    check_signable(data, label, append=how.append)
    if how.export is not None:
        export = Export(public(how.key).certificate(role), how.export, role)
        signed_bytes(data, export, label, append=how.append)
        return (
            f"{label}: exported; where the key {role} is, sign it with:",
            *(f"  {line}" for line in export.instructions()),
            f"then call this again with --attach {how.export} in place of --export",
        )
    signer = _signer(how, role)
    signed = signed_bytes(data, signer, label, append=how.append)
    for warning in check_signed(signed, signer, label):
        say(f"warning: {printable(warning)}")
    write_file(target, signed)
    by = signer.certificate.subject.rfc4514_string()
    return (f"{target}: signed by {by}, sha256:{hashlib.sha256(signed).hexdigest()}",)


def _signer(how: Options, role: str) -> Signer:
    if how.attach is not None:
        return Attach(public(how.key).certificate(role), how.attach)
    return open_signer(how.key, role, how.passphrase_file)
