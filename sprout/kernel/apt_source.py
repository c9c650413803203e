"""Source packages out of the distribution's archive, through apt's own signed chain.

The archive's InRelease signature carries the digest of the index of sources, which carries the
SHA-256 of every file of a source package (apt-secure(8)). A file `.dsc` adds nothing to that but
a second list of the same digests, so it is not fetched.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import sha256_file
from sprout.base.run import Output, run
from sprout.kernel.apt import STRICT, TIMEOUT_S, UNSANDBOXED, machine_release, reason
from sprout.kernel.apt_lists import private_lists
from sprout.kernel.patches import apply_strictly
from sprout.kernel.sources import (
    VERSION,
    AptSourceOrigin,
    Pin,
    SourceUnavailable,
    in_series,
)

_ORIG = re.compile(r"[^/\s]+\.orig\.tar\.[a-z0-9]+")
_DEBIAN = re.compile(r"[^/\s]+\.debian\.tar\.[a-z0-9]+")
_CHECKSUM = re.compile(r"^ ([0-9a-f]{64}) [0-9]+ (\S+)$", re.MULTILINE)
_REFUSED = re.compile(
    r"not signed|NO_PUBKEY|BADSIG|EXPKEYSIG|REVKEYSIG|couldn't be verified|Hash Sum mismatch"
    r"|expired|not valid yet|insecure|clearsigned|File has unexpected size"
)


def versions(origin: AptSourceOrigin, source: str, lists: Path) -> list[Pin]:
    """Give a pin of every version that the archives name now, the newest first.

    `lists` is a directory for apt's lists of sources. An index may name files that its mirror no
    longer has, so there may be a newer version than one that can be had. Raises SproutError when
    an archive is not signed as it has to be, SourceUnavailable when none has the package.
    """
    pins = _named(origin, source, _updated(origin, lists))
    if not pins:
        raise SourceUnavailable(
            f"{origin.name}: the archives' lists of sources have no {origin.package}"
            + (f" {origin.series}" if origin.series else ""),
            "Check the network, and the archives of this machine's apt.",
        )
    return pins


def download(origin: AptSourceOrigin, pin: Pin, directory: Path, lists: Path) -> list[Path]:
    """Download the files of `pin` into `directory` and give their paths, the tarball first.

    Raises SourceUnavailable when the archive no longer has one, SproutError when apt refuses one
    or its SHA-256 is another than the pin's.
    """
    options = private_lists(lists)
    if pin.version not in (known.version for known in _named(origin, pin.source, options)):
        options = _updated(origin, lists)
    words = ["apt-get", "-q", *STRICT, *UNSANDBOXED, *options, "source", "--download-only"]
    words += ["--only-source", f"{origin.package}={pin.version}"]
    for kind in ("--tar-only", "--diff-only"):
        output = run([*words, kind], cwd=directory, timeout=TIMEOUT_S)
        if output.status != 0:
            raise _failure(
                f"{origin.name}: {origin.package} {pin.version}",
                output,
                "Check the network; where the archive dropped that version, `sprout update "
                "FLAVOR` moves the lock to one it has.",
            )
    files = []
    for name, wanted in pin.checksums().items():
        file = directory / name
        actual = sha256_file(file) if file.is_file() else "missing"
        if actual != wanted:
            raise SproutError(
                f"{origin.name}: {name}: SHA-256 is {actual}, the lock says {wanted}",
                "The archive's file is not the one that was locked: find out why before updating.",
            )
        files.append(file)
    return files


def apply_series(tree: Path) -> None:
    """Apply the distribution's patches, `debian/patches/series`, and take its directory away.

    All of them, in order and without fuzz, as the source format asks (dpkg-source(1), "Format:
    3.0 (quilt)"): what its security team stands for is the patched tree. Raises SproutError
    naming the patch that does not apply.
    """
    patches = tree / "debian" / "patches"
    series = patches / "series"
    lines = series.read_text(errors="replace").splitlines() if series.is_file() else []
    names = [line.split("#", 1)[0].split() for line in lines]
    for words in names:
        if not words:
            continue
        patch = patches / words[0]
        if ".." in patch.relative_to(patches).parts or not patch.is_file():
            raise SproutError(
                f"debian/patches/series: there is no patch {words[0]}", "Report this as a bug."
            )
        if patch.stat().st_size:
            apply_strictly(tree, patch)


def _updated(origin: AptSourceOrigin, lists: Path) -> list[str]:
    """Read the archives' lists anew and give the options that make apt use them."""
    options = private_lists(lists)
    output = run(
        ["apt-get", "-q", *STRICT, *UNSANDBOXED, *options, "update"],
        timeout=TIMEOUT_S,
    )
    if output.status != 0:
        hint = "Check the network, then run it again."
        raise _failure(f"{origin.name}: the lists of sources", output, hint)
    return options


def _failure(what: str, output: Output, hint: str) -> SproutError:
    """Tell an archive that cannot be reached, or lacks a file, from one that lies."""
    text = f"{what}: {reason(output)}"
    if _REFUSED.search((output.stderr + output.stdout).decode(errors="replace")):
        return SproutError(text, "Do not use it; find out why the archive changed.")
    return SourceUnavailable(text, hint)


def _named(origin: AptSourceOrigin, source: str, options: list[str]) -> list[Pin]:
    """Give a pin of every version in the lists as they are, the newest first."""
    output = run(["apt-cache", *STRICT, *options, "showsrc", "--only-source", origin.package])
    found: dict[str, Pin] = {}
    for stanza in re.split(r"\n\n+", output.stdout.decode(errors="replace")):
        version = re.search(r"^Version: (\S+)$", stanza, re.MULTILINE)
        sums = stanza.partition("\nChecksums-Sha256:")[2]
        sums = re.split(r"\n(?=\S)", sums, maxsplit=1)[0]
        checksums = {name: sha256 for sha256, name in _CHECKSUM.findall(sums)}
        pin = _pin(origin, source, version[1], checksums) if version else None
        if pin is not None and in_series(pin.upstream, origin.series):
            found[pin.version] = pin
    return sorted(found.values(), key=functools.cmp_to_key(_older_last))


def _pin(origin: AptSourceOrigin, source: str, version: str, sums: dict[str, str]) -> Pin | None:
    upstream = VERSION.match(version)
    orig = [name for name in sums if _ORIG.fullmatch(name)]
    debian = [name for name in sums if _DEBIAN.fullmatch(name)]
    if upstream is None or len(orig) != 1 or len(debian) != 1:
        return None
    part = f"{sums[debian[0]]}  {debian[0]}"
    place = (source, origin.name, machine_release(), version)
    return Pin(*place, upstream[0], orig[0], sums[orig[0]], (part,))


def _older_last(one: Pin, other: Pin) -> int:
    """Order by the distribution's own rules for versions (deb-version(7))."""
    newer = run(["dpkg", "--compare-versions", one.version, "gt", other.version])
    return -1 if newer.status == 0 else 1
