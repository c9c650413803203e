"""Show what is inside a boot image, kernel, disk, initramfs or OCI artifact.

Nothing is run and no signature is verified. What a file says of itself is printed with every
character that a terminal would act on escaped.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import textwrap
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sprout.base.errors import SproutError, printable
from sprout.base.files import sha256_file
from sprout.cli.head import read_head
from sprout.cli.registry_options import add_access
from sprout.cli.verify_artifact import is_artifact
from sprout.format import pe
from sprout.image.bzimage import read_setup_header
from sprout.image.disk import BootDisk, read_disk
from sprout.image.gpt import is_gpt
from sprout.image.reading import BootImage, parse_image, read_image, read_mapped
from sprout.image.uki import MAX_IMAGE_BYTES
from sprout.initramfs.cpio import Entry, describe, is_cpio, read_cpio
from sprout.initramfs.reading import Row, explain

MAX_INITRAMFS_BYTES = 1 << 30
_WIDTH = 80


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument(
        "file", metavar="WHAT", help="a file, a layout's directory, or registry/repository:tag"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    add_access(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Print what is in the file; raises SproutError when it is damaged or of no known kind."""
    if is_artifact(arguments.file):
        module = importlib.import_module("sprout.cli.inspect_artifact")  # HTTP is slow to import
        status: int = module.inspect_artifact(arguments)
        return status
    path = Path(arguments.file)
    head = read_head(path, "Name an image, disk or initramfs.")
    if head[:2] == b"MZ" or read_setup_header(head, path) is not None:
        image = read_image(path)
        initrd = read_mapped(path, MAX_IMAGE_BYTES, lambda data: _initrd(data, image, path))
        facts, lines = _image_facts(image), _image_lines(image)
        facts["initrd"] = None if initrd is None else [asdict(row) for row in initrd]
        lines += _reason_lines(initrd or [])
    elif is_gpt(head):
        disk = read_disk(path)
        image = parse_image(disk.image, f"{path}: {disk.image_name}")
        facts = _disk_facts(path, disk)
        lines = [*_disk_lines(facts, disk), "", disk.image_name, *_image_lines(image)]
        facts["image"] = _image_facts(image)
    elif is_cpio(head):
        archive = read_mapped(path, MAX_INITRAMFS_BYTES, lambda data: data[:])
        entries = read_cpio(archive, path)
        facts, lines = _initramfs_facts(path, entries), _initramfs_lines(path, entries)
        reasons = explain(archive, path)
        facts["reasons"] = [asdict(row) for row in reasons]
        lines += _reason_lines(reasons)
    else:
        raise SproutError(
            f"{path}: is no boot image, kernel, GPT disk or uncompressed initramfs",
            "Unpack a compressed file first; otherwise name another one.",
        )
    if arguments.json:
        print(json.dumps({"file": path.name} | facts, indent=2))
    else:
        print("\n".join([printable(path.name), *lines]))
    return 0


def _field(name: str, value: str) -> list[str]:
    """Give a field's lines, wrapped to the terminal's 80 columns."""
    indent = " " * 15
    wrapped = textwrap.wrap(
        printable(value), _WIDTH - len(indent), break_on_hyphens=False, replace_whitespace=False
    )
    first, *rest = wrapped or ["(empty)"]
    return [f"  {name:<13}{first}", *(indent + line for line in rest)]


def _image_facts(image: BootImage) -> dict[str, Any]:
    return asdict(image) | {
        "signed": image.signed,
        "generations_agree": image.generations_agree,
    }


