"""Who we are to a registry: what docker's config.json says, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded

_MAX_BYTES = 1 << 20


def docker_credentials(path: Path) -> dict[str, Any]:
    """Read config.json: "auths", "credHelpers" and "credsStore" of it (docker-config-json(5)).

    A file that is not there holds none. Raises SproutError when it is malformed.
    """
    found: dict[str, Any] = {"auths": {}, "credHelpers": {}, "credsStore": None}
    if not path.exists():
        return found
    hint = "Mend it, or log in again: docker login."
    try:
        values = json.loads(read_bounded(path, _MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise SproutError(f"{path}: is no JSON: {error}", hint) from error
    if not isinstance(values, dict):
        raise SproutError(f"{path}: is no JSON object", hint)
    for name, empty in found.items():
        value = values.get(name)
        if value is None:
            continue
        if not isinstance(value, str if empty is None else dict):
            raise SproutError(f"{path}: {name} is malformed", hint)
        found[name] = value
    auths = found["auths"]
    for name, entry in list(auths.items()):
        if not isinstance(entry, dict) or not str(entry.get("auth", "")).isascii():
            raise SproutError(f"{path}: auths: {name[:80]!r} is malformed", hint)
        # docker writes some names as addresses.
        auths.setdefault(name.removeprefix("https://").partition("/")[0], entry)
    return found
