"""The arguments of every verb that speaks to a registry."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

_MAX_SECONDS = 86_400


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
    """Add the arguments that say whose signatures are believed, and what else is demanded."""
    trust = parser.add_mutually_exclusive_group(required=True)
    trust.add_argument(
        "--key",
        action="append",
        metavar="KEY",
        help="whom to trust: a KEY.pub directory, the name of a key, or a certificate or public "
        "key in PEM; more than one may be given",
    )
    trust.add_argument(
        "--policy",
        metavar="FILE",
        type=Path,
        help="a policy: whom to trust, and what else has to be vouched for",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not (math.isfinite(seconds) and 0 < seconds <= _MAX_SECONDS):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from above 0 to a day")
    return seconds
