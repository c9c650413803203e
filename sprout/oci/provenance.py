"""Where an artifact comes from: SLSA's provenance, version 1 (slsa.dev/spec/v1.0/provenance)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

PREDICATE = "https://slsa.dev/provenance/v1"
# What happened, in the sense of `buildType`: docs/oci.md says what the parameters mean.
BUILD_TYPE = "urn:sprout:build:v1"
SOURCE = "source"


@dataclass(frozen=True)
class Material:
    """Something that went into a build: what role it had there, where it is found, its SHA-256.

    `role` is "source" for what was compiled, and else "patch", "configuration" or "tool".
    `sha256` is None for a tool, of which the version is known alone.
    """

    role: str
    name: str
    uri: str
    sha256: str | None
    notes: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Give it as a ResourceDescriptor (in-toto attestation framework, spec/v1)."""
        found: dict[str, Any] = {
            "annotations": {"role": self.role, **dict(self.notes)},
            "name": self.name,
            "uri": self.uri,
        }
        if self.sha256 is not None:
            found["digest"] = {"sha256": self.sha256}
        return found


def provenance(
    builder: str,
    version: str,
    parameters: Mapping[str, str],
    steps: Mapping[str, str],
    materials: Iterable[Material],
) -> dict[str, Any]:
    """Give the predicate.

    `builder` is a URI of who has built, with Sprout's `version`; `parameters` are what was asked
    for, `steps` the keys of the build's steps. There is no time in it: a build repeats exactly.
    """
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": dict(parameters),
            "internalParameters": {"stepKeys": dict(steps)},
            "resolvedDependencies": [row.to_json() for row in materials],
        },
        "runDetails": {"builder": {"id": builder, "version": {"sprout": version}}},
    }