def _image_lines(image: BootImage) -> list[str]:
    stamp = datetime.fromtimestamp(image.timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = _field("kind", f"{image.kind}, {image.machine}")
    lines += _field("size", f"{image.size:,} bytes")
    lines += _field("SHA-256", image.sha256)
    lines += _field("time stamp", stamp)
    for name, text in (
        ("kernel", image.kernel_version),
        ("uname", image.uname),
        ("system", _system(image.os_release)),
        ("command line", image.cmdline),
        ("hypervisor's", image.hypervisor_cmdline),
    ):
        if text is not None:
            lines += _field(name, text)
    signatures = f"yes, {image.certificates} signature(s), not verified here"
    lines += _field("signed", signatures if image.signed else "no")
    if image.sections:
        lines += ["", f"  {'section':<9} {'access':<6} {'size':>14} {'memory':>14}"]
        lines += [
            f"  {row.name:<9} {row.access:<6} {row.size:>14,} {row.memory_size:>14,}"
            for row in image.sections
        ]
        lines += ["", "  SHA-256 of the sections"]
        lines += [f"  {row.name:<9} {row.sha256}" for row in image.sections]
    return lines + _sbat_lines(image)


def _initrd(data: pe.Buffer, image: BootImage, where: Path) -> list[Row] | None:
    """Give why each file is in the image's own initramfs; None where that is none we can read."""
    section = next((row for row in image.sections if row.name == ".initrd"), None)
    if section is None or not is_cpio(bytes(data[section.offset : section.offset + 6])):
        return None
    archive = bytes(data[section.offset : section.offset + section.size])
    try:
        return explain(archive, Path(f"{where}: .initrd"))
    except SproutError:  # a compressed archive follows, say: the image itself is still told of
        return None


def _reason_lines(rows: list[Row]) -> list[str]:
    """Give the files of an initramfs, and why they are there, in the terminal's 80 columns."""
    lines = ["", f"  {'bytes':>12}  file, and why it is in the initramfs"] if rows else []
    for row in rows:
        lines.append(f"  {row.size:>12,}  {printable(row.path)}")
        indent = " " * 18
        lines += textwrap.wrap(
            printable(row.why), _WIDTH, initial_indent=indent, subsequent_indent=indent
        )
    return lines


def _sbat_lines(image: BootImage) -> list[str]:
    """Give the rows of `.sbat`, and the generations in `.sbatlvl` that the stub goes by."""
    lines = ["", "  SBAT: component,generation,vendor,package,version,URL"] if image.sbat else []
    for row in image.sbat:
        lines += textwrap.wrap(
            printable(",".join(map(str, asdict(row).values()))),
            _WIDTH,
            initial_indent="  ",
            subsequent_indent="      ",
        )
    if image.generations is not None:
        said = ", ".join(f"{name} {number}" for name, number in image.generations.items())
        note = "" if image.generations_agree else "; DISAGREES with .sbat"
        lines += ["", *_field(".sbatlvl", f"{said or 'no component'}{note}")]
    return lines


def _system(os_release: str | None) -> str | None:
    """Give the name that os-release(5) has for people, or all of it when it has none."""
    if os_release is None:
        return None
    for line in os_release.split("\n"):
        if line.startswith("PRETTY_NAME="):
            return line.removeprefix("PRETTY_NAME=").strip("\"'")
    return " ".join(os_release.split())


def _disk_facts(path: Path, disk: BootDisk) -> dict[str, Any]:
    partitions = [
        asdict(row) | {"type_guid": str(row.type_guid), "unique_guid": str(row.unique_guid)}
        for row in disk.table.partitions
    ]
    return {
        "kind": "GPT disk",
        "size": path.stat().st_size,
        "sha256": sha256_file(path),
        "disk_guid": str(disk.table.disk_guid),
        "partitions": partitions,
        "image_name": disk.image_name,
    }


def _disk_lines(facts: dict[str, Any], disk: BootDisk) -> list[str]:
    lines = _field("kind", "GPT disk")
    lines += _field("size", f"{facts['size']:,} bytes")
    lines += _field("SHA-256", facts["sha256"])
    lines += _field("disk GUID", str(disk.table.disk_guid))
    for row in disk.table.partitions:
        lines += ["", *_field(f"partition {row.number}", row.name)]
        lines += _field("type", str(row.type_guid))
        lines += _field("GUID", str(row.unique_guid))
        lines += _field("sectors", f"{row.first:,} to {row.last:,} ({row.size:,} bytes)")
    return lines


def _initramfs_facts(path: Path, entries: list[Entry]) -> dict[str, Any]:
    rows = [
        {
            "name": entry.name,
            "mode": f"{entry.mode:06o}",
            "size": len(entry.data),
            "sha256": hashlib.sha256(entry.data).hexdigest(),
            "major": entry.major,
            "minor": entry.minor,
        }
        for entry in entries
    ]
    return {
        "kind": "initramfs",
        "size": path.stat().st_size,
        "sha256": sha256_file(path),
        "entries": rows,
    }


def _initramfs_lines(path: Path, entries: list[Entry]) -> list[str]:
    lines = _field("kind", "initramfs (cpio, newc)")
    lines += _field("size", f"{path.stat().st_size:,} bytes")
    lines += _field("SHA-256", sha256_file(path))
    lines += _field("entries", f"{len(entries):,}")
    return [*lines, "", *(f"  {line}" for line in describe(entries))]
