"""The public half of a key directory, `KEY.pub`: what may be given to everybody.

ROLE.crt        the role's certificate (PEM); ROLE-1.crt, ROLE-2.crt … older ones still trusted
artifact.pub    the artifact key as SubjectPublicKeyInfo (PEM), which is what cosign reads
owner.guid      the SignatureOwner of the entries in db and dbx
dbx.esl         what is revoked, as signature lists; may be absent
sbat-level.csv  the lowest SBAT generations that still boot; may be absent, but whoever writes
                a machine's SbatLevel first owns it
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import Certificate

from sprout.base.errors import SproutError
from sprout.format import levels
from sprout.signing import siglist
from sprout.signing.certificates import MAX_CERTIFICATE_BYTES, ROLES, parse_certificate, public_key
from sprout.signing.private_files import public_entries, write_public
from sprout.signing.reading import read_optional, read_regular
from sprout.signing.trust import MAX_LEVEL_BYTES, parse_levels

OWNER_FILE = "owner.guid"
DBX_FILE = "dbx.esl"
LEVEL_FILE = "sbat-level.csv"
_MAX_OWNER_BYTES = 256
_STEM = re.compile(rf"({'|'.join(ROLES)})(?:-([1-9][0-9]{{0,2}}))?")


@dataclass(frozen=True)
class Public:
    """A key directory's public half.

    `certificates` are by stem: "db" is the current one of its role, "db-1" the oldest, "db-2" the
    one after it. `dbx` are signature lists, `levels` SBAT components with their generations.
    """

    directory: Path
    owner: UUID
    certificates: dict[str, Certificate]
    dbx: bytes
    levels: dict[str, int]

    def stems(self, role: str) -> tuple[str, ...]:
        """Give the stems of a role's certificates: the current one, then from new to old."""
        older = [stem for stem in self.certificates if stem.startswith(f"{role}-")]
        older.sort(key=lambda stem: int(stem.rpartition("-")[2]), reverse=True)
        return (*((role,) if role in self.certificates else ()), *older)

    def of(self, role: str) -> tuple[Certificate, ...]:
        """Give a role's certificates, the current one first, then from new to old."""
        return tuple(self.certificates[stem] for stem in self.stems(role))

    def certificate(self, stem: str) -> Certificate:
        """Give the certificate of `stem`; raises SproutError when there is none."""
        if stem not in self.certificates:
            raise SproutError(
                f"{self.directory / stem}.crt: no such certificate",
                f"There is: {', '.join(self.certificates) or 'none'}.",
            )
        return self.certificates[stem]


def load_public(directory: Path) -> Public:
    """Read a directory `KEY.pub`.

    Raises SproutError naming the file that is missing, damaged, of the wrong kind, or open to
    changes by other users.
    """
    certificates = {
        path.stem: parse_certificate(read_regular(path, MAX_CERTIFICATE_BYTES), path)
        for path in public_entries(directory)
        if path.suffix == ".crt" and _STEM.fullmatch(path.stem)
    }
    dbx = read_optional(directory / DBX_FILE, siglist.MAX_LIST_BYTES) or b""
    siglist.parse(dbx, directory / DBX_FILE)
    return Public(
        directory=directory,
        owner=_owner(directory / OWNER_FILE),
        certificates=certificates,
        dbx=dbx,
        levels=_levels(directory / LEVEL_FILE),
    )


def _owner(path: Path) -> UUID:
    text = read_regular(path, _MAX_OWNER_BYTES).decode("ascii", "replace").strip()
    try:
        return UUID(text)
    except ValueError:
        raise SproutError(f"{path}: is no GUID", "Put the SignatureOwner's GUID there.") from None


def _levels(path: Path) -> dict[str, int]:
    text = (read_optional(path, MAX_LEVEL_BYTES) or b"").decode("utf-8", "replace")
    rows = parse_levels(text, path)
    levels.pack(rows)  # refuses what the table on the machine cannot hold
    return rows


def certificate_files(stem: str, certificate: Certificate) -> dict[str, bytes]:
    """Give the names and bytes of the public files of one certificate."""
    files = {f"{stem}.crt": certificate.public_bytes(Encoding.PEM)}
    if stem == "artifact":
        key = public_key(certificate, stem)
        files["artifact.pub"] = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return files


def revoke(public: Public, *rows: siglist.SignatureList) -> bool:
    """Add signature lists to what is revoked; give False when all of them were there already.

    Raises SproutError when the file cannot be written.
    """
    path = public.directory / DBX_FILE
    there = {
        (known.type, signature.data)
        for known in siglist.parse(public.dbx, path)
        for signature in known.signatures
    }
    new = [
        row
        for row in rows
        if any((row.type, signature.data) not in there for signature in row.signatures)
    ]
    if new:
        write_public(path, public.dbx + siglist.pack(new))
    return bool(new)


def set_levels(public: Public, changes: dict[str, int], now: datetime, *, lower: bool) -> None:
    """Change the lowest generations of some components, and date the file `now`.

    Raises SproutError when one would sink and `lower` is not allowed, or does not fit the table.
    """
    path = public.directory / LEVEL_FILE
    for component, generation in changes.items():
        before = public.levels.get(component, 0)
        if generation < before and not lower:
            raise SproutError(
                f"{path}: {component}: {generation} is below {before}, which is set already",
                "A lower level lets revoked images boot again; use --force if that is wanted.",
            )
    write_public(path, level_text(public.levels | changes, now))


def level_text(rows: dict[str, int], now: datetime) -> bytes:
    """Give the contents of `sbat-level.csv` for `rows`, dated `now`; raises SproutError."""
    whole = {"sbat": 1} | rows
    levels.pack(whole)
    first = f"sbat,{whole.pop('sbat')},{now:%Y%m%d}00\n"
    lines = "".join(f"{component},{number}\n" for component, number in sorted(whole.items()))
    return (first + lines).encode()
