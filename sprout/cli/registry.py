"""What every verb that speaks to a registry does with its arguments."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sprout.base.errors import UsageError
from sprout.oci.keys import load_trusted
from sprout.oci.names import parse_reference
from sprout.oci.policy import Policy, load_policy
from sprout.oci.remote import Remote
from sprout.oci.web import Access


def access(arguments: argparse.Namespace) -> Access:
    """Give what was asked for with `add_access`; credentials are docker's."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")  # noqa: PTH111 - stays as it is where nobody has a home
    if arguments.insecure and arguments.ca is not None:
        raise UsageError("--insecure and --ca exclude each other", "Leave one of them out.")
    return Access(
        insecure=arguments.insecure,
        authority=arguments.ca,
        timeout=arguments.timeout,
        attempts=arguments.attempts,
        config=Path(folder) / "config.json",
    )


def remote(arguments: argparse.Namespace, reference: str) -> Remote:
    """Give the repository that a reference names; nothing is sent yet."""
    return Remote(parse_reference(reference), access(arguments))


def trusted(arguments: argparse.Namespace) -> Policy:
    """Give what `add_trust` was told to demand; raises SproutError."""
    if arguments.policy is not None:
        return load_policy(arguments.policy)
    return Policy(load_trusted(arguments.key))


def peak_memory() -> str:
    """Give the most memory that this process has had (proc(5), VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return f"{int(line.split()[1]) / 1024:.0f} MiB"
    return "unknown"
