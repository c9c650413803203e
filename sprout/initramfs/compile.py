"""Compiles a small static C program against musl, to the same bytes on any machine."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import cannot_read, read_bounded
from sprout.base.run import find_program, run
from sprout.format.symbols import Symbols, from_elf_map

MAX_PROGRAM_BYTES = 64 * 1024
PROGRAMS = ("clang", "ld.lld")
_LIMIT_S = 120.0
_ELF_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
_PROGRAM_HEADER_BYTES = 56
_PT_INTERP = 3

_COMPILE = (
    "-std=c11",
    "-Os",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-D_GNU_SOURCE",
    "-fPIE",
    # musl sets the canary from AT_RANDOM before main (src/env/__stack_chk_fail.c).
    "-fstack-protector-strong",
    "-fstack-clash-protection",
    "-ftrivial-auto-var-init=pattern",
    "-fno-strict-overflow",
    "-ffunction-sections",
    "-fdata-sections",
    # No frames are unwound, and the tables would be mapped.
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-fno-ident",
)
_LINK = (
    "-static-pie",
    "-nostdlib",
    "-fuse-ld=lld",
    "-s",
    "-Wl,--build-id=none",
    "-Wl,--gc-sections",
    "-Wl,-z,relro",
    "-Wl,-z,now",
    "-Wl,-z,noexecstack",
)


@dataclass(frozen=True)
class Musl:
    """Where this machine has musl for one architecture."""

    include: Path
    library: Path

    def linked(self) -> tuple[Path, ...]:
        """Give the files whose content ends up in a program, in the order of linking."""
        names = ("rcrt1.o", "crti.o", "libc.a", "crtn.o")
        return tuple(self.library / name for name in names)


def find_musl(arch: str, prefix: Path = Path("/usr")) -> Musl:
    """Give musl's directories for `arch` (x86_64, aarch64), laid out as Debian's musl-dev does.

    Raises SproutError when a file that is needed is missing.
    """
    musl = Musl(prefix / "include" / f"{arch}-linux-musl", prefix / "lib" / f"{arch}-linux-musl")
    for path in (musl.include / "features.h", *musl.linked()):
        if not path.is_file():
            raise SproutError(
                f"{path}: missing, so no program for {arch} can be compiled",
                "Run ./sprout.sh, which installs musl-dev.",
            )
    return musl


def compile_program(
    sources: Sequence[Path], target: Path, *, base: Path, include: Path, arch: str = "x86_64"
) -> Symbols:
    """Compile `sources`, which lie below `base`, into the static program `target`.

    `include` is one more directory of headers; `base` leaves no trace in the program. Gives its
    functions' and data's addresses, which the program itself does not carry. Raises
    SproutError when a tool is missing, the compiler finds a fault or warns, or the program is
    dynamic or longer than 64 KiB.
    """
    musl = find_musl(arch)
    find_program("ld.lld")
    first, second, libc, last = musl.linked()
    arguments: list[str | Path] = [
        "clang",
        f"--target={arch}-linux-musl",
        *_COMPILE,
        f"-ffile-prefix-map={include.absolute()}=.",
        "-nostdinc",
        "-isystem",
        musl.include,
        "-I",
        include.absolute(),
        *_LINK,
        f"-Wl,-Map={target.absolute()}.map",
        "-o",
        target.absolute(),
        first,
        second,
        *(source.relative_to(base) for source in sources),
        libc,
        last,
    ]
    # Nothing of the user's environment reaches the compiler: CPATH and the like change its output.
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "TMPDIR": str(target.absolute().parent),
    }
    output = run(arguments, cwd=base, env=environment, timeout=_LIMIT_S)
    if output.status != 0:
        raise SproutError(
            f"{base}: clang: {first_error(output.stderr)}", "Mend the source that it names."
        )
    check_program(target)
    return from_elf_map(Path(f"{target}.map").read_text(errors="replace"))


def first_error(stderr: bytes) -> str:
    """Give the line of a compiler's output that tells what is wrong."""
    lines = stderr.decode(errors="replace").splitlines()
    errors = [line for line in lines if "error:" in line]
    return (errors or lines or ["it printed nothing"])[0]


def check_program(path: Path, most: int = MAX_PROGRAM_BYTES) -> None:
    """Refuse a program that a zone cannot start or should not carry.

    Raises SproutError when `path` is no 64-bit ELF, needs a dynamic loader, or is longer than
    `most` bytes. Layout: System V ABI, gABI chapter 4, ELF header and program header.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise cannot_read(path, error) from error
    if size > most:
        raise SproutError(
            f"{path.name}: {size:,} bytes, more than the {most:,} a program may have",
            "Leave out what it does not need: printf and locales are the largest parts of a libc.",
        )
    data = read_bounded(path, most)
    if not data.startswith(_ELF_MAGIC) or len(data) < 64:
        raise SproutError(f"{path.name}: is no 64-bit ELF program", "Compile it for this machine.")
    (table,) = struct.unpack_from("<Q", data, 0x20)
    entry_size, count = struct.unpack_from("<HH", data, 0x36)
    if entry_size != _PROGRAM_HEADER_BYTES or table + count * entry_size > len(data):
        raise SproutError(f"{path.name}: its program headers are damaged", "Compile it again.")
    for at in range(table, table + count * entry_size, entry_size):
        if struct.unpack_from("<I", data, at)[0] == _PT_INTERP:
            raise SproutError(
                f"{path.name}: needs a dynamic loader, which the initramfs does not have",
                "Link it statically.",
            )
