"""A root file system of Debian packages as a squashfs image: made without root, the same each time.

The packages are those of the distribution that this machine runs, with all that they depend on,
through apt's own signed chain. Their maintainer scripts do not run: they would change this machine,
and what they do is little (users, links), so whoever makes a root adds it as files of its own.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from sprout.base.files import scratch_prefix, sha256_file
from sprout.base.lock import held
from sprout.base.run import check
from sprout.build.cache import cache_root
from sprout.initramfs.assemble import assemble
from sprout.initramfs.cpio import Entry, read_cpio
from sprout.kernel.apt import STRICT, UNSANDBOXED

_ROOT = Path(__file__).parents[2]
_EPOCH = 1767225600
_HINT = "Run `sudo apt-get update` and check the network."
# Debian's own layout since usr-merge(7), which the package `usrmerge` makes by a script.
_MERGED = ("bin", "lib", "lib64", "sbin")
_EMPTY = ("dev", "proc", "run", "sys", "tmp", "root", "mnt")
_UNREAD = ("doc", "info", "lintian", "locale", "man")
# `'ADDRESS' NAME_VERSION_ARCH.deb SIZE DIGEST`; a colon in a version is written %3a.
_WANTED = re.compile(r"^'[^']+' ([a-z0-9.+-]+)_([^_ ]+)_[a-z0-9]+\.deb \d+", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """A binary package of a certain version, and the digest that the signed index gives it."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Contents:
    """What a root holds beside its packages: files by path with mode and bytes, links, folders."""

    files: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()


def make_root(packages: tuple[str, ...], contents: Contents, target: Path) -> None:
    """Write a squashfs image of `packages`, with all that they need, and of `contents`.

    Its /init is the zone's own. The same packages and contents give the same bytes.
    """
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("root"), dir=target.parent) as name:
        root = Path(name) / "root"
        for folder in _MERGED:
            (root / "usr" / folder).mkdir(parents=True)
            (root / folder).symlink_to(f"usr/{folder}")
        for archive in _archives(closure(packages)):
            _unpack(archive, root)
        for folder in (*_EMPTY, *contents.folders):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for path, (mode, data) in contents.files.items():
            _put(root / path, mode, data)
        for path, end in contents.links.items():
            (root / path).symlink_to(end)
        for entry in _zone_init(Path(name)):
            if stat.S_ISLNK(entry.mode):
                (root / entry.name).symlink_to(entry.data.decode())
            elif stat.S_ISREG(entry.mode):
                _put(root / entry.name, stat.S_IMODE(entry.mode), entry.data)
        _squash(root, target)


def closure(packages: tuple[str, ...]) -> list[Package]:
    """Give `packages` and all that they depend on, as if nothing were installed yet."""
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("apt")) as name:
        work = Path(name)
        (work / "status").touch()
        (work / "cache/archives/partial").mkdir(parents=True)
        words = ["-o", f"Dir::State::status={work}/status", "-o", f"Dir::Cache={work}/cache"]
        words += ["-o", "Debug::NoLocking=true", "--no-install-recommends", "--yes"]
        plan = ["apt-get", "-q", *STRICT, *words, "--print-uris", "install", *packages]
        text = check(plan, _HINT, timeout=300).decode()
    wanted = [(name, unquote(version)) for name, version in _WANTED.findall(text)]
    assert set(packages) <= {name for name, _ in wanted}, text
    shown = check(["apt-cache", "show", *(f"{n}={v}" for n, v in wanted)], _HINT).decode()
    digests = {}
    for stanza in shown.split("\n\n"):
        found = dict(re.findall(r"^(Package|Version|SHA256): (\S+)$", stanza, re.MULTILINE))
        if len(found) == 3:
            digests[found["Package"], found["Version"]] = found["SHA256"]
    return [Package(*one, digests[one]) for one in sorted(wanted)]


def _archives(packages: list[Package]) -> list[Path]:
    """Give the packages' archives: from the cache those with the right digest, else by apt."""
    place = cache_root() / "packages"
    place.mkdir(parents=True, exist_ok=True)
    kept = {package: place / f"{package.sha256}.deb" for package in packages}
    with held(place / "lock", "another test run fetches packages"):
        missing = [one for one, path in kept.items() if not _is(path, one)]
        if missing:
            _download(missing, kept)
    return list(kept.values())


def _download(missing: list[Package], kept: dict[Package, Path]) -> None:
    place = cache_root() / "packages"
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("debs"), dir=place) as name:
        words = ["apt-get", "-q", *STRICT, *UNSANDBOXED, "download"]
        words += [f"{one.name}={one.version}" for one in missing]
        check(words, _HINT, cwd=Path(name), timeout=1800)
        fetched = {sha256_file(path): path for path in Path(name).glob("*.deb")}
        for one in missing:
            fetched[one.sha256].rename(kept[one])


def _is(path: Path, package: Package) -> bool:
    return path.is_file() and sha256_file(path) == package.sha256


def _unpack(archive: Path, root: Path) -> None:
    """Unpack a package as dpkg does: where a folder is a link already, through the link."""
    data = check(["dpkg-deb", "--fsys-tarfile", archive], "Remove it, and run this again.")
    words = ["tar", "-x", f"--directory={root}", "--keep-directory-symlink", "--no-same-owner"]
    skipped = [f"--exclude=./usr/share/{folder}/*" for folder in _UNREAD]
    check([*words, *skipped], "Install tar.", data=data)


def _put(path: Path, mode: int, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def _zone_init(work: Path) -> list[Entry]:
    """Give the files of the zone's initramfs: its init, and the commands that ask it to end."""
    assemble(_ROOT / "initramfs" / "zone.toml", work / "zone.cpio", epoch=_EPOCH)
    return read_cpio((work / "zone.cpio").read_bytes(), work / "zone.cpio")


def _squash(root: Path, target: Path) -> None:
    for top, _folders, files in os.walk(root):
        Path(top).chmod(0o755)  # whatever this process's umask is
        for file in files:
            path = Path(top) / file
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    # The kernel opens the console before init mounts /dev.
    words = ["-p", "dev/console c 600 0 0 5 1", "-p", "tmp m 1777 0 0", "-p", "root m 700 0 0"]
    words += ["-comp", "zstd", "-Xcompression-level", "1", "-noappend", "-no-progress", "-quiet"]
    words += ["-all-root", "-no-xattrs", "-mkfs-time", str(_EPOCH), "-all-time", str(_EPOCH)]
    # It refuses to be told the time twice.
    environment = {key: text for key, text in os.environ.items() if key != "SOURCE_DATE_EPOCH"}
    hint = "Reinstall squashfs-tools."
    check(["mksquashfs", root, target, *words], hint, env=environment, timeout=300)
