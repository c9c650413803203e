"""What a fleet demands of an artifact: whose signature, and what else has to be vouched for."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import Version

from sprout.base.table import Table, load_table
from sprout.oci.attest import KINDS
from sprout.oci.keys import TrustedKey, load_trusted
from sprout.oci.minimum import parse_version, read_minimum
from sprout.oci.model import IMAGE, VERSION, Descriptor, Index, Manifest
from sprout.oci.provenance import PREDICATE, SOURCE
from sprout.oci.refused import RefusedError, Why, malformed
from sprout.oci.trust import Accepted, Source, check_attested, check_signed

_ALWAYS = "signature"


@dataclass(frozen=True)
class Policy:
    """Demands on an artifact; with `keys` alone it has to be signed by one of them, that is all.

    `images` are those of a tree that it may be of; `attested` are kinds of statements, as `KINDS`
    names them; `builders` are URIs of who may have built; `sources` are URIs at or below which
    everything compiled has to lie; `minimum` are the lowest versions of images. An empty one of
    these demands nothing, None for `minimum`.
    """

    keys: tuple[TrustedKey, ...]
    images: tuple[str, ...] = ()
    attested: tuple[str, ...] = ()
    builders: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    minimum: dict[str, Version] | None = None


def load_policy(path: Path) -> Policy:
    """Read a policy; the files that it names are beside it.

    Raises SproutError naming the field that is malformed, RefusedError when the minimum versions
    are not signed by one of the policy's keys.
    """
    table = load_table(path)
    names = table.texts("keys")
    if not names:
        raise table.error("keys", "is empty", 'Name whom to trust, such as "release.pub".')
    folder = path.absolute().parent
    keys = load_trusted(str(folder / name) for name in names)
    demanded = table.texts("require", (_ALWAYS,))
    for kind in demanded:
        if kind not in (_ALWAYS, *KINDS):
            known = ", ".join((_ALWAYS, *KINDS))
            raise table.error("require", f"there is no {kind}", f"Known here: {known}.")
    images = table.texts("images", ())
    builders, sources = table.texts("builders", ()), table.texts("sources", ())
    if "" in sources:
        raise table.error("sources", "has an empty one", "Leave it out to take any source.")
    attested = tuple(kind for kind in KINDS if kind in demanded)
    if (builders or sources) and "provenance" not in attested:
        raise _without_provenance(table, "builders" if builders else "sources")
    minimum = read_minimum(folder / table.text("minimum"), keys) if table.has("minimum") else None
    table.finish()
    return Policy(keys, images, attested, builders, sources, minimum)


def _without_provenance(table: Table, field: str) -> Exception:
    return table.error(
        field, "only a provenance tells them", 'Add "provenance" to require, or leave this out.'
    )


def check_policy(
    policy: Policy, source: Source, root: Descriptor, parsed: Manifest | Index, where: str
) -> Accepted:
    """Give who signed the artifact whose index or manifest `root` is, once all demands on it hold.

    What is demanded of manifests is for `check_manifests`. Raises RefusedError.
    """
    accepted = check_signed(source, root.digest, policy.keys, where)
    image = parsed.annotations.get(IMAGE)
    if policy.images and image not in policy.images:
        said = f"is of {image[:80]!r}" if image else f"has no annotation {IMAGE}"
        raise RefusedError(Why.AGAINST_POLICY, where, f"{said}, which the policy does not take")
    if policy.minimum is not None:
        _check_version(policy.minimum, parsed, where)
    return accepted


def check_manifests(policy: Policy, source: Source, rows: Sequence[Descriptor], where: str) -> None:
    """Check what the policy wants to be said of each manifest; raises RefusedError."""
    for row in rows:
        for kind in policy.attested:
            place = f"{where}: {kind}"
            check_attested(
                source,
                row.digest,
                policy.keys,
                place,
                KINDS[kind],
                judge=functools.partial(_check_said, policy, KINDS[kind], place),
            )


def _check_said(policy: Policy, predicate: str, where: str, said: dict[str, Any]) -> None:
    """Check what one statement says; another of the same key may say what is demanded."""
    if predicate == PREDICATE:
        _check_provenance(policy, said, where)
    elif said.get("bomFormat") != "CycloneDX" or not said.get("components"):
        raise malformed(where, "is no bill of anything in CycloneDX")


def _check_version(minimum: dict[str, Version], parsed: Manifest | Index, where: str) -> None:
    image = parsed.annotations.get(IMAGE)
    if image not in minimum:
        said = f"is of {image[:80]!r}" if image else f"has no annotation {IMAGE}"
        raise RefusedError(
            Why.AGAINST_POLICY, where, f"{said}, for which no minimum version is signed"
        )
    found = parse_version(parsed.annotations.get(VERSION), f"{where}: {VERSION}")
    if found < minimum[image]:
        raise RefusedError(
            Why.TOO_OLD, where, f"its version {found} is below {minimum[image]}, the signed minimum"
        )


def _check_provenance(policy: Policy, said: dict[str, Any], where: str) -> None:
    builder = _inside(said, "runDetails", "builder", "id")
    if policy.builders and builder not in policy.builders:
        raise RefusedError(Why.AGAINST_POLICY, where, f"was built by {str(builder)[:100]!r}")
    if not policy.sources:
        return
    rows = _inside(said, "buildDefinition", "resolvedDependencies")
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    compiled = [row.get("uri") for row in rows if _inside(row, "annotations", "role") == SOURCE]
    if not compiled:
        raise RefusedError(Why.AGAINST_POLICY, where, "names no source")
    for uri in compiled:
        if not isinstance(uri, str) or not any(_is_below(uri, start) for start in policy.sources):
            raise RefusedError(Why.AGAINST_POLICY, where, f"was built from {str(uri)[:160]!r}")


def _is_below(uri: str, start: str) -> bool:
    """Tell whether a URI is `start`, or below it: not merely spelt like it.

    Neither https://a.example.org/x nor https://a.example@b/x is below https://a.example; a version
    ends a name in a package URL, pkg:deb/debian/NAME@VERSION. A scheme alone is everything in it.
    """
    path = uri.lower().replace("%2e", ".").split("/")
    if not uri.startswith(start) or "." in path or ".." in path:
        return False
    if start.endswith(":") and "/" not in start:
        return True
    ends = "/?#@" if start.startswith("pkg:") else "/?#"
    return uri == start or start[-1:] in ends or uri[len(start)] in ends


def _inside(value: object, *names: str) -> object:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
