"""Writes what makes a machine trust a key directory, in one go or around an offline signature."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sprout.base.errors import SproutError, UsageError
from sprout.base.files import read_bounded, staged_directory, write_file
from sprout.signing import enrolment, keyring
from sprout.signing.detached import Attach, Export
from sprout.signing.public import Public
from sprout.signing.signer import Signer

TEACHING = """\
For real machines, in setup mode: write dbx.auth, db.auth, KEK.auth and
SbatLevel.auth, and PK.auth last, which ends that mode. A machine that trusts
the PK before the present one takes PK-update.auth. --no-pk adds noPK.auth,
which brings a machine back into setup mode: lock it away. The files below
efivars are the same for Linux' efivarfs: dd bs=1M conv=notrunc each to the
file of its name in /sys/firmware/efi/efivars, after chattr -i if that exists.

Keys that are not here sign nothing: what needs them is left out, and named.
--only names the variables that are wanted.

For QEMU: OVMF_VARS.fd is a variable store of a machine that trusts the keys
from its first boot. --ovmf names the blank store to begin with; without it
the one of the installed firmware is taken, if there is one.

A machine keeps SbatLevel for the KEK that wrote it first: it is signed by the
oldest KEK whose private key is there; --level-key names another.

Firmware takes a write only when its time is later than that of the one before;
none is kept here: the clock's is used, or --time.

