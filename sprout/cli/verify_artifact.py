"""Verifies OCI artifacts for `verify`: in a registry, or in a layout's directory."""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from sprout.base.errors import SproutError, UsageError, printable
from sprout.base.progress import Progress, say
from sprout.oci import refused
from sprout.oci.layout import is_layout, open_layout
from sprout.oci.model import REF_NAME, distinct
from sprout.oci.names import parse_reference

if TYPE_CHECKING:
    from sprout.oci.policy import Policy
    from sprout.oci.verify import Verified


def is_artifact(what: str) -> bool:
    """Tell whether an argument names a layout or something in a registry, and no other file."""
    path = Path(what)
    if path.exists():
        return is_layout(path)
    host = what.partition("/")[0]
    if what.startswith((".", "/")) or not ("." in host or ":" in host or host == "localhost"):
        return False
    try:
        parse_reference(what)
    except UsageError:
        return False
    return True


def verify_artifact(arguments: argparse.Namespace) -> int:
    """Print the verdict on an artifact.

    A refusal ends with status 1, as it does in `pull`; raises RefusedError.
    """
    from sprout.cli.registry import peak_memory, trusted  # noqa: PLC0415 - HTTP is slow to import

    try:
        policy = trusted(arguments)
        if is_layout(Path(arguments.file)):
            found = _stored(Path(arguments.file), policy)
        else:
            found = [(arguments.file, _remote(arguments, policy))]
    except UsageError:
        raise
    except SproutError as error:
        if arguments.json:
            print(json.dumps([_refusal(arguments.file, error)], indent=2))
        raise
    if arguments.json:
        print(json.dumps([_facts(name, row) for name, row in found], indent=2))
        return 0
    for name, row in found:
        key = row.accepted.key
        print(f"{printable(name)}: {row.digest}")
        print(f"  signed by {key.name} [{key.fingerprint[:16]}], {row.accepted.form} form")
        print(f"  {row.manifests} manifests, {row.blobs} blobs, {row.size:,} bytes: as signed")
        print("  accepted")
    say(f"peak memory: {peak_memory()}")
    return 0


def _stored(path: Path, policy: Policy) -> list[tuple[str, Verified]]:
    from sprout.oci.stored import Stored  # noqa: PLC0415 - HTTP is slow to import
    from sprout.oci.verify import verify_stored  # noqa: PLC0415 - HTTP is slow to import

    layout = open_layout(path)
    roots = layout.artifacts()
    if not roots:
        hint = "Pack it again, or copy it with a name: skopeo copy … oci:DIRECTORY:NAME."
        raise SproutError(f"{path}: holds no artifact with a name", hint)
    stored = Stored(layout)
    for row in stored.strays(roots):
        say(f"warning: {path}: {row.digest} belongs to nothing with a name, and is not verified")
    found = {
        digest: _counted(printable(name), functools.partial(verify_stored, stored, row, policy))
        for digest, (name, row) in {
            row.digest: (row.annotations[REF_NAME], row) for row in distinct(roots, str(path))
        }.items()
    }
    return [(row.annotations[REF_NAME], found[row.digest]) for row in roots]


def _remote(arguments: argparse.Namespace, policy: Policy) -> Verified:
    from sprout.cli.registry import remote  # noqa: PLC0415 - HTTP is slow to import
    from sprout.oci.verify import verify_remote  # noqa: PLC0415 - HTTP is slow to import

    where = remote(arguments, arguments.file)
    return _counted(arguments.file, functools.partial(verify_remote, where, policy))


def _counted(
    name: str, verify: Callable[[Callable[[int], Callable[[int], None]]], Verified]
) -> Verified:
    """Verify with a bar, which is there once the bytes are known."""
    with ExitStack() as stack:
        return verify(lambda size: stack.enter_context(Progress(f"verifying {name}", size)).advance)


def _refusal(name: str, error: SproutError) -> dict[str, object]:
    why = str(error.why) if isinstance(error, refused.RefusedError) else "failed"
    return {"artifact": name, "accepted": False, "why": why, "problem": error.message}


def _facts(name: str, row: Verified) -> dict[str, object]:
    return {
        "artifact": name,
        "accepted": True,
        "digest": row.digest,
        "signer": row.accepted.key.fingerprint,
        "form": row.accepted.form,
        "manifests": row.manifests,
        "blobs": row.blobs,
        "size": row.size,
    }
