"""Which sources a tree builds from: `kernels/sources.toml` and the lock beside it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import write_file
from sprout.base.table import Table, load_table

_FINGERPRINT = re.compile(r"[0-9A-F]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,199}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,99}")  # deb-control(5), "Package"
_PACKAGE_VERSION = re.compile(r"[0-9][A-Za-z0-9.+:~-]{0,99}")  # deb-version(7)
_WEB_DIRECTORY = re.compile(r"https?://[A-Za-z0-9._:-]{1,253}/[A-Za-z0-9._~/-]{0,200}")
_SERIES = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3})?")
_PART = re.compile(r"([0-9a-f]{64})  (\S+)")  # a line of sha256sum(1)
_COMPRESSIONS = ("xz", "gz")
VERSION = re.compile(r"[0-9]+(?:\.[0-9]+){1,3}")


class SourceUnavailable(SproutError):  # noqa: N818 - it names a state of the world
    """An origin does not have an archive, or cannot be reached; another one may."""


@dataclass(frozen=True)
class TarballOrigin:
    """A directory on the web with `.tar.xz` or `.tar.gz` files and detached PGP signatures.

    `file` and `signature` are names with `{version}` in them, also below a directory of that name;
    `listed` is how `index` names a version. `signed` says what a signature is over: the `tar`
    inside, or the compressed `file`. `keys` are fingerprints whose public keys stand in
    `kernels/keys/FINGERPRINT.asc`.
    """

    name: str
    base: str
    index: str
    listed: str
    file: str
    signature: str
    signed: str
    keys: tuple[Path, ...]
    series: str

    @property
    def compression(self) -> str:
        """Give how the tarballs are packed: `xz` or `gz`."""
        return self.file.rpartition(".")[2]


@dataclass(frozen=True)
class AptOrigin:
    """A distribution package that holds the source tarball, e.g. `linux-source-6.12`.

    With `files` the package itself is what is wanted: a hypervisor that is built already.
    """

    name: str
    package: str
    series: str
    files: bool = False


@dataclass(frozen=True)
class AptSourceOrigin:
    """A distribution's source package, e.g. `xen`: a tarball and the distribution's patches."""

    name: str
    package: str
    series: str


Origin = TarballOrigin | AptOrigin | AptSourceOrigin


@dataclass(frozen=True)
class Source:
    """A named source: a series of one project and the origins that have it, in order."""

    name: str
    series: str
    origins: tuple[Origin, ...]

    def origin(self, name: str) -> Origin | None:
        """Give the origin called `name`, or None."""
        return next((origin for origin in self.origins if origin.name == name), None)


@dataclass(frozen=True)
class Pin:
    """One archive, exactly: where it comes from, its version, and the SHA-256 of its bytes.

    `release` is the distribution release whose archive has it (`debian-12`), empty for a tarball;
    `version` is the origin's own version, `upstream` that of the kernel (`6.12.117`). `parts` are
    the further files that make it up, each as sha256sum(1) writes it: `SHA256  NAME`.
    """

    source: str
    origin: str
    release: str
    version: str
    upstream: str
    file: str
    sha256: str
    parts: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Give one SHA-256 for all its files: that of the file where there is only one."""
        if not self.parts:
            return self.sha256
        return hashlib.sha256("\n".join([self.sha256, *self.parts]).encode()).hexdigest()

    def checksums(self) -> dict[str, str]:
        """Give every file's name and SHA-256."""
        further = (part.split("  ", 1) for part in self.parts)
        return {self.file: self.sha256, **{name: sha256 for sha256, name in further}}


def in_series(version: str, series: str) -> bool:
    """Tell whether an upstream version belongs to a series: 6.12.9 to 6.12, 4.17.5 to 4.

    No series at all, an empty text, takes any version.
    """
    return not series or f"{version}.".startswith(f"{series}.")


# The texts of a pin, in the order in which the lock has them.
_FIELDS = tuple(field for field in Pin.__dataclass_fields__ if field != "parts")


def version_key(version: str) -> list[int]:
    """Give a key that orders upstream versions such as `6.12.9` and `6.12.117`."""
    return [int(part) for part in version.split(".")]


def load_sources(tree: Path) -> dict[str, Source]:
    """Read `kernels/sources.toml` of the tree at `tree`."""
    path = tree / "kernels" / "sources.toml"
    sources = {}
    for name, table in load_table(path).items():
        series = table.text("series", "")
        if series and not _SERIES.fullmatch(series):
            raise table.error("series", "is no series", "Write e.g. 6.12.")
        origins = tuple(_origin(tree, series, origin) for origin in table.tables("origins"))
        table.finish()
        if not origins:
            raise table.error("origins", "names no origin", "Add [[…origins]] tables.")
        sources[name] = Source(name, series, origins)
    return sources


