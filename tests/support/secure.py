"""Keys, variable stores and disks for machines with Secure Boot, and boots that try many images."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from memory_signers import MemorySigner, signer

from sprout.format import pe
from sprout.image.disk import BOOT_NAMES
from sprout.image.esp import make_esp
from sprout.image.gpt import parse_gpt
from sprout.signing import siglist
from sprout.signing.siglist import SignatureList
from sprout.signing.signer import Signer
from sprout.signing.variables import GLOBAL_VARIABLE, Variable, well_known
from sprout.signing.varstore import write_store
from sprout.vm.boot import secure_template
from sprout.vm.console import Console
from sprout.vm.firmware import find_secure_firmware
from sprout.vm.qemu import Machine, find_qemu
from sprout.vm.refusal import Refusal, Refusals
from sprout.vm.session import End, Verdict, run_machine

OWNER = UUID("9d1e4f0a-2b57-4a53-8f1c-5f3f0f6f2b11")
ENROLLED = datetime(2026, 1, 1, tzinfo=UTC)
DEFAULT_PATH = f"EFI/BOOT/{BOOT_NAMES['x86_64']}"
LIMIT_S = 120.0
_EPOCH = 1_767_225_600
_FAILED = re.compile(
    r"^BdsDxe: failed to (?:load|start) Boot(?P<number>[0-9A-F]{4}) .*: (?P<why>.*)"
)
_GIVEN_UP = re.compile(r"Kernel panic|^BdsDxe: (?:loading \w+ .* from Fv\(|No bootable)")


@dataclass(frozen=True)
class Keys:
    """The roles of one fleet, keys that db holds beside the newest, and a stranger's."""

    pk: MemorySigner = field(default_factory=lambda: signer("PK"))
    kek: MemorySigner = field(default_factory=lambda: signer("KEK"))
    db: MemorySigner = field(default_factory=lambda: signer("db"))
    old: MemorySigner = field(default_factory=lambda: signer("old db"))
    older: MemorySigner = field(default_factory=lambda: signer("older db"))
    stranger: MemorySigner = field(default_factory=lambda: signer("stranger"))


def trusting(*signers: Signer) -> bytes:
    """Give signature lists with the certificates of `signers`."""
    return siglist.pack(siglist.x509(OWNER, signer.certificate) for signer in signers)


def enrolled(
    keys: Keys, *, db: Sequence[Signer] = (), dbx: Sequence[SignatureList] = ()
) -> list[Variable]:
    """Give PK, KEK, db (default: the db key) and dbx as variables."""
    variables = [
        well_known("PK", trusting(keys.pk), ENROLLED),
        well_known("KEK", trusting(keys.kek), ENROLLED),
        well_known("db", trusting(*(db or (keys.db,))), ENROLLED),
    ]
    return [*variables, well_known("dbx", siglist.pack(dbx), ENROLLED)] if dbx else variables


def make_store(target: Path, variables: Iterable[Variable], template: Path | None = None) -> Path:
    """Write the variable store of a machine (default: a new one) to `target` and give it back."""
    write_store(template or secure_template(), target, variables)
    return target


def make_disk_of(target: Path, files: Mapping[str, bytes]) -> Path:
    """Write a disk with `files`, by their paths, and give it back."""
    places: dict[str, Path] = {}
    for number, (name, data) in enumerate(files.items()):
        places[name] = target.with_name(f"{target.name}.{number}")
        places[name].write_bytes(data)
    make_esp(target, places, epoch=_EPOCH, seed=bytes(32))
    for place in places.values():
        place.unlink()
    return target


