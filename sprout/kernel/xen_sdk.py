"""What a program of ours needs to be linked with Xen's libraries: their headers and archives.

The libraries are the static ones: a program that starts a zone is on the way to its first
instruction, and resolving ten shared libraries would be a good part of its time.
"""

from __future__ import annotations

import os
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.base.run import check

# Directories below tools/libs. Only what libxenguest, libxenctrl and libxenstore are made of.
_LIBRARIES = (
    *("guest", "ctrl", "store", "call", "foreignmemory", "devicemodel"),
    *("evtchn", "gnttab", "toollog", "toolcore"),
)
# libacpi is no library of its own: libxl compiles it in (tools/libs/light/Makefile, ACPI_OBJS).
_ACPI_OBJECTS = ("build.o", "static_tables.o", "dsdt_pvh.o")
_ACPI_HEADER = "libacpi/libacpi.h"
_MAX_BYTES = 64 << 20

INCLUDE = "include"
ARCHIVES = (*(f"libxen{name}.a" for name in _LIBRARIES), "libacpi.a")


def collect_sdk(tools: Path, scratch: Path) -> dict[str, bytes]:
    """Give headers and archives of the built directory `tools`, by their paths in an SDK.

    Archives hold no symbols for debugging and no times, so they are the same bytes wherever they
    are built. `scratch` is a file that may be written. Raises SproutError when one is missing.
    """
    found = _headers(tools / "include")
    found[f"{INCLUDE}/libacpi.h"] = read_bounded(tools / _ACPI_HEADER, _MAX_BYTES)
    for name in _LIBRARIES:
        archive = tools / "libs" / name / f"libxen{name}.a"
        if not archive.is_file():
            raise SproutError(f"{archive.name}: was not built", "Report this Xen version.")
        found[f"lib/{archive.name}"] = _without_debugging(archive, scratch)
    objects = [tools / "libs/light" / name for name in _ACPI_OBJECTS]
    scratch.unlink(missing_ok=True)
    check(["ar", "rcsD", scratch, *objects], "Reinstall binutils.")
    found["lib/libacpi.a"] = _without_debugging(scratch, scratch)
    return found


def _headers(top: Path) -> dict[str, bytes]:
    """Give the headers below `top`; those of the hypervisor's interface are links into its tree.

    A generated one names the program that wrote it, and so where it was built: that is left out.
    """
    place = os.fsencode(top.resolve()) + b"/../../"
    found = {}
    for directory, _names, files in os.walk(top, followlinks=True):
        for name in files:
            if name.endswith(".h"):
                path = Path(directory) / name
                data = read_bounded(path, _MAX_BYTES)
                found[f"{INCLUDE}/{path.relative_to(top)}"] = data.replace(place, b"")
    return found


def _without_debugging(archive: Path, scratch: Path) -> bytes:
    words = ["strip", "--strip-debug", "--enable-deterministic-archives"]
    check([*words, "-o", scratch, archive], "Reinstall binutils.")
    return read_bounded(scratch, _MAX_BYTES)
