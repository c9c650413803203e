"""What a module is built with outside of the kernel's tree: headers, kbuild and its programs.

The files are those that the kernel's own scripts/package/install-extmod-build takes (Linux 6.6 and
later have it), and the configuration. In the archive they lie below `sdk/`:
`make -C sdk M=DIRECTORY modules` builds what is in DIRECTORY.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.base.run import check
from sprout.kernel.kbuild import Kbuild

TOP = "sdk"
_MAX_FILE_BYTES = 64 << 20
_ELF = b"\x7fELF"
# Not needed to build a module, as install-extmod-build says.
_OTHER_SCRIPTS = ("atomic", "dtc", "kconfig", "package")
_OTHER_PROGRAMS = ("unifdef", "mk_elfconfig")
# What make keeps for itself. The last two hold the compiler's command line, and paths with it.
_LEFT_BEHIND = (".o", ".a", ".d", ".cmd", ".s")
# Made by the build, where the options are on.
_TOOLS = {
    "CONFIG_OBJTOOL": "tools/objtool/objtool",
    "CONFIG_DEBUG_INFO_BTF_MODULES": "tools/bpf/resolve_btfids/resolve_btfids",
}
_BUILT = (
    *(".config", "Module.symvers", "include/config/auto.conf", "include/config/kernel.release"),
    *("include/generated", "scripts"),
)


def pack_sdk(kbuild: Kbuild, config: Mapping[str, str], target: Path) -> None:
    """Write the archive `target` from the finished build `kbuild` with its final `config`.

    The same build gives the same bytes wherever it ran. Raises SproutError when a part is missing
    or would lead out of the archive.
    """
    arch = f"arch/{kbuild.source_arch}"
    files = dict(_from_source(kbuild.source, arch))
    built = [*_BUILT, f"{arch}/include/generated"]
    built += [path for option, path in _TOOLS.items() if config.get(option) == "y"]
    for name in built:
        if not (kbuild.out / name).exists():
            raise SproutError(f"{name}: was not built", "Report this Linux version.")
        files.update(_below(kbuild.out, name))
    scratch = kbuild.out / "stripped"
    with (
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name, file in sorted(files.items()):
            _add(archive, name, file, scratch, kbuild.epoch)


def _from_source(source: Path, arch: str) -> Iterator[tuple[str, Path]]:
    wanted = [Path("Makefile"), *(path.relative_to(source) for path in _makefiles(source / arch))]
    for top, folders, _files in os.walk(source / arch):
        if "include" in folders:
            wanted.append((Path(top) / "include").relative_to(source))
    for name in [*map(str, wanted), "include", "scripts"]:
        yield from _below(source, name)


def _makefiles(arch: Path) -> list[Path]:
    return [*arch.glob("Makefile*"), *arch.rglob("Kbuild.platforms"), *arch.rglob("Platform")]


def _below(tree: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Give the files of `tree` that `name` stands for, by their paths in it."""
    path = tree / name
    if not path.is_dir() or path.is_symlink():
        yield name, path
        return
    for top, folders, files in os.walk(path):
        inside = Path(top).relative_to(tree)
        if inside == Path("scripts"):
            folders[:] = [folder for folder in folders if folder not in _OTHER_SCRIPTS]
        linked = [folder for folder in folders if (Path(top) / folder).is_symlink()]
        for file in [*files, *linked]:
            if file.endswith(_LEFT_BEHIND) or (
                inside.parts[:1] == ("scripts",) and file in _OTHER_PROGRAMS
            ):
                continue
            yield str(inside / file), Path(top) / file


def _add(archive: tarfile.TarFile, name: str, file: Path, scratch: Path, epoch: int) -> None:
    member = tarfile.TarInfo(f"{TOP}/{name}")
    member.mtime = epoch
    if file.is_symlink():
        link = str(file.readlink())
        end = os.path.normpath(Path(name).parent / link)
        if link.startswith("/") or end.startswith(".."):
            raise SproutError(f"{name}: leads out of the source tree", "Report this source.")
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, link, 0o777
        archive.addfile(member)
        return
    data = read_bounded(file, _MAX_FILE_BYTES)
    if data.startswith(_ELF):
        # With its symbols for debugging go the paths that it was built at.
        words = ["strip", "--strip-all", "--remove-section=.note.gnu.build-id"]
        check([*words, "-o", scratch, file], "Reinstall binutils.")
        data = read_bounded(scratch, _MAX_FILE_BYTES)
    member.size = len(data)
    member.mode = 0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644
    archive.addfile(member, io.BytesIO(data))
