"""Which sources a tree builds from: `kernels/sources.toml` and the lock beside it."""

from __future__ import annotations

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
_SERIES = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}")
VERSION = re.compile(r"[0-9]+(?:\.[0-9]+){1,3}")


class SourceUnavailable(SproutError):  # noqa: N818 - it names a state of the world
    """An origin does not have an archive, or cannot be reached; another one may."""


@dataclass(frozen=True)
class TarballOrigin:
    """A directory on the web with `.tar.xz` files and detached PGP signatures over the `.tar`.

    `file` and `signature` are names with `{version}` in them; `keys` are fingerprints whose
    public keys stand in `kernels/keys/FINGERPRINT.asc`.
    """

    name: str
    base: str
    index: str
    file: str
    signature: str
    keys: tuple[Path, ...]
    series: str


@dataclass(frozen=True)
class AptOrigin:
    """A distribution package that holds the source tarball, e.g. `linux-source-6.12`."""

    name: str
    package: str
    series: str


Origin = TarballOrigin | AptOrigin


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
    `version` is the origin's own version, `upstream` that of the kernel (`6.12.117`).
    """

    source: str
    origin: str
    release: str
    version: str
    upstream: str
    file: str
    sha256: str


def version_key(version: str) -> list[int]:
    """Give a key that orders upstream versions such as `6.12.9` and `6.12.117`."""
    return [int(part) for part in version.split(".")]


def load_sources(tree: Path) -> dict[str, Source]:
    """Read `kernels/sources.toml` of the tree at `tree`."""
    path = tree / "kernels" / "sources.toml"
    sources = {}
    for name, table in load_table(path).items():
        series = table.text("series")
        if not _SERIES.fullmatch(series):
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
        origin = AptOrigin(name, table.text("package"), series)
        if not _PACKAGE.fullmatch(origin.package):
            raise table.error("package", "is no package name", "Write e.g. linux-source-6.12.")
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
        origin = TarballOrigin(
            name,
            _web_directory(table),
            _file_name(table, "index", versions=0),
            _file_name(table, "file", versions=1),
            _file_name(table, "signature", versions=1),
            tuple(keys),
            series,
        )
    else:
        raise table.error("kind", f"{kind} is no kind of origin", "Write tarball or apt.")
    table.finish()
    return origin


def _file_name(table: Table, key: str, *, versions: int) -> str:
    """Read the name of a file in an origin's directory, with so many `{version}` in it."""
    name = table.text(key)
    plain = name.replace("{version}", "1")
    if not _FILE_NAME.fullmatch(plain) or name.count("{version}") != versions:
        wanted = "with one {version} in it" if versions else "without a path"
        raise table.error(key, "is no plain file name", f"Write a file's name {wanted}.")
    return name


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
        pin = Pin(*(entry.text(field) for field in Pin.__dataclass_fields__))
        if not _SHA256.fullmatch(pin.sha256):
            raise entry.error("sha256", "is not 64 hexadecimal digits", "Restore the lock file.")
        if not _FILE_NAME.fullmatch(pin.file):
            raise entry.error("file", "is not a plain file name", "Restore the lock file.")
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
        lines += [f'{field} = "{_quoted(getattr(pin, field))}"' for field in _fields()]
    write_file(lock_path(tree), ("\n".join(lines) + "\n").encode())


def _fields() -> list[str]:
    return list(Pin.__dataclass_fields__)


def _quoted(text: str) -> str:
    if any(character in text for character in '"\\\n') or not text.isprintable():
        raise SproutError(f"sources.lock: {text!r} cannot be written", "Report this as a bug.")
    return text
