"""Sign the lowest versions of images that may still be installed: what a policy's `minimum` names.

Each IMAGE=VERSION says that no artifact of that image below that version is to be pulled or
accepted any more, whoever signed it. The document goes to the fleet together with the policy.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from packaging.version import InvalidVersion, Version

from sprout.base.errors import UsageError
from sprout.base.files import write_file
from sprout.oci.minimum import parse_version, sign_minimum
from sprout.oci.refused import RefusedError
from sprout.signing.keyring import open_signer, resolve

_MAX_VERSION = 64


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument(
        "versions", nargs="+", metavar="IMAGE=VERSION", help="such as zone=6.12.117"
    )
    parser.add_argument("--key", required=True, metavar="KEY", help="name or path of the keys")
    parser.add_argument(
        *("--passphrase-file", "--pin-file"),
        metavar="FILE",
        type=Path,
        help="its first line is the passphrase or PIN (default: ask on the terminal)",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, required=True, help="where it goes"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Sign the document, write it, and print what it says."""
    versions = dict(_pair(text) for text in arguments.versions)
    if len(versions) != len(arguments.versions):
        raise UsageError("an image is named twice", "Give each image one version.")
    signer = open_signer(resolve(arguments.key), "artifact", arguments.passphrase_file)
    write_file(arguments.output, sign_minimum(versions, signer))
    for name, version in versions.items():
        print(f"{name}: at least {version}")
    return 0


def _pair(text: str) -> tuple[str, Version]:
    name, equals, version = text.partition("=")
    try:
        if not name or not equals or len(version) > _MAX_VERSION:
            raise InvalidVersion
        return name, parse_version(version, text)
    except (InvalidVersion, RefusedError) as error:
        raise UsageError(f"{text}: is no IMAGE=VERSION", "Write it as zone=6.12.117.") from error
