"""Boot stamps: what the stub measured, handed to the first user space in one EFI variable.

The stub writes the table as the volatile variable `SproutStamps`; the zone's init reads it through
efivarfs and repeats it in its readiness line, so that a machine with a serial line is enough to
draw a timeline. All numbers are little-endian. Time is the time stamp counter, in ticks since the
machine was reset (Intel SDM volume 3, section 18.17), because it runs through every phase.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sprout.base.errors import SproutError

VARIABLE = "SproutStamps"
VENDOR_GUID = "6f1c3e52-9d0b-4c1e-8a57-52b3e0a4d7c1"
MAGIC = 0x54535053  # "SPST"
VERSION = 1

# (field, C type, struct code, comment): the one definition.
FIELDS = (
    ("magic", "uint32_t", "I", "SPROUT_STAMPS_MAGIC"),
    ("version", "uint16_t", "H", "SPROUT_STAMPS_VERSION"),
    ("size", "uint16_t", "H", "bytes in this table"),
    ("tsc_entry", "uint64_t", "Q", "time stamp counter at the stub's first instruction"),
    ("tsc_handover", "uint64_t", "Q", "time stamp counter at the jump to the kernel"),
    ("tsc_hz", "uint64_t", "Q", "ticks per second, 0 where it is not known"),
    ("bytes_copied", "uint64_t", "Q", "bytes that the stub copied"),
)
_CODEC = struct.Struct("<" + "".join(code for _, _, code, _ in FIELDS))
SIZE = _CODEC.size


@dataclass(frozen=True)
class Stamps:
    """The stub's stamps: counter ticks, ticks per second (0: unknown) and bytes."""

    tsc_entry: int
    tsc_handover: int
    tsc_hz: int
    bytes_copied: int


def pack(stamps: Stamps) -> bytes:
    """Give the table's bytes as the stub writes them."""
    return _CODEC.pack(
        MAGIC,
        VERSION,
        SIZE,
        stamps.tsc_entry,
        stamps.tsc_handover,
        stamps.tsc_hz,
        stamps.bytes_copied,
    )


def unpack(data: bytes) -> Stamps:
    """Read the table's bytes.

    Raises SproutError when they are no table of this version.
    """
    if len(data) != SIZE:
        raise SproutError(
            f"{VARIABLE}: {len(data)} bytes instead of {SIZE}", "Use stub and tool of one version."
        )
    magic, version, size, *fields = _CODEC.unpack(data)
    if (magic, version, size) != (MAGIC, VERSION, SIZE):
        raise SproutError(
            f"{VARIABLE}: not a version {VERSION} table", "Use stub and tool of one version."
        )
    return Stamps(*fields)


def c_header() -> str:
    """Give the C header that the stub and the init programs include."""
    digits = VENDOR_GUID.replace("-", "")
    tail = ", ".join(f"0x{digits[i : i + 2]}" for i in range(16, 32, 2))
    members = "\n".join(f"    {kind} {name}; /* {note} */" for name, kind, _, note in FIELDS)
    return f"""/* Generated from sprout/format/stamps.py; do not edit. */
#ifndef SPROUT_STAMPS_H
#define SPROUT_STAMPS_H
#include <stdint.h>

#define SPROUT_STAMPS_VARIABLE "{VARIABLE}"
#define SPROUT_STAMPS_GUID_TEXT "{VENDOR_GUID}"
#define SPROUT_STAMPS_GUID \\
    {{0x{digits[:8]}, 0x{digits[8:12]}, 0x{digits[12:16]}, {{{tail}}}}}
#define SPROUT_STAMPS_MAGIC 0x{MAGIC:08x}u
#define SPROUT_STAMPS_VERSION {VERSION}u

struct sprout_stamps {{
{members}
}};
_Static_assert(sizeof(struct sprout_stamps) == {SIZE}, "the table has no padding");

#endif
"""
