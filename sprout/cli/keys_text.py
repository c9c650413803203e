"""Prints key directories: certificates, where their private keys are, what is revoked."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sprout.base.errors import SproutError, printable
from sprout.signing import keyring, siglist
from sprout.signing.certificates import ROLES, fingerprint, key_type, public_key
from sprout.signing.public import Public
from sprout.signing.trust import revocations

SOON = timedelta(days=90)
_WHERE = {".key": "file", ".uri": "token"}
_OTHERS: dict[object, str] = {
    siglist.SHA1: "sha1",
    siglist.SHA384: "sha384",
    siglist.SHA512: "sha512",
}
_KINDS = {
    siglist.X509: "certificate",
    **dict.fromkeys(siglist.IMAGE_TYPES, "image"),
    siglist.X509_SHA256: "certificate by hash",
}


def facts(directory: Path, shared: Public, now: datetime) -> dict[str, Any]:
    """Give everything that a key directory says of itself, for JSON."""
    return {
        "name": directory.name.removesuffix(".pub"),
        "public": str(shared.directory),
        "owner": str(shared.owner),
        "keys": [
            _key_facts(directory, shared, role, stem, now)
            for role in ROLES
            for stem in shared.stems(role)
        ],
        "revoked": _revoked(shared),
        "levels": shared.levels,
    }


def _key_facts(
    directory: Path, shared: Public, role: str, stem: str, now: datetime
) -> dict[str, Any]:
    certificate = shared.certificates[stem]
    revoked = revocations(shared.dbx, shared.directory).revoked_certificates
    path = keyring.private_file(directory, stem)
    end = certificate.not_valid_after_utc
    return {
        "key": stem,
        "role": role,
        "current": stem == role,
        "subject": certificate.subject.rfc4514_string(),
        "type": key_type(public_key(certificate, stem)),
        "sha256": fingerprint(certificate),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": end.isoformat(),
        "days_left": (end - now).days,
        "revoked": certificate in revoked,
        "private": _WHERE[path.suffix] if path else "elsewhere",
        "uri": keyring.token_uri(path).text() if path and path.suffix == ".uri" else None,
    }


def _revoked(shared: Public) -> list[dict[str, str]]:
    return [
        {"kind": _KINDS[row.type], _algorithm(row.type): _digest(row.type, signature.data)}
        for row in siglist.parse(shared.dbx, shared.directory / "dbx.esl")
        for signature in row.signatures
    ]


def _algorithm(kind: object) -> str:
    return _OTHERS.get(kind, "sha256")


def _digest(kind: object, data: bytes) -> str:
    if kind in siglist.IMAGE_TYPES:
        return data.hex()
    return hashlib.sha256(data).hexdigest() if kind == siglist.X509 else data[:32].hex()


def summary(directory: Path, shared: Public, now: datetime) -> list[str]:
    """Give a key directory as a table for a terminal, with warnings of certificates that end."""
    found = facts(directory, shared, now)
    lines = [f"{'key':<11} {'type':<9} {'private key':<12} {'ends':<11} subject"]
    warnings = []
    for row in found["keys"]:
        end = row["not_after"][:10]
        lines.append(
            f"{row['key']:<11} {row['type']:<9} {row['private']:<12} {end:<11} "
            f"{printable(row['subject'])}{' (revoked)' if row['revoked'] else ''}"
        )
        lines.append(f"            SHA-256 {row['sha256']}")
        if row["uri"]:
            lines.append(f"            {printable(row['uri'])}")
        if row["days_left"] < SOON.days:
            verb = "ended" if row["days_left"] < 0 else "ends"
            warnings.append(f"warning: the certificate of {row['key']} {verb} on {end}")
    lines += [f"revoked: {' '.join(row.values())}" for row in found["revoked"]]
    lines += [f"lowest generation: {name} {number}" for name, number in found["levels"].items()]
    return [*lines, *warnings]


def listing(home: Path, now: datetime, *, as_json: bool) -> list[str]:
    """Give the key directories in `home`, one line each; a damaged one is named as such."""
    rows: list[dict[str, Any]] = []
    for path in sorted(home.glob("[!.]*.pub")) if home.is_dir() else ():
        try:
            shared = keyring.public(path)
        except SproutError as error:
            rows.append({"name": path.stem, "problem": error.message})
            continue
        ends = min((row.not_valid_after_utc for row in shared.certificates.values()), default=None)
        rows.append(
            {
                "name": path.stem,
                "keys": list(shared.certificates),
                "first_end": ends.isoformat() if ends else None,
                "soon": bool(ends and ends - now < SOON),
            }
        )
    if as_json:
        return [json.dumps(rows, indent=2)]
    return [_line(row) for row in rows] or [
        f"{home}: no keys yet; `sprout keys new NAME` makes some"
    ]


def _line(row: dict[str, Any]) -> str:
    name = printable(row["name"])
    if "problem" in row:
        return f"{name:<20} damaged: {row['problem']}"
    end = (row["first_end"] or "-")[:10]
    return f"{name:<20} first end {end}{' (soon)' if row['soon'] else ''}  {' '.join(row['keys'])}"
