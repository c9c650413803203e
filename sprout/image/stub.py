"""Compiles the UEFI boot stub (sprout/stub): freestanding C into one small PE, the same each time.

The compiler aims at a Windows target, because that is what UEFI's calling convention and file
format are (UEFI 2.10, sections 2.1.1 and 2.3.4); nothing of Windows is needed for it.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import staged_file, write_file
from sprout.base.run import check
from sprout.format import levels, stamps
from sprout.format.symbols import from_pe_map, write_symbols

PROGRAMS = ("clang", "lld-link")
MAX_STUB_BYTES = 32 * 1024

_ARCH = "x86_64"
_TIMEOUT_S = 120.0
_HINT = "Run ./sprout.sh, which installs clang and lld; if it persists, report the line above."
_COMPILE = (
    "-target",
    "x86_64-unknown-windows",
    "-std=c11",
    "-Os",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-nostdlibinc",
    # There is nobody to call when a canary or a guard page is hit, and the frames are small.
    "-fno-stack-protector",
    "-mno-stack-arg-probe",
    # An interrupt handler of the firmware may run on this stack at any time.
    "-mno-red-zone",
    # Vector registers are of no use here, and need not be right on every firmware.
    "-mgeneral-regs-only",
)
_LINK = (
    "/subsystem:efi_application",
    "/entry:efi_main",
    "/nodefaultlib",
    "/dynamicbase",
    "/nxcompat",
    # The time stamp is the image builder's; a clock here would change the bytes each time.
    "/timestamp:0",
    "/filealign:512",
    "/map:stub.map",
)


def _root() -> Path:
    return Path(__file__).resolve().parent.parent / "stub"


def stub_sources() -> list[Path]:
    """Give every file that the stub is made of, sorted, headers included: what a build key hashes.

    The generated headers come from sprout.format (stamps, levels) and from the version.
    """
    return sorted(path for path in _root().rglob("*.[ch]") if path.is_file())


def _generated(directory: Path, version: str) -> None:
    if re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z.+~-]{0,63}", version) is None:
        raise SproutError(
            f"version {version!r}: is not a version",
            "Use up to 64 letters, digits, dots, plus signs, tildes and hyphens.",
        )
    (directory / "sprout_stamps.h").write_text(stamps.c_header())
    (directory / "sprout_levels.h").write_text(levels.c_header())
    (directory / "version.h").write_text(f'#define SPROUT_VERSION u"{version}"\n')


def build_stub(target: Path, *, version: str, symbols: Path | None = None) -> None:
    """Compile the stub into a PE32+ EFI application at `target`, in one step.

    `version` is what LoaderInfo and StubInfo say; `symbols` is where the functions' addresses are
    written to (see sprout.format.symbols), which the stub itself does not carry. The same
    sources, version and compiler give the same bytes in any directory. Raises SproutError when a
    program is missing or fails, when the version has other characters than a version has, or when
    the result is above 32 KiB.
    """
    root = _root()
    # Variables such as LINK or CPATH would change what is built.
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    with staged_file(target) as staging, tempfile.TemporaryDirectory(prefix="sprout-stub-") as name:
        work = Path(name)
        _generated(work, version)
        objects = []
        for source in [*sorted(root.glob("*.c")), *sorted((root / "arch" / _ARCH).glob("*.c"))]:
            output = f"{source.stem}.obj"
            includes = [f"-I{root}", f"-I{root / 'arch' / _ARCH}", f"-I{work}"]
            maps = [f"-ffile-prefix-map={root}=stub", f"-ffile-prefix-map={work}=generated"]
            options: list[str | Path] = [*_COMPILE, *includes, *maps, "-c", source, "-o", output]
            check(["clang", *options], _HINT, cwd=work, env=env, timeout=_TIMEOUT_S)
            objects.append(output)
        check(
            ["lld-link", *_LINK, "/out:stub.efi", *objects],
            _HINT,
            cwd=work,
            env=env,
            timeout=_TIMEOUT_S,
        )
        data = (work / "stub.efi").read_bytes()
        if len(data) > MAX_STUB_BYTES:
            raise SproutError(
                f"{target}: the stub has {len(data):,} bytes, above {MAX_STUB_BYTES:,}",
                "Take something out of sprout/stub.",
            )
        if symbols is not None:
            functions = from_pe_map((work / "stub.map").read_text(errors="replace"))
            write_file(symbols, write_symbols(functions).encode())
        staging.write_bytes(data)
