"""What makes a machine trust its owner's keys: the contents of its variables, and signed writes.

PK holds the platform key's certificate, KEK and db those of their roles with all older ones that
stay trusted, dbx what is revoked, SbatLevel the lowest generations that still boot. PK signs the
writes of PK and KEK; KEK signs those of db and dbx (UEFI specification 2.10, section 32.3) and of
SbatLevel. edk2 ties a private authenticated variable to whoever wrote it first (SecurityPkg,
AuthVariableLib: certdb), so SbatLevel stays with the oldest KEK for as long as that key is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography.x509 import Certificate

from sprout.base.errors import SproutError
from sprout.format import levels
from sprout.signing import siglist
from sprout.signing.public import Public
from sprout.signing.signer import Signer
from sprout.signing.variables import Variable, authenticated, well_known
from sprout.signing.varstore import signers_record

FIRMWARE_VARIABLES = ("PK", "KEK", "db", "dbx")
OF_OLDER_PK = "PK-update"
WITHOUT_PK = "noPK"


@dataclass(frozen=True)
class Write:
    """One authenticated write: its label, what it sets, the stem of the key that signs it."""

    label: str
    variable: Variable
    stem: str


class _Labelled:
    """A signer under whose label a write is exported, whichever variable it is for."""

    def __init__(self, signer: Signer, label: str) -> None:
        self._signer = signer
        self._label = label

    @property
    def certificate(self) -> Certificate:
        return self._signer.certificate

    def sign(self, message: bytes, label: str) -> bytes:
        return self._signer.sign(message, self._label)


def contents(public: Public, time: datetime) -> dict[str, Variable]:
    """Give the variables by name, as last written at `time`; dbx and SbatLevel where they say
    anything. Raises SproutError when PK, KEK or db has no certificate.
    """
    data = {"PK": siglist.pack([siglist.x509(public.owner, public.certificate("PK"))])}
    for role in ("KEK", "db"):
        public.certificate(role)
        data[role] = siglist.pack(siglist.x509(public.owner, row) for row in public.of(role))
    if public.dbx:
        data["dbx"] = public.dbx
    if public.levels:
        data[levels.VARIABLE] = levels.pack(public.levels)
    return {name: well_known(name, value, time) for name, value in data.items()}


def writes(
    public: Public,
    time: datetime,
    available: Callable[[str], bool],
    *,
    level_key: str | None = None,
    remove_pk: bool = False,
) -> tuple[Write, ...]:
    """Give the writes in the order in which a machine in setup mode takes them: PK ends that mode.

    After them comes PK's for machines that trust the PK before this one, and with `remove_pk` the
    one that takes PK away. `available` tells of a stem whether its private key can be used;
    `level_key` is the KEK for SbatLevel, if not the oldest one that can. Raises SproutError when
    there is no such certificate, or none of PK, KEK or db.
    """
    found = contents(public, time)
    owner = level_owner(public, available, level_key)
    rows = []
    for name, key in (("dbx", "KEK"), ("db", "KEK"), ("KEK", "PK"), (levels.VARIABLE, owner)):
        if name in found:
            rows.append(Write(name, found[name], key))
    rows.append(Write("PK", found["PK"], "PK"))
    older = public.stems("PK")[1:2]
    if older and available(older[0]):
        rows.append(Write(OF_OLDER_PK, found["PK"], older[0]))
    if remove_pk:
        # A write has to be later than the one before, and this one follows PK's.
        empty = replace(found["PK"], data=b"", time=time + timedelta(seconds=1))
        rows.append(Write(WITHOUT_PK, empty, "PK"))
    return tuple(rows)


def level_owner(public: Public, available: Callable[[str], bool], wanted: str | None = None) -> str:
    """Give the stem of the KEK that SbatLevel is tied to: `wanted`, else the oldest available.

    Raises SproutError when `wanted` is no KEK.
    """
    oldest_first = tuple(reversed(public.stems("KEK")))
    if wanted is not None:
        if wanted not in oldest_first:
            raise SproutError(f"{wanted}: is no KEK here", f"There is {', '.join(oldest_first)}.")
        return wanted
    return next((stem for stem in oldest_first if available(stem)), "KEK")


def signed_files(row: Write, signer: Signer) -> dict[str, bytes]:
    """Give the files of one write: LABEL.auth, and the contents alone as .esl (or .bin).

    Raises SproutError when the key cannot sign.
    """
    if row.variable.time is None:
        raise ValueError("a write needs a time")
    auth = authenticated(row.variable, row.variable.time, _Labelled(signer, row.label))
    files = {f"{row.label}.auth": auth}
    if row.label in FIRMWARE_VARIABLES:
        files[f"{row.label}.esl"] = row.variable.data
    elif row.label == levels.VARIABLE:
        files[f"{row.label}.bin"] = row.variable.data
    return files


def store_contents(public: Public, time: datetime, level_key: str) -> tuple[Variable, ...]:
    """Give the variables for a store of a machine that trusts these keys from its first boot.

    With them comes edk2's record that SbatLevel belongs to the KEK of the stem `level_key`: without
    it nobody could raise the level. Raises SproutError as `contents` does.
    """
    found = contents(public, time)
    if levels.VARIABLE not in found:
        return tuple(found.values())
    owner = public.certificate(level_key)
    return (*found.values(), signers_record({found[levels.VARIABLE]: owner}))


def file_names() -> frozenset[str]:
    """Give every name that a directory of signed writes may hold."""
    labels = (*FIRMWARE_VARIABLES, levels.VARIABLE, OF_OLDER_PK, WITHOUT_PK)
    return frozenset(f"{label}{suffix}" for label in labels for suffix in (".auth", ".esl", ".bin"))
