"""The arguments of every verb that signs with a key directory."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from sprout.signing.keyring import resolve


@dataclass(frozen=True)
class Options:
    """How to sign: the key directory, where its passphrase is, and where detached parts are.

    At most one of `export` and `attach` is given. `append` keeps the signatures of an image.
    """

    key: Path
    passphrase_file: Path | None = None
    append: bool = False
    export: Path | None = None
    attach: Path | None = None


def add_key(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of every verb that signs files with a key directory."""
    parser.add_argument("--key", required=True, metavar="KEY", help="name or path of the keys")
    parser.add_argument(
        *("--passphrase-file", "--pin-file"),
        metavar="FILE",
        type=Path,
        help="its first line is the passphrase or PIN (default: ask on the terminal)",
    )
    detached = parser.add_mutually_exclusive_group()
    detached.add_argument(
        "--export", metavar="DIR", type=Path, help="write what has to be signed elsewhere"
    )
    detached.add_argument(
        "--attach", metavar="DIR", type=Path, help="take the signatures made elsewhere"
    )


def options(arguments: argparse.Namespace) -> Options:
    """Give what was asked for with `add_key`."""
    return Options(
        key=resolve(arguments.key),
        passphrase_file=arguments.passphrase_file,
        append=getattr(arguments, "append", False),
        export=arguments.export,
        attach=arguments.attach,
    )
