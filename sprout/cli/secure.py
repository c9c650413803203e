"""Secure Boot for `boot`: a machine that trusts a key directory, and what it is to boot."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sprout.build.graph import load_graph
from sprout.build.tree import Tree
from sprout.cli.build import settings
from sprout.cli.sign_options import Options
from sprout.cli.sign_tree import ensure_signed
from sprout.signing.enrolment import level_owner, store_contents
from sprout.signing.keyring import private_file, public, resolve
from sprout.signing.varstore import write_store
from sprout.vm.boot import secure_template


def check_key(arguments: argparse.Namespace) -> None:
    """Raise SproutError when there are no keys of the name `--key`."""
    public(resolve(arguments.key))


@contextmanager
def enrolled_store(arguments: argparse.Namespace) -> Iterator[Path]:
    """Give the variable store of a machine that trusts `--key`, for as long as it runs.

    Raises SproutError when the keys or the firmware's blank store cannot be read.
    """
    directory = resolve(arguments.key)
    shared = public(directory)
    owner = level_owner(shared, lambda stem: private_file(directory, stem) is not None)
    variables = store_contents(shared, datetime.now(UTC), owner)
    with tempfile.TemporaryDirectory(prefix="sprout-boot-") as work:
        store = Path(work) / "variables.fd"
        write_store(secure_template(), store, variables)
        yield store


def signed_disk(arguments: argparse.Namespace, tree: Tree, name: str) -> Path:
    """Give the disk with the built image `name` signed by `--key`; sign it where it is not yet.

    Raises SproutError when the key cannot sign.
    """
    how = Options(resolve(arguments.key), arguments.passphrase_file)
    return ensure_signed(load_graph(tree, settings(arguments)), name, how).disk
