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
from sprout.base.progress import Progress, say
from sprout.cli.registry import peak_memory, remote, trusted
from sprout.cli.registry_options import add_access, add_trust
from sprout.oci.carry import carry
from sprout.oci.pack import ARCHITECTURES
from sprout.oci.policy import Policy
from sprout.oci.pull import choose, pull
from sprout.oci.remote import Remote
from sprout.oci.trust import Accepted
from sprout.oci.verify import list_remote


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
    parser.add_argument(
        "--layout",
        action="store_true",
        help="make DIR a new OCI image layout of all architectures, with signatures, SBOM and "
        "provenance, that verifies without a network",
    )
    add_trust(parser)
    add_access(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Fetch the artifact and print its digest, its signer and its files."""
    policy = trusted(arguments)
    repository = remote(arguments, arguments.reference)
    if arguments.layout:
        return _carry(repository, policy, arguments.output)
    architecture = ARCHITECTURES.get(arguments.arch, arguments.arch)
    chosen = choose(repository, policy, architecture)
    with Progress(f"pulling {repository.reference}", chosen.size) as progress:
        pull(repository, chosen, arguments.output, progress.advance)
    _print_signer(repository, chosen.digest, chosen.accepted)
    for name, row in chosen.files.items():
        print(f"  {row.size:>13,}  {printable(name)}")
    print(f"peak memory: {peak_memory()}")
    return 0


def _carry(repository: Remote, policy: Policy, target: Path) -> int:
    listed = list_remote(repository, policy)
    with Progress(f"pulling {repository.reference}", listed.size) as progress:
        left = carry(repository, listed, target, progress.advance)
    for digest in left:
        say(f"warning: {digest} refers to it, and is too large or not all there: it stays behind")
    _print_signer(repository, listed.root.digest, listed.accepted)
    print(f"  {target}: {len(listed.manifests)} manifests, {listed.size:,} bytes")
    print(f"peak memory: {peak_memory()}")
    return 0


def _print_signer(repository: Remote, digest: str, accepted: Accepted) -> None:
    print(f"{repository.reference.name}@{digest}")
    print(
        f"  signed by {accepted.key.name} [{accepted.key.fingerprint[:16]}], {accepted.form} form"
    )
