"""What makes a machine trust its owner's keys: the contents of its variables, and signed writes.

PK holds the platform key's certificate, KEK and db those of their roles with all older ones that
stay trusted, dbx what is revoked, SbatLevel the lowest generations that still boot. PK signs the
writes of PK and KEK; KEK signs those of db and dbx (UEFI specification 2.10, section 32.3) and of
SbatLevel. edk2 ties a private authenticated variable to whoever wrote it first (SecurityPkg,
AuthVariableLib: certdb), so SbatLevel stays with the oldest KEK for as long as that key is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography.x509 import Certificate

from sprout.base.errors import SproutError
from sprout.format import levels
from sprout.signing import siglist
from sprout.signing.public import Public
from sprout.signing.signer import Signer
from sprout.signing.variables import VENDOR_OF, Variable, authenticated, well_known
from sprout.signing.varstore import signers_record

FIRMWARE_VARIABLES = ("PK", "KEK", "db", "dbx")
VARIABLES = (*FIRMWARE_VARIABLES, levels.VARIABLE)
OF_OLDER_PK = "PK-update"
WITHOUT_PK = "noPK"
EFIVARS = "efivars"


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


def contents(
    public: Public, time: datetime, only: Collection[str] = VARIABLES
) -> dict[str, Variable]:
    """Give the variables in `only` by name, as last written at `time`; dbx and SbatLevel where they
    say anything. Raises SproutError when PK, KEK or db is among them and has no certificate.
    """
    data = {}
    for role in ("PK", "KEK", "db"):
        if role in only:
            public.certificate(role)
            rows = public.of(role)[: 1 if role == "PK" else None]
            data[role] = siglist.pack(siglist.x509(public.owner, row) for row in rows)
    if public.dbx and "dbx" in only:
        data["dbx"] = public.dbx
    if public.levels and levels.VARIABLE in only:
        data[levels.VARIABLE] = levels.pack(public.levels)
    return {name: well_known(name, value, time) for name, value in data.items()}


def writes(
    public: Public,
    time: datetime,
    level_key: str,
    *,
    only: Collection[str] = VARIABLES,
    remove_pk: bool = False,
) -> tuple[Write, ...]:
    """Give the writes of the variables in `only`, in the order in which a machine in setup mode
    takes them: PK ends that mode.

    After them comes PK's for machines that trust the PK before this one, and with `remove_pk` the
    one that takes PK away. `level_key` is the stem of the KEK for SbatLevel. Raises SproutError as
    `contents` does.
    """
    found = contents(public, time, only)
    order = (("dbx", "KEK"), ("db", "KEK"), ("KEK", "PK"), (levels.VARIABLE, level_key))
    rows = [Write(name, found[name], key) for name, key in order if name in found]
    if "PK" not in found:
        return tuple(rows)
    rows.append(Write("PK", found["PK"], "PK"))
    rows += [Write(OF_OLDER_PK, found["PK"], stem) for stem in public.stems("PK")[1:2]]
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
    """Give the files of one write: LABEL.auth, the contents alone as .esl (or .bin), and the write
    under the name and in the form that Linux' efivarfs takes it: attributes, then .auth, which one
    write(2) has to hand over (Documentation/filesystems/efivarfs.rst).

    Raises SproutError when the key cannot sign.
    """
    if row.variable.time is None:
        raise ValueError("a write needs a time")
    auth = authenticated(row.variable, row.variable.time, _Labelled(signer, row.label))
    attributes = row.variable.attributes.to_bytes(4, "little")
    files = {f"{row.label}.auth": auth, efivars_name(row.label): attributes + auth}
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
    labels = (*VARIABLES, OF_OLDER_PK, WITHOUT_PK)
    files = {f"{label}{suffix}" for label in labels for suffix in (".auth", ".esl", ".bin")}
    return frozenset(files | {efivars_name(label) for label in labels})


def efivars_name(label: str) -> str:
    """Give the path of a write for efivarfs, whose files are called NAME-VENDORGUID.

    The two other writes of PK are no part of an enrolment, and lie in directories of their own.
    """
    name, folder = (label, EFIVARS) if label in VARIABLES else ("PK", f"{EFIVARS}-{label}")
    return f"{folder}/{name}-{VENDOR_OF[name]}"