def boot_options(disk: Path, paths: Sequence[str]) -> list[Variable]:
    """Give the variables with which firmware tries files of the disk, in this order.

    (UEFI specification 2.10, sections 3.1.3, 10.3.5.1 and 10.3.5.4.)
    """
    part = parse_gpt(memoryview(disk.read_bytes()), disk).partitions[0]
    place = (1, part.first, part.last - part.first + 1, part.unique_guid.bytes_le, 2, 2)
    partition = struct.pack("<BBHIQQ16sBB", 4, 1, 42, *place)
    attributes = 7  # non-volatile, boot service and runtime access
    found = []
    for number, path in enumerate(paths):
        name = ("\\" + path.replace("/", "\\")).encode("utf-16-le") + b"\0\0"
        file = struct.pack("<BBH", 4, 4, 4 + len(name)) + name
        where = partition + file + struct.pack("<BBH", 0x7F, 0xFF, 4)
        option = struct.pack("<IH", 1, len(where)) + path.encode("utf-16-le") + b"\0\0" + where
        found.append(Variable(f"Boot{number:04X}", GLOBAL_VARIABLE, attributes, option))
    order = struct.pack(f"<{len(paths)}H", *range(len(paths)))
    return [*found, Variable("BootOrder", GLOBAL_VARIABLE, attributes, order)]


@dataclass(frozen=True)
class Tried:
    """What became of boot options tried in turn: refused or failed by path, or the end reached."""

    reached: bool
    refused: dict[str, Refusal]
    failed: dict[str, str]
    lines: tuple[str, ...]

    def text(self) -> str:
        return "\n".join(self.lines)


def try_in_turn(
    disk: Path,
    paths: Sequence[str],
    store: Path,
    *,
    until: str,
    keep: Path | None = None,
    limit_s: float = LIMIT_S,
) -> Tried:
    """Start a machine that tries `paths` in turn until a line holds `until`.

    `keep` is where the variable store goes that the machine has written to.
    """
    qemu = find_qemu("x86_64")
    firmware = find_secure_firmware("x86_64", qemu.versioned("q35"))
    machine = Machine(replace(firmware, nvram_template=store, nvram_format="raw"), disk)
    console, refusals = Console(), Refusals()
    refused: dict[str, Refusal] = {}
    failed: dict[str, str] = {}

    def judge(line: str, _seconds: float) -> Verdict | None:
        if until in line:
            return Verdict(End.REACHED)
        refusal, told = refusals.see(line), _FAILED.match(line)
        if refusal is not None:
            refused[paths[int(refusal.option[4:], 16)]] = refusal
        elif told is not None:
            failed[paths[int(told["number"], 16)]] = told["why"]
        return Verdict(End.FAILED, line) if _GIVEN_UP.search(line) else None

    run = run_machine(qemu, machine, console=console, judge=judge, timeout_s=limit_s, keep=keep)
    return Tried(run.end is End.REACHED, refused, failed, tuple(console.lines))


def write_plan(writes: Sequence[tuple[Variable, bytes, int]]) -> bytes:
    """Give the file that tells tests/boot/machine/enroll.c what to write: which variable, the bytes
    for SetVariable, and its attributes.
    """
    plan = b""
    for variable, data, attributes in writes:
        name = variable.name.encode("utf-16-le").ljust(64, b"\0")
        plan += struct.pack("<64s16sII", name, variable.guid.bytes_le, attributes, len(data)) + data
        plan += bytes(-len(plan) % 8)
    return plan


def flipped(image: bytes, offset: int) -> bytes:
    """Give the image with the lowest bit of one byte turned over."""
    changed = bytearray(image)
    changed[offset] ^= 1
    return bytes(changed)


def flips(image: bytes) -> dict[str, bytes]:
    """Give the image with one byte changed in each section, in the headers and in the table."""
    headers = pe.parse_headers(image, "image")
    places = {
        "header/DOS stub": headers.coff_offset - 8,
        "header/TimeDateStamp": headers.coff_offset + 4,
        "header/AddressOfEntryPoint": headers.optional_offset + 16,
        "header/SizeOfImage": headers.optional_offset + 56,
        "header/SizeOfHeaders": headers.optional_offset + 60,
        "header/DllCharacteristics": headers.optional_offset + 70,
    }
    for section in headers.sections:
        if section.raw_size:
            places[f"section/{section.name}"] = section.raw_offset + section.raw_size // 2
    last = headers.section_table_offset + (len(headers.sections) - 1) * pe.SECTION.size
    for offset, name in (
        *((1, "Name"), (8, "VirtualSize"), (12, "VirtualAddress"), (16, "SizeOfRawData")),
        *((20, "PointerToRawData"), (36, "Characteristics")),
    ):
        places[f"table/{name}"] = last + offset
    return {name: flipped(image, offset) for name, offset in places.items()}
