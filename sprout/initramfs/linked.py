"""Compiles a program of a host that is linked with Xen's libraries, statically, against glibc.

Xen's libraries are compiled against this machine's glibc, so musl's programs (sprout.initramfs.
compile) cannot have them. The program needs no loader all the same.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.run import check, run
from sprout.format.symbols import Symbols, from_elf_map
from sprout.initramfs.compile import check_program, first_error

MAX_LINKED_BYTES = 4 << 20
# A fixed address above all that firmware uses, so that a measurement can tell whose code it is.
BASE = 0x6000_0000
_LIMIT_S = 120.0
_COMPILE = (
    "-std=gnu11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-D_GNU_SOURCE",
    # Xen's public headers: the calls of its tools, as they are in this version.
    "-D__XEN_TOOLS__",
    "-D__XEN_INTERFACE_VERSION__=__XEN_LATEST_INTERFACE_VERSION__",
    "-D_FORTIFY_SOURCE=2",
    "-fstack-protector-strong",
    "-fstack-clash-protection",
    "-ftrivial-auto-var-init=pattern",
    "-fno-strict-overflow",
    "-fno-ident",
)
_LINK = (
    "-static",
    f"-Wl,--image-base={BASE:#x}",
    "-fuse-ld=lld",
    "-s",
    "-Wl,--build-id=none",
    "-Wl,--gc-sections",
    "-Wl,-z,relro",
    "-Wl,-z,now",
    "-Wl,-z,noexecstack",
)
# What of this machine gets into such a program.
_MACHINE = (
    *("crt1.o", "crti.o", "crtbeginT.o", "crtend.o", "crtn.o"),
    *("libc.a", "libz.a", "libgcc.a", "libgcc_eh.a"),
)


def machine_archives(arch: str) -> list[Path]:
    """Give this machine's files that are linked into every such program.

    Raises SproutError when one is missing.
    """
    found = []
    for name in _MACHINE:
        words = ["clang", f"--target={arch}-linux-gnu", f"-print-file-name={name}"]
        path = Path(check(words, "Install clang.").decode().strip())
        if not path.is_absolute() or not path.is_file():
            raise SproutError(
                f"{name}: this machine has no such archive, so no program can be linked with it",
                "Run ./sprout.sh, which installs libc6-dev and zlib1g-dev.",
            )
        found.append(path.resolve())
    return found


def compile_linked(
    sources: Sequence[Path],
    target: Path,
    *,
    base: Path,
    include: Path,
    sdk: Path,
    arch: str = "x86_64",
) -> Symbols:
    """Compile `sources`, which lie below `base`, into the static program `target`.

    `include` is one more directory of headers, `sdk` the tar of Xen's headers and archives, which
    is unpacked beside `target`. Gives its functions' and data's addresses. Raises SproutError when
    the compiler finds a fault or warns, or the program is longer than 4 MiB.
    """
    place = target.absolute().parent / "sdk"
    if not place.is_dir():
        with tarfile.open(sdk, "r:") as archive:
            for member in archive:  # a step of this build wrote it
                if member.isreg():
                    path = place / member.name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    stream = archive.extractfile(member)
                    path.write_bytes(b"" if stream is None else stream.read())
    arguments: list[str | Path] = [
        "clang",
        f"--target={arch}-linux-gnu",
        *_COMPILE,
        f"-ffile-prefix-map={include.absolute()}=.",
        f"-ffile-prefix-map={place}=.",
        "-isystem",
        place / "include",
        "-I",
        include.absolute(),
        *_LINK,
        f"-Wl,-Map={target.absolute()}.map",
        "-o",
        target.absolute(),
        *(source.relative_to(base) for source in sources),
        # Its loaders of kernels register themselves: nothing refers to them.
        "-Wl,--whole-archive",
        place / "lib/libxenguest.a",
        "-Wl,--no-whole-archive",
        "-Wl,--start-group",
        *sorted((place / "lib").glob("*.a")),
        "-Wl,--end-group",
        "-lz",
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
    check_program(target, MAX_LINKED_BYTES)
    return from_elf_map(Path(f"{target}.map").read_text(errors="replace"))
