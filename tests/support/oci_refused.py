"""A pull that has to fail: with one line, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

from commands import Sprout, assert_one_error
from oci_server import Server

# So that a registry that does not answer is given up soon.
QUICK = ("--timeout", "2", "--attempts", "2")


def refused(
    sprout: Sprout, server: Server, key: Path, *parts: str, reference: str | None = None
) -> None:
    """Pull, which has to fail with one error line with these parts, and leave nothing."""
    target = key.parent / "out"
    words = ("--key", key, "-o", target, "--ca", server.authority, *QUICK)
    before = sorted(key.parent.rglob("*"))
    output = sprout("pull", reference or server.reference, *words, "--arch", "amd64")
    assert_one_error(output, *parts)
    assert sorted(key.parent.rglob("*")) == before
