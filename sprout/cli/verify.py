"""Verify a signed boot image, module, disk or OCI artifact against the keys that you trust.

It says what firmware, boot stub or kernel would refuse and why, and looks further than they do: at
the validity of certificates in time, and with --digest at every byte of the file.

Of an artifact, in a registry or a layout (a directory or a tar archive), the signature is judged,
every byte that chains to the digest that was signed, and with --policy what else is vouched for. It
is given as registry/repository:tag, or as a path.
"""

from __future__ import annotations

import argparse
import json
import re
import warnings
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from sprout.base.errors import SproutError, UsageError, printable
from sprout.base.files import read_bounded, sha256_file
from sprout.cli.head import read_head
from sprout.cli.refusal import RefusedError
from sprout.cli.registry_options import add_access, add_trust
from sprout.cli.verify_artifact import is_artifact, verify_artifact
from sprout.image.disk import read_disk
from sprout.image.gpt import is_gpt
from sprout.image.reading import read_mapped
from sprout.image.uki import MAX_IMAGE_BYTES
from sprout.signing.keyring import resolve
from sprout.signing.modules import MAX_MODULE_BYTES
from sprout.signing.trust import Trust, load_trust
from sprout.signing.verify import (
    Judged,
    Reason,
    Refusal,
    Verdict,
    other_digest,
    verify_image,
    verify_module,
)

_WHO = {
    "firmware": "the firmware",
    "kernel": "the kernel",
    "stub": "the boot stub",
    "sprout": "sprout",
}
_HINTS = {
    Reason.MALFORMED: "Build or fetch the file again; it is damaged.",
    Reason.UNSIGNED: "Sign it: sprout sign FILE --key KEY.",
    Reason.ALTERED: "Fetch it again from where it was signed, and do not use this one.",
    Reason.STRANGER: "If its signer is to be trusted, name that certificate with --key too.",
    Reason.REVOKED_HASH: "Build and sign a newer one; this very image is revoked.",
    Reason.REVOKED_CERTIFICATE: "Sign it with a key that is not revoked.",
    Reason.SBAT: "Build a newer one; this generation is not to be booted any more.",
    Reason.EXPIRED: "Sign it with a newer certificate, or ask about another day with --at.",
    Reason.NOT_YET_VALID: "Check the clock, or ask about another day with --at.",
    Reason.DIGEST: "Fetch it again; it is not the file that the digest was taken of.",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument(
        "file", metavar="WHAT", help="image, module, disk, layout, or registry/repository:tag"
    )
    add_trust(parser)
    parser.add_argument(
        "--digest", type=_digest, metavar="sha256:HEX", help="what the whole file has to hash to"
    )
    parser.add_argument(
        "--at", type=_time, metavar="DATE", help="when certificates have to be valid (default: now)"
    )
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    add_access(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Print the verdict; raises RefusedError when it is a refusal."""
    if is_artifact(arguments.file):
        if arguments.digest is not None or arguments.at is not None:
            raise UsageError("--digest and --at are for files", "Write REPOSITORY@sha256:HEX.")
        return verify_artifact(arguments)
    if arguments.policy is not None:
        raise UsageError("--policy is for OCI artifacts", "Name whom to trust with --key.")
    path = Path(arguments.file)
    if not path.exists():
        raise SproutError(f"{path}: no such file or artifact", "Check the path, or the registry.")
    with warnings.catch_warnings():
        # What is odd in a stranger's certificate is no news for the user.
        warnings.simplefilter("ignore")
        trust = load_trust(resolve(name) for name in arguments.key)
        verdict = _verdict(path, trust, arguments.digest, arguments.at)
    if arguments.json:
        facts = {"file": path.name, "accepted": verdict.accepted} | asdict(verdict)
        print(json.dumps(facts, indent=2))
    else:
        print("\n".join(printable(line) for line in _lines(path, verdict)))
    if not verdict.accepted:
        first = verdict.refusals[0]
        raise RefusedError(f"{path}: refused: {first.text}", _HINTS[first.reason])
    return 0


def _verdict(path: Path, trust: Trust, digest: str | None, at: datetime | None) -> Verdict:
    head = read_head(path, "Name an image, a module or a disk.")
    if head[:2] == b"MZ":
        return read_mapped(
            path, MAX_IMAGE_BYTES, lambda data: verify_image(data, path, trust, digest, at)
        )
    if head[:4] == b"\x7fELF":
        return verify_module(read_bounded(path, MAX_MODULE_BYTES), path, trust, digest, at)
    if is_gpt(head):
        disk = read_disk(path)
        verdict = verify_image(disk.image, f"{path}: {disk.image_name}", trust, None, at)
        # The image on the disk is what is judged; the digest is the disk's, as named.
        sha256 = sha256_file(path)
        found = other_digest(sha256, digest) if digest else None
        refusals = (found, *verdict.refusals) if found else verdict.refusals
        return replace(verdict, sha256=sha256, refusals=refusals)
    raise SproutError(
        f"{path}: is no PE image, kernel module, GPT disk or OCI layout",
        "Name one of these, uncompressed.",
    )


def _lines(path: Path, verdict: Verdict) -> list[str]:
    lines = [f"{path.name}: {verdict.kind}, sha256:{verdict.sha256}"]
    for number, row in enumerate(verdict.signatures, start=1):
        lines.append(f"  signature {number}  {_signature(row)}")
    lines += [f"  refused      {_refusal(row)}" for row in verdict.refusals]
    if verdict.accepted:
        lines.append("  accepted")
    return lines


def _signature(row: Judged) -> str:
    signer = row.signer or "(unknown signer)"
    if row.fingerprint:
        signer += f" [{row.fingerprint[:16]}]"
    if row.refusal is not None:
        return f"{signer}: {row.refusal.reason}"
    return f"{signer}: good, trusted by {row.anchor}"


def _refusal(row: Refusal) -> str:
    return f"{row.reason}, by {_WHO[row.by]}: {row.text}"


def _digest(text: str) -> str:
    match = re.fullmatch("sha256:([0-9A-Fa-f]{64})", text)
    if match is None:
        raise argparse.ArgumentTypeError("a digest is sha256: and 64 hexadecimal digits")
    return match[1].lower()


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no date such as 2027-01-31") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
