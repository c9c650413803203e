"""The Linux/x86 setup header of a bzImage (Documentation/arch/x86/boot.rst, "The Real-Mode
Kernel Header")."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sprout.base.errors import SproutError

# `kernel_version` is a 16-bit offset from 0x200; no string of interest is longer than this.
_MAX_VERSION = 512
HEAD_SIZE = 0x200 + 0x10000 + _MAX_VERSION


@dataclass(frozen=True)
class SetupHeader:
    """A bzImage's protocol version (0x020f is 2.15), version text and longest command line."""

    protocol: int
    version: str
    cmdline_size: int

    @property
    def release(self) -> str:
        """What `uname -r` says under this kernel; empty where the header names no version."""
        return self.version.split(" ", 1)[0]


def read_setup_header(head: bytes | bytearray, where: object) -> SetupHeader | None:
    """Read the setup header from a file's first HEAD_SIZE bytes; None when it has none.

    Raises SproutError when the header points outside the setup code; `where` names the file.
    """
    if len(head) < 0x240 or head[0x202:0x206] != b"HdrS" or head[0x1FE:0x200] != b"\x55\xaa":
        return None
    (protocol,) = struct.unpack_from("<H", head, 0x206)
    (offset,) = struct.unpack_from("<H", head, 0x20E)
    # 255 is the limit of a command line before protocol 2.06.
    (cmdline_size,) = struct.unpack_from("<I", head, 0x238) if protocol >= 0x0206 else (255,)
    version = ""
    if offset:
        start = 0x200 + offset
        setup_size = ((head[0x1F1] or 4) + 1) * 512
        end = head.find(b"\0", start, min(setup_size, start + _MAX_VERSION))
        if end < 0:
            raise SproutError(
                f"{where}: setup header: kernel_version points to no string in the setup code",
                "Build the kernel again; this one is damaged.",
            )
        version = head[start:end].decode("ascii", "backslashreplace")
    return SetupHeader(protocol, version, cmdline_size)
