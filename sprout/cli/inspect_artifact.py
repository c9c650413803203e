"""Shows what an OCI artifact holds for `inspect`: in a registry, or in a layout's directory."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sprout.base.errors import printable
from sprout.cli.registry import remote
from sprout.oci.cosign import PREDICATE_NOTE
from sprout.oci.layout import is_layout, open_layout
from sprout.oci.model import (
    REF_NAME,
    TITLE,
    Descriptor,
    Index,
    Manifest,
    distinct,
    parse_manifest,
)
from sprout.oci.refused import altered
from sprout.oci.stored import Stored
from sprout.oci.trust import Source


def inspect_artifact(arguments: argparse.Namespace) -> int:
    """Print what is there; raises RefusedError when it is malformed or not what its digest says."""
    if is_layout(Path(arguments.file)):
        stored = Stored(open_layout(Path(arguments.file)))
        facts = [
            _facts(stored, row, row.annotations[REF_NAME]) for row in stored.layout.artifacts()
        ]
    else:
        repository = remote(arguments, arguments.file)
        facts = [_facts(repository, repository.root()[0], arguments.file)]
    if arguments.json:
        print(json.dumps(facts, indent=2))
    else:
        print("\n".join(printable(line) for row in facts for line in _lines(row)))
    return 0


def _facts(source: Source, root: Descriptor, name: str) -> dict[str, Any]:
    parsed = _read(source, root, name)
    rows = distinct(parsed.manifests, name) if isinstance(parsed, Index) else (root,)
    return {
        "artifact": name,
        "digest": root.digest,
        "annotations": parsed.annotations,
        "referrers": _referrers(source, root),
        "manifests": [_manifest_facts(source, row, name) for row in rows],
    }


def _manifest_facts(source: Source, row: Descriptor, name: str) -> dict[str, Any]:
    manifest = _read(source, row, name)
    layers = manifest.layers if isinstance(manifest, Manifest) else ()
    return {
        "digest": row.digest,
        "architecture": row.architecture,
        "artifact_type": manifest.artifact_type,
        "files": [
            {
                "name": layer.annotations.get(TITLE),
                "size": layer.size,
                "digest": layer.digest,
                "media_type": layer.media_type,
            }
            for layer in layers
        ],
        "referrers": _referrers(source, row),
    }


def _referrers(source: Source, row: Descriptor) -> list[dict[str, Any]]:
    return [
        {"digest": found.digest, "artifact_type": found.artifact_type, **found.annotations}
        for found in source.referrers(row.digest)
    ]


def _read(source: Source, row: Descriptor, name: str) -> Manifest | Index:
    if isinstance(source, Stored):
        return source.layout.manifest(row)[1]
    found = source.manifest(row.digest)
    if found is None:
        raise altered(name, f"{row.digest} is named, but not there")
    return parse_manifest(found[0], f"{name}: {row.digest}", row.media_type)


def _lines(facts: dict[str, Any]) -> list[str]:
    lines = [f"{facts['artifact']}: {facts['digest']}"]
    lines += [f"  {name} = {value}" for name, value in sorted(facts["annotations"].items())]
    lines += _referrer_lines(facts, "  ")
    for row in facts["manifests"]:
        lines += ["", f"  manifest     {row['digest']}"]
        lines.append(f"  architecture {row['architecture'] or 'any'}")
        if row["artifact_type"]:
            lines.append(f"  type         {row['artifact_type']}")
        lines += [f"  {file['size']:>14,}  {file['name']}" for file in row["files"]]
        lines += _referrer_lines(row, "  ") if row["digest"] != facts["digest"] else []
    return [*lines, ""]


def _referrer_lines(facts: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for row in facts["referrers"]:
        kind = row["artifact_type"] or "of no type"
        said = row.get(PREDICATE_NOTE)
        lines.append(f"{indent}referrer     {kind}, not verified here")
        lines += [f"{indent}             {said}"] if said else []
    return lines
