"""What a verifier trusts: certificates, what is revoked, and the generations that still boot.

It is read from the public halves of key directories (`KEY.pub`) and from single certificates, as
many as are named: an owner who changes keys trusts the old ones and the new ones for a while.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.x509 import Certificate

from sprout.base.errors import SproutError
from sprout.format.levels import MAX_GENERATION
from sprout.signing import siglist
from sprout.signing.certificates import MAX_CERTIFICATE_BYTES, parse_certificate
from sprout.signing.private_files import public_entries
from sprout.signing.reading import read_optional, read_regular

MAX_LEVEL_BYTES = 64 << 10

_ROLE_FILE = re.compile(r"(db|module)(-[1-9][0-9]{0,2})?\.crt")
_LEVEL_HINT = "Lines are: sbat,1,DATE first, then COMPONENT,GENERATION."


@dataclass(frozen=True)
class Trust:
    """Whom and what to believe.

    `images` and `modules` are the certificates whose keys may sign either. `revoked_digests` are
    Authenticode digests of images, by any algorithm that dbx may use, `revoked_certificates` hold
    for all that descends from them, `revoked_tbs` are SHA-256 of TBSCertificates. `levels` is the
    lowest generation of each SBAT component that boots; `None` where no level is set.
    """

    images: tuple[Certificate, ...] = ()
    modules: tuple[Certificate, ...] = ()
    revoked_digests: frozenset[bytes] = frozenset()
    revoked_certificates: tuple[Certificate, ...] = ()
    revoked_tbs: frozenset[bytes] = frozenset()
    levels: dict[str, int] | None = None


def load_trust(paths: Iterable[Path]) -> Trust:
    """Read what `paths` name, all together: directories `KEY.pub`, or `KEY` beside its `KEY.pub`,
    and files with one certificate, in PEM or DER, which is trusted for images and modules alike.

    Raises SproutError naming the file and field that cannot be read, or a directory that trusts
    nobody.
    """
    total = Trust()
    for path in paths:
        total = merged(total, _file(path) if path.is_file() else _directory(path))
    return total


def merged(one: Trust, other: Trust) -> Trust:
    """Give what both trust together: everything revoked by either, and the higher levels."""
    levels = one.levels
    if other.levels is not None:
        levels = dict(levels or {})
        for component, generation in other.levels.items():
            levels[component] = max(generation, levels.get(component, 0))
    return Trust(
        images=tuple(dict.fromkeys(one.images + other.images)),
        modules=tuple(dict.fromkeys(one.modules + other.modules)),
        revoked_digests=one.revoked_digests | other.revoked_digests,
        revoked_certificates=tuple(
            dict.fromkeys(one.revoked_certificates + other.revoked_certificates)
        ),
        revoked_tbs=one.revoked_tbs | other.revoked_tbs,
        levels=levels,
    )


def revocations(data: bytes, where: object) -> Trust:
    """Read the contents of a dbx (signature lists) as a Trust that only revokes.

    Raises SproutError when they do not parse or hold a certificate that is none.
    """
    digests: set[bytes] = set()
    tbs: set[bytes] = set()
    certificates: list[Certificate] = []
    for row in siglist.parse(data, where):
        for signature in row.signatures:
            if row.type in siglist.IMAGE_TYPES:
                digests.add(signature.data)
            elif row.type == siglist.X509_SHA256:
                # Whatever the time of revocation: nothing here can prove when something was signed.
                tbs.add(signature.data[:32])
            else:
                certificates.append(parse_certificate(signature.data, where))
    return Trust(
        revoked_digests=frozenset(digests),
        revoked_certificates=tuple(certificates),
        revoked_tbs=frozenset(tbs),
    )


def parse_levels(text: str, where: object) -> dict[str, int]:
    """Read the lines of an `sbat-level.csv`: the lowest generation of each component.

    Raises SproutError naming the line that is wrong. The first line's date is for people.
    """
    levels: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        component, _, rest = line.strip().partition(",")
        digits = rest.partition(",")[0] if not levels else rest
        generation = int(digits) if re.fullmatch("[0-9]{1,10}", digits) else 0
        if not component or component in levels or not 0 < generation <= MAX_GENERATION:
            raise SproutError(f"{where}: line {number}: is no level", _LEVEL_HINT)
        if not levels and component != "sbat":
            raise SproutError(f"{where}: line {number}: is not sbat's", _LEVEL_HINT)
        levels[component] = generation
    return levels


def _read_certificate(path: Path) -> Certificate:
    return parse_certificate(read_regular(path, MAX_CERTIFICATE_BYTES), path)


def _file(path: Path) -> Trust:
    certificate = _read_certificate(path)
    return Trust(images=(certificate,), modules=(certificate,))


def _directory(path: Path) -> Trust:
    # On a machine that only verifies there is a KEY.pub and no KEY.
    folder = path.absolute()
    if not folder.name.endswith(".pub"):
        folder = folder.with_name(f"{folder.name}.pub")
    roles: dict[str, list[Certificate]] = {"db": [], "module": []}
    for role, file in _certificate_files(folder):
        roles[role].append(_read_certificate(file))
    if not roles["db"] and not roles["module"]:
        raise SproutError(
            f"{folder}: holds neither db.crt nor module.crt",
            "Name the KEY.pub that `sprout keys new KEY` made, or a certificate.",
        )
    revoked = Trust()
    dbx = folder / "dbx.esl"
    if (lists := read_optional(dbx, siglist.MAX_LIST_BYTES)) is not None:
        revoked = revocations(lists, dbx)
    levels = None
    level = folder / "sbat-level.csv"
    if (rows := read_optional(level, MAX_LEVEL_BYTES)) is not None:
        levels = parse_levels(_text(rows, level), level)
    own = Trust(images=tuple(roles["db"]), modules=tuple(roles["module"]), levels=levels or None)
    return merged(own, revoked)


def _certificate_files(folder: Path) -> Iterator[tuple[str, Path]]:
    for entry in public_entries(folder):
        if (match := _ROLE_FILE.fullmatch(entry.name)) is not None:
            yield match[1], entry


def _text(data: bytes, path: Path) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise SproutError(f"{path}: is not ASCII", _LEVEL_HINT) from error
