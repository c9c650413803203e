"""How much of Debian's kernel can be executed, with all its modules: what ours is held against."""

from __future__ import annotations

import json
import lzma
import re
import tarfile
from pathlib import Path
from typing import IO

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded, write_file
from sprout.base.progress import say
from sprout.base.run import started
from sprout.cost.peers_kernels import GENERIC, downloaded, newest_kernel
from sprout.kernel.surface import Surface, executable_sections, extract_vmlinux

_MODULE = re.compile(r"\./(?:usr/)?lib/modules/[^/]+/kernel/.*\.ko(?:\.xz)?")
_KERNEL = re.compile(r"\./(?:usr/lib/)?boot/vmlinuz-[^/]+")
_MAX_MEMBER_BYTES = 256 << 20
_MAX_FACTS_BYTES = 1 << 20


def debian_surface(release: str, cache: Path) -> tuple[str, Surface]:
    """Give the name of the newest kernel of a Debian release, and its executable bytes.

    What was counted is kept below the directory `cache` by the package's name and version. Raises
    SproutError when the archive cannot be reached, or the package is not as it should be.
    """
    package = newest_kernel(GENERIC, release, cache)
    kept = cache / release / f"{package.file}.surface.json"
    if not kept.is_file():
        with downloaded(package) as archive:
            say(f"{package.name}: counting")
            found = count_package(archive)
        write_file(kept, json.dumps(vars(found)).encode())
    return f"{package.name} {package.version}", Surface(
        **json.loads(read_bounded(kept, _MAX_FACTS_BYTES))
    )


def count_package(package: Path) -> Surface:
    """Count the kernel and the modules of a Debian package; raises SproutError."""
    sections: dict[str, int] = {}
    modules = count = 0
    with started(["dpkg-deb", "--fsys-tarfile", package]) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for member in archive:
                    stream = archive.extractfile(member) if member.isreg() else None
                    if stream is None:
                        continue
                    if _KERNEL.fullmatch(member.name):
                        data = _read(stream, member.size, member.name)
                        vmlinux = extract_vmlinux(data, member.name)
                        sections = executable_sections(vmlinux, member.name)
                    elif _MODULE.fullmatch(member.name):
                        data = _read(stream, member.size, member.name)
                        if member.name.endswith(".xz"):
                            data = lzma.LZMADecompressor().decompress(data, _MAX_MEMBER_BYTES)
                        modules += sum(executable_sections(data, member.name).values())
                        count += 1
        except (tarfile.TarError, lzma.LZMAError, OSError, EOFError) as error:
            raise SproutError(f"{package.name}: {error}", "Run it again.") from error
    if not sections:
        raise SproutError(f"{package.name}: has no kernel in /boot", "Report this package.")
    return Surface(sections, modules, count)


def _read(stream: IO[bytes], size: int, name: str) -> bytes:
    if size > _MAX_MEMBER_BYTES:
        raise SproutError(f"{name}: is longer than {_MAX_MEMBER_BYTES:,} bytes", "Report this.")
    return stream.read()
