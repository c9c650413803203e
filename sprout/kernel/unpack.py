"""Unpacks a verified archive into a source tree, in one step."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded, staged_directory
from sprout.base.progress import say
from sprout.base.run import check, started
from sprout.kernel import tarball
from sprout.kernel.apt_source import apply_series
from sprout.kernel.sources import Pin, version_key

_MAX_MAKEFILE_BYTES = 1 << 20
# Which file says a tree's version, and how: Xen's, and Linux's.
_VERSIONS = (
    (
        "xen/Makefile",
        r"^export XEN_VERSION += ([0-9]+)\nexport XEN_SUBVERSION += ([0-9]+)\n"
        r"export XEN_EXTRAVERSION \?= \.([0-9]+)(-pre)?",
    ),
    ("Makefile", r"^VERSION = ([0-9]+)\nPATCHLEVEL = ([0-9]+)\nSUBLEVEL = ([0-9]+)()$"),
)


def unpack_source(archive: Path, pin: Pin, tree: Path) -> None:
    """Unpack a tarball, or the one in a package like linux-source, to `tree`.

    Raises SproutError when it is damaged, or holds another version than its name says.
    """
    say(f"unpacking {pin.file}")
    with staged_directory(tree.parent) as staging:
        target = staging / "tree"
        target.mkdir()
        if archive.suffix == ".deb":
            inner = staging / "source.tar.xz"
            _extract_source_tarball(archive, inner)
            _untar(inner, target)
            inner.unlink()
        else:
            _untar(archive, target)
        _check_version(target, pin)


def unpack_source_package(files: list[Path], pin: Pin, tree: Path) -> None:
    """Unpack a source package, its tarball and its `debian` directory, patched, to `tree`.

    Raises SproutError when one is damaged, a patch does not apply, or it is another version.
    """
    say(f"unpacking {pin.file} and the distribution's patches")
    orig, debian = files
    with staged_directory(tree.parent) as staging:
        target = staging / "tree"
        target.mkdir()
        _untar(orig, target)
        # The source format has the distribution's directory replace one that the project ships.
        shutil.rmtree(target / "debian", ignore_errors=True)
        (target / "debian").mkdir()
        _untar(debian, target / "debian")
        apply_series(target)
        shutil.rmtree(target / "debian")
        _check_version(target, pin)


def unpack_package(package: Path, pin: Pin, tree: Path) -> None:
    """Unpack the files of a binary package to `tree`."""
    say(f"unpacking {pin.file}")
    with staged_directory(tree.parent) as staging:
        check(["dpkg-deb", "-x", package, staging / "tree"], "Free some space, run it again.")


def _extract_source_tarball(package: Path, target: Path) -> None:
    """Take the one `usr/src/*.tar.xz` out of a Debian package (deb(5))."""
    member = ["--wildcards", "--no-wildcards-match-slash", "./usr/src/linux-source-*.tar.xz"]
    with (
        started(["dpkg-deb", "--fsys-tarfile", package]) as lister,
        target.open("wb") as out,
        started(["tar", "-xOf", "-", *member], stdin=lister.stdout, stdout=out) as taker,
    ):
        taker.wait()
        if taker.returncode != 0:
            raise SproutError(f"{package.name}: holds no source tarball", "Check `package`.")


def _untar(archive: Path, target: Path) -> None:
    """Unpack a verified `.tar.xz` without its top directory, owned by the caller."""
    arguments = ["tar", "-xf", "-", "-C", str(target), "--strip-components=1", "--no-same-owner"]
    with started(arguments, stdin=-1) as tar:
        assert tar.stdin is not None  # noqa: S101 - it was asked for as a pipe
        try:
            for chunk in tarball.decompressed(archive):
                tar.stdin.write(chunk)
            tar.stdin.close()
        except BrokenPipeError:
            pass  # tar says below what went wrong
        tar.wait()
        assert tar.stderr is not None  # noqa: S101 - it was asked for as a pipe
        if tar.returncode != 0:
            lines = tar.stderr.read().decode(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else f"status {tar.returncode}"
            raise SproutError(
                f"{archive.name}: cannot be unpacked: {reason}",
                f"Check the free space below {target.parent.parent}; an unpacked kernel is 2 GB.",
            )


def _check_version(tree: Path, pin: Pin) -> None:
    """Refuse a tree that is another version than its name said: a signed old one, say."""
    found = next((place for place in _VERSIONS if (tree / place[0]).is_file()), _VERSIONS[-1])
    makefile = read_bounded(tree / found[0], _MAX_MAKEFILE_BYTES).decode(errors="replace")
    says = re.search(found[1], makefile, re.MULTILINE)
    numbers = [int(number) for number in says.groups()[:3]] if says else []
    if says and says[4]:
        # What comes after Xen 4.20.3, 4.20.3+127 to its packagers, calls itself 4.20.4-pre.
        numbers[2] -= 1
    wanted = version_key(pin.upstream)
    if numbers not in (wanted, [*wanted, 0]):
        raise SproutError(
            f"{pin.file}: holds version {'.'.join(map(str, numbers))}, not {pin.upstream}",
            "The origin offers another version under this name; do not use it.",
        )
