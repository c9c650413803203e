"""Fetch an artifact from a registry into a directory, if somebody you trust has signed it.

The signature is looked at before any file is fetched, and everything chains to the signed digest.
Whatever is refused leaves nothing behind. What breaks off goes on where it was when the same
command is given again. Credentials are docker's ($DOCKER_CONFIG or ~/.docker).
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

from sprout.base.errors import printable
from sprout.base.progress import Progress
from sprout.cli.registry import peak_memory, remote, trusted
from sprout.cli.registry_options import add_access, add_trust
from sprout.oci.pack import ARCHITECTURES
from sprout.oci.pull import choose, pull


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("reference", metavar="REFERENCE", help="registry/repository:tag or @digest")
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, required=True, help="where the files go"
    )
    parser.add_argument(
        "--arch",
        metavar="ARCH",
        default=ARCHITECTURES.get(platform.machine(), "amd64"),
        help="amd64 or arm64 (default: this machine's)",
    )
    add_trust(parser)
    add_access(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Fetch the artifact and print its digest, its signer and its files."""
    keys = trusted(arguments)
    repository = remote(arguments, arguments.reference)
    architecture = ARCHITECTURES.get(arguments.arch, arguments.arch)
    chosen = choose(repository, keys, architecture)
    with Progress(f"pulling {repository.reference}", chosen.size) as progress:
        pull(repository, chosen, arguments.output, progress.advance)
    print(f"{repository.reference.name}@{chosen.digest}")
    key = chosen.accepted.key
    print(f"  signed by {key.name} [{key.fingerprint[:16]}], {chosen.accepted.form} form")
    for name, row in chosen.files.items():
        print(f"  {row.size:>13,}  {printable(name)}")
    print(f"peak memory: {peak_memory()}")
    return 0