Keys on another machine: run it with --export DIR, sign every DIR/*.tbs there
as the output says, bring the .sig files back, run it with --attach DIR;
with the same --only and --no-pk.
"""
STORE = "OVMF_VARS.fd"
_TIME_FILE = "time"
_MAX_TIME_BYTES = 64
_ISO = re.compile(r"(19|2[0-9])[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `keys enroll`, less the name and the passphrase."""
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="where the files go")
    parser.add_argument("--time", metavar="TIME", help="of the writes, as 2026-01-31T12:00:00Z")
    parser.add_argument("--no-pk", action="store_true", help="write noPK.auth too")
    parser.add_argument("--ovmf", type=Path, metavar="FILE", help=f"blank store for {STORE}")
    parser.add_argument("--level-key", metavar="KEK-N", help="KEK that SbatLevel belongs to")
    parser.add_argument(
        "--only",
        type=_names,
        default=enrolment.VARIABLES,
        metavar="NAMES",
        help=f"such as dbx,SbatLevel; of {', '.join(enrolment.VARIABLES)}",
    )
    offline = parser.add_mutually_exclusive_group()
    offline.add_argument("--export", type=Path, metavar="DIR", help="write what is to be signed")
    offline.add_argument("--attach", type=Path, metavar="DIR", help="take the signatures there")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not set(names) <= set(enrolment.VARIABLES):
        raise argparse.ArgumentTypeError(f"{text}: is not of {', '.join(enrolment.VARIABLES)}")
    return names


def execute(arguments: argparse.Namespace, directory: Path) -> list[str]:
    """Write the files, or what is to be signed for them, and say what there is."""
    if bool(arguments.output) == bool(arguments.export):
        raise UsageError(
            "sprout keys enroll: one of -o DIR and --export DIR is needed",
            "Say where the files go: -o DIR.",
        )
    if arguments.no_pk and "PK" not in arguments.only:
        raise UsageError("--no-pk: is a write of PK", "Name PK in --only too, or leave it out.")
    shared = keyring.public(directory)
    time = _time(arguments)
    if arguments.export:
        return _export(arguments, shared, time)
    available: Callable[[str], bool]
    if arguments.attach:
        available = _signed_elsewhere(shared, arguments.attach)
    else:

        def available(stem: str) -> bool:
            return keyring.private_file(directory, stem) is not None

    level_key = enrolment.level_owner(shared, available, arguments.level_key)
    wanted = _writes(arguments, shared, time, level_key)
    rows = tuple(row for row in wanted if available(row.stem))
    files = _signed(arguments, directory, shared, rows, wanted)
    whole = set(arguments.only) == set(enrolment.VARIABLES)
    template = _template(arguments.ovmf) if whole else None
    _check_replaceable(arguments.output)
    with staged_directory(arguments.output) as staging:
        for name, data in files.items():
            write_file(staging / name, data)
        if template is not None:
            from sprout.signing.varstore import write_store  # noqa: PLC0415 - start-up

            variables = enrolment.store_contents(shared, time, level_key)
            write_store(template, staging / STORE, variables)
    lines = [f"{arguments.output}: written for {_text(time)}"]
    lines += [f"  {row.label + '.auth':<16} signed by {row.stem}" for row in rows]
    if template is not None:
        lines.append(f"  {STORE:<16} for QEMU")
    lines += [
        f"  {row.label + '.auth':<16} left out: the private key {row.stem} is not here"
        for row in wanted
        if row not in rows
    ]
    if whole and template is None:
        lines.append(f"no OVMF for Secure Boot is installed here: no {STORE} (--ovmf FILE)")
    return lines


def _signed(
    arguments: argparse.Namespace,
    directory: Path,
    shared: Public,
    rows: tuple[enrolment.Write, ...],
    wanted: tuple[enrolment.Write, ...],
) -> dict[str, bytes]:
    """Give the files of the writes `rows`, those of `wanted` whose keys can be used."""
    stems = tuple(dict.fromkeys(row.stem for row in rows))
    if not wanted:
        raise SproutError(
            f"{shared.directory}: says nothing of {', '.join(arguments.only)}",
            "`sprout keys revoke` and `sprout keys level` fill dbx and SbatLevel.",
        )
    if not rows:
        needed = ", ".join(dict.fromkeys(row.stem for row in wanted))
        raise SproutError(
            f"{directory}: has no private key {needed}, which all that is wanted takes",
            "If it is on another machine, use --export DIR and --attach DIR.",
        )
    signers: dict[str, Signer]
    if arguments.attach:
        signers = {stem: Attach(shared.certificate(stem), arguments.attach) for stem in stems}
    else:
        signers = keyring.open_signers(directory, stems, arguments.passphrase_file)
    files: dict[str, bytes] = {}
    for row in rows:
        files |= enrolment.signed_files(row, signers[row.stem])
    return files


def _writes(
    arguments: argparse.Namespace, shared: Public, time: datetime, level_key: str
) -> tuple[enrolment.Write, ...]:
    return enrolment.writes(
        *(shared, time, level_key), only=arguments.only, remove_pk=arguments.no_pk
    )


def _signed_elsewhere(shared: Public, folder: Path) -> Callable[[str], bool]:
    """Tell which keys signed what lies in `folder`.

    Of an older PK that is up to what was brought back; SbatLevel always waits for its first key.
    """

    def available(stem: str) -> bool:
        if not stem.startswith("PK-"):
            return True
        return Attach(shared.certificate(stem), folder).has(enrolment.OF_OLDER_PK)

    return available


def _export(arguments: argparse.Namespace, shared: Public, time: datetime) -> list[str]:
    folder: Path = arguments.export
    exports: dict[str, Export] = {}
    level_key = enrolment.level_owner(shared, lambda _: True, arguments.level_key)
    for row in _writes(arguments, shared, time, level_key):
        certificate = shared.certificate(row.stem)
        export = exports.setdefault(row.stem, Export(certificate, folder, row.stem))
        enrolment.signed_files(row, export)
    write_file(folder / _TIME_FILE, f"{_text(time)}\n".encode())
    count = sum(len(export.written) for export in exports.values())
    commands = [line for export in exports.values() for line in export.instructions()]
    return [
        f"{folder}: exported {count} files to sign; where the keys are, run:",
        *(f"  {line}" for line in commands),
        f"Then bring the .sig files to {folder}, and use --attach {folder} -o DIR.",
    ]


def _time(arguments: argparse.Namespace) -> datetime:
    """Give the time of the writes: that of the export where its signatures are attached."""
    if arguments.attach:
        if arguments.time:
            raise UsageError("--time: was settled by the export", "Leave it out.")
        path = arguments.attach / _TIME_FILE
        text = read_bounded(path, _MAX_TIME_BYTES).decode("ascii", "replace").strip()
        return _parsed(text, path)
    if arguments.time:
        return _parsed(arguments.time, "--time")
    return datetime.now(UTC).replace(microsecond=0)


def _parsed(text: str, where: object) -> datetime:
    hint = "Write it as 2026-01-31T12:00:00Z, in UTC."
    if not _ISO.fullmatch(text):
        raise SproutError(f"{where}: {text}: is no time", hint)
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise SproutError(f"{where}: {text}: is no time", hint) from error


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _template(named: Path | None) -> Path | None:
    if named is not None:
        return named
    from sprout.vm.boot import secure_template  # noqa: PLC0415 - start-up

    try:
        return secure_template()
    except SproutError:
        return None  # nobody asked for it; the output says that it is not there


def _check_replaceable(output: Path) -> None:
    """Refuse to replace a directory that holds anything but what an earlier run wrote."""
    ours = enrolment.file_names() | {STORE}
    folders = {str(Path(name).parent) for name in ours}
    there = {str(row.relative_to(output)) for row in output.rglob("*")}
    if output.exists() and (not output.is_dir() or there - ours - folders):
        raise SproutError(
            f"{output}: exists and holds other files", "Name a new directory: -o DIR."
        )
