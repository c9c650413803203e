"""The arguments of every verb that speaks to a registry."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

from sprout.base.errors import UsageError
from sprout.oci.keys import TrustedKey, load_trusted
from sprout.oci.names import parse_reference
from sprout.oci.remote import Remote
from sprout.oci.web import Access


def add_access(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how a registry is spoken to."""
    parser.add_argument("--insecure", action="store_true", help="plain HTTP, without TLS")
    parser.add_argument(
        "--ca", metavar="FILE", type=Path, help="certificates that may vouch for the registry"
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=30.0,
        help="how long the registry may be silent (default: 30)",
    )
    parser.add_argument(
        "--attempts",
        metavar="N",
        type=int,
        choices=range(1, 21),
        default=5,
        help="how often a request is made before it has failed (default: 5)",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the argument that says whose signatures are believed."""
    parser.add_argument(
        "--key",
        action="append",
        required=True,
        metavar="KEY",
        help="whom to trust: a KEY.pub directory, the name of a key, or a public key in PEM; "
        "more than one may be given",
    )


def access(arguments: argparse.Namespace) -> Access:
    """Give what was asked for with `add_access`; credentials are docker's."""
    folder = os.environ.get("DOCKER_CONFIG", "")
    config = Path(folder) / "config.json" if folder else None
    if arguments.insecure and arguments.ca is not None:
        raise UsageError("--insecure and --ca exclude each other", "Leave one of them out.")
    return Access(
        insecure=arguments.insecure,
        authority=arguments.ca,
        timeout=arguments.timeout,
        attempts=arguments.attempts,
        config=config,
    )


def remote(arguments: argparse.Namespace, reference: str) -> Remote:
    """Give the repository that a reference names; nothing is sent yet."""
    return Remote(parse_reference(reference), access(arguments))


def trusted(arguments: argparse.Namespace) -> tuple[TrustedKey, ...]:
    """Give the keys of `add_trust`; raises SproutError."""
    return load_trusted(arguments.key)


def peak_memory() -> str:
    """Give the most memory that this process has had (proc(5), VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return f"{int(line.split()[1]) / 1024:.0f} MiB"
    return "unknown"


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not (math.isfinite(seconds) and seconds > 0):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return seconds