def _origin(tree: Path, series: str, table: Table) -> Origin:
    kind = table.text("kind")
    name = table.text("name")
    origin: Origin
    if kind == "apt":
        files = table.flag("files", default=False)
        origin = AptOrigin(name, _package(table, "linux-source-6.12"), series, files)
    elif kind == "apt-source":
        origin = AptSourceOrigin(name, _package(table, "xen"), series)
    elif kind == "tarball":
        keys = []
        for fingerprint in table.texts("keys"):
            key = tree / "kernels" / "keys" / f"{fingerprint}.asc"
            if not _FINGERPRINT.fullmatch(fingerprint) or not key.is_file():
                raise table.error(
                    "keys",
                    f"{fingerprint} has no key file",
                    f"Put the armored public key at {key}.",
                )
            keys.append(key)
        file = _versioned_path(table, "file")
        signed = table.text("signed", "tar")
        if signed not in ("tar", "file"):
            raise table.error("signed", f"{signed} is unknown", "Write tar or file.")
        origin = TarballOrigin(
            name,
            _web_directory(table),
            _index(table),
            _listed(table, file),
            file,
            _versioned_path(table, "signature"),
            signed,
            tuple(keys),
            series,
        )
        if origin.compression not in _COMPRESSIONS:
            raise table.error("file", "is no .tar.xz and no .tar.gz", "Name one of these.")
    else:
        known = "tarball, apt or apt-source"
        raise table.error("kind", f"{kind} is no kind of origin", f"Write {known}.")
    table.finish()
    return origin


def _package(table: Table, example: str) -> str:
    package = table.text("package")
    if not _PACKAGE.fullmatch(package):
        raise table.error("package", "is no package name", f"Write e.g. {example}.")
    return package


def _index(table: Table) -> str:
    name = table.text("index")
    if name != "./" and not _FILE_NAME.fullmatch(name):
        hint = "Write a file's name, or ./ for the directory's own listing."
        raise table.error("index", "is no plain file name", hint)
    return name


def _listed(table: Table, file: str) -> str:
    """Read how the index names a version: as `file`, unless `listed` says otherwise."""
    name = table.text("listed", file)
    if name.count("{version}") != 1 or len(name) > 200:
        raise table.error("listed", "is nothing with one {version} in it", "Write e.g. {version}/.")
    return name


def _versioned_path(table: Table, key: str) -> str:
    """Read a file's name with one `{version}` in it, which may stand in a directory `{version}`."""
    path = table.text(key)
    name = path.removeprefix("{version}/")
    if not _FILE_NAME.fullmatch(name.replace("{version}", "1")) or name.count("{version}") != 1:
        hint = "Write a file's name with one {version} in it."
        raise table.error(key, "is no plain file name", hint)
    return path


def _web_directory(table: Table) -> str:
    base = table.text("base")
    if not _WEB_DIRECTORY.fullmatch(base):
        raise table.error("base", "is no web directory", "Write https://HOST/PATH/.")
    return base


def lock_path(tree: Path) -> Path:
    """Give the path of the tree's lock file."""
    return tree / "kernels" / "sources.lock"


def load_lock(tree: Path) -> tuple[Pin, ...]:
    """Read the lock; a tree without one has no pins."""
    path = lock_path(tree)
    if not path.exists():
        return ()
    table = load_table(path)
    pins = []
    for entry in table.tables("pin"):
        texts = {field: entry.text(field) for field in _FIELDS}
        pin = Pin(**texts, parts=entry.texts("parts", ()))
        if not _SHA256.fullmatch(pin.sha256):
            raise entry.error("sha256", "is not 64 hexadecimal digits", "Restore the lock file.")
        if not _FILE_NAME.fullmatch(pin.file):
            raise entry.error("file", "is not a plain file name", "Restore the lock file.")
        for part in pin.parts:
            found = _PART.fullmatch(part)
            if found is None or not _FILE_NAME.fullmatch(found[2]):
                raise entry.error("parts", "is no line of sha256sum", "Restore the lock file.")
        if not _PACKAGE_VERSION.fullmatch(pin.version):
            raise entry.error("version", "is not a version", "Restore the lock file.")
        if not VERSION.fullmatch(pin.upstream):
            raise entry.error("upstream", "is not a version", "Restore the lock file.")
        entry.finish()
        pins.append(pin)
    table.finish()
    return tuple(pins)


def with_pin(pins: tuple[Pin, ...], new: Pin) -> tuple[Pin, ...]:
    """Give `pins` with `new` in place of the pin of the same source, origin and release."""
    same = (new.source, new.origin, new.release)
    kept = [pin for pin in pins if (pin.source, pin.origin, pin.release) != same]
    return tuple(sorted([*kept, new], key=lambda pin: (pin.source, pin.origin, pin.release)))


def write_lock(tree: Path, pins: tuple[Pin, ...]) -> None:
    """Write the lock file, sorted, in one step."""
    lines = ["# Written by sprout. `sprout update FLAVOR` moves a pin to the newest version."]
    for pin in pins:
        lines += ["", "[[pin]]"]
        lines += [f'{field} = "{_quoted(getattr(pin, field))}"' for field in _FIELDS]
        if pin.parts:
            lines += ["parts = [", *(f'    "{_quoted(part)}",' for part in pin.parts), "]"]
    write_file(lock_path(tree), ("\n".join(lines) + "\n").encode())


def _quoted(text: str) -> str:
    if any(character in text for character in '"\\\n') or not text.isprintable():
        raise SproutError(f"sources.lock: {text!r} cannot be written", "Report this as a bug.")
    return text
