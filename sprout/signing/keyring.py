"""Key directories: `KEY`, which its owner alone can read, and `KEY.pub` beside it.

`KEY` (mode 0700) holds ROLE.key, an encrypted private key in PEM, or ROLE.uri, the PKCS #11 URI of
a key in a token, or neither where the key is on another machine; ROLE-1.key … are older ones. The
roles are PK, KEK and db (for firmware), module and artifact. What `KEY.pub` holds stands in
sprout/signing/public.py. One passphrase opens all key files, unless their owner changes that.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from cryptography.x509 import Certificate

from sprout.base.errors import SproutError, UsageError
from sprout.base.files import cannot_write, sweep
from sprout.signing import pem, token
from sprout.signing.certificates import Profile, check_role, issue
from sprout.signing.makers import Kept, Maker
from sprout.signing.passphrase import Passphrase
from sprout.signing.pkcs11_uri import MAX_URI_CHARACTERS, TokenUri, parse_uri
from sprout.signing.private_files import (
    PUBLIC_DIRECTORY,
    read_private,
    write_private,
    write_public,
)
from sprout.signing.public import (
    LEVEL_FILE,
    OWNER_FILE,
    Public,
    certificate_files,
    level_text,
    load_public,
)
from sprout.signing.signer import Signer
from sprout.signing.uninterrupted import uninterrupted_until

SUFFIXES = (".key", ".uri")
_PUBLIC = ".pub"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


def home() -> Path:
    """Give the directory in which key directories lie that are named without a path.

    $SPROUT_KEYS, else sprout/keys in the XDG data directory.
    """
    own = os.environ.get("SPROUT_KEYS", "")
    if own:
        return Path(own)
    data = os.environ.get("XDG_DATA_HOME", "")
    if not data.startswith("/"):  # the XDG base directory rules: a relative path is ignored
        data = str(Path.home() / ".local/share")
    return Path(data) / "sprout/keys"


def resolve(name: str | Path) -> Path:
    """Give the path that `name` means: an existing path, one with a "/", or a name in `home`."""
    if "/" in str(name) or Path(name).exists():
        return Path(name)
    return home() / name


def public_directory(directory: Path) -> Path:
    """Give the `KEY.pub` of `directory`, which is `KEY` or already `KEY.pub`."""
    path = directory.absolute()
    return path if path.name.endswith(_PUBLIC) else path.with_name(path.name + _PUBLIC)


def public(directory: Path) -> Public:
    """Read the public half of `directory`, which is `KEY` or `KEY.pub`; raises SproutError."""
    path = public_directory(directory)
    if not path.is_dir():
        raise SproutError(
            f"{path}: no such key directory", "`sprout keys list` says which there are."
        )
    return load_public(path)


def private_file(directory: Path, stem: str) -> Path | None:
    """Give the file that holds the private key of `stem` or says where it is, where there is one.

    Raises SproutError when there are two.
    """
    found = [path for suffix in SUFFIXES if (path := directory / f"{stem}{suffix}").exists()]
    if len(found) > 1:
        raise SproutError(
            f"{directory}: holds both {found[0].name} and {found[1].name}",
            "Remove the one that does not belong to the certificate.",
        )
    return found[0] if found else None


def token_uri(path: Path) -> TokenUri:
    """Read a file ROLE.uri; raises SproutError."""
    # It names a library that is loaded into this process: nobody else may have written it.
    text = read_private(path, MAX_URI_CHARACTERS).decode("utf-8", "replace")
    return parse_uri(text.strip(), path)


def open_signer(directory: Path, stem: str, passphrase_file: Path | None = None) -> Signer:
    """Open one private key of a directory: that of a role, such as "db", or an older one, "db-1".

    `passphrase_file` holds the passphrase or the token's PIN; without one it is asked for on the
    terminal. Raises SproutError when there is no such key, when others may read it, or when the
    passphrase is wrong.
    """
    return open_signers(directory, (stem,), passphrase_file)[stem]


def open_signers(
    directory: Path, stems: Sequence[str], passphrase_file: Path | None = None
) -> dict[str, Signer]:
    """Open several private keys, as `open_signer` does, and ask at most once for each secret."""
    certificates = public(directory)
    phrase = Passphrase(passphrase_file, f"Passphrase of {directory.name}")
    pins: dict[str, Passphrase] = {}
    signers: dict[str, Signer] = {}
    for stem in stems:
        certificate = certificates.certificate(stem)
        path = private_file(directory, stem)
        if path is None:
            raise SproutError(
                f"{directory}: has no private key {stem}",
                "If it is on another machine, use --export DIR and --attach DIR.",
            )
        if path.suffix == ".key":
            signers[stem] = pem.open_signer(path, certificate, phrase)
        else:
            uri = token_uri(path)
            pin = pins.setdefault(uri.with_key("", b"").text(), token_pin(uri, passphrase_file))
            signers[stem] = token.open_signer(uri, certificate, pin)
    return signers


def token_pin(uri: TokenUri, file: Path | None) -> Passphrase:
    """Give a token's PIN: from `file`, else from the URI's pin-source, else the terminal."""
    return Passphrase(file or uri.pin_source, f"PIN of the token {uri.token or uri.serial}")


def check_new(directory: Path) -> None:
    """Refuse a name that is none, and one that is taken; raises SproutError."""
    name = directory.name
    if not _NAME.fullmatch(name) or name.endswith(_PUBLIC):
        raise UsageError(
            f"{name or directory}: is no name for a key directory",
            "Use up to 40 letters, digits, dots and dashes.",
        )
    for place in (directory.absolute(), public_directory(directory)):
        if place.exists() or place.is_symlink():
            raise SproutError(
                f"{place}: exists already, and keys are never overwritten",
                "Choose another name; `sprout keys rotate` replaces a single key.",
            )


def create(
    directory: Path,
    profiles: Mapping[str, Profile],
    maker: Maker,
    now: datetime,
    held: ExitStack | None = None,
) -> Public:
    """Make a new key directory and its public half, with a key for each of `profiles`.

    Both appear at once when all is done. Raises SproutError when either exists, and whatever
    `maker` raises; then nothing is left, in a token neither. When done, signals wait for `held`.
    """
    with _undone(maker), _new_pair(directory, maker.keep, held) as (private, shared):
        for role, profile in profiles.items():
            made = maker.make(profile, f"{directory.name}-{role}")
            certificate = issue(profile, made.key, directory.name, now)
            _put(private, shared, role, certificate, made.kept)
        # A level that refuses nothing yet: the machine's variable is to be theirs from the first.
        write_public(shared / LEVEL_FILE, level_text({}, now))
    return public(directory)


def _put(
    private: Path, shared: Path, role: str, certificate: Certificate, kept: Kept | None
) -> None:
    if kept is not None:
        write_private(private / f"{role}{kept.suffix}", kept.data)
    for name, data in certificate_files(role, certificate).items():
        write_public(shared / name, data)


def rotate(
    directory: Path,
    role: str,
    profile: Profile,
    maker: Maker,
    now: datetime,
    *,
    drop: bool,
    held: ExitStack | None = None,
) -> Public:
    """Make a new key for a role; the old certificate stays trusted as ROLE-N.crt.

    The old private key stays as ROLE-N.key, or goes with `drop`; a token keeps its old key, which
    is the caller's to remove. Raises SproutError, with nothing changed. When done, signals wait for
    `held`.
    """
    public(directory).certificate(role)
    with _undone(maker):
        made = maker.make(profile, f"{directory.name}-{role}")
        certificate = issue(profile, made.key, directory.name, now)
        _install(directory, role, certificate, made.kept, drop=drop, done=maker.keep, held=held)
    return public(directory)


def add(directory: Path, role: str, certificate: Certificate, kept: Kept | None) -> None:
    """Make `certificate` the current one of its role; `kept` is its private key, where it is here.

    Makes the directory if there is none. A certificate that the role had stays as ROLE-N.crt, its
    private key as ROLE-N.key. Raises SproutError when the key is not of a type for the role, or the
    certificate is there already; then nothing is changed.
    """
    check_role(certificate, role, role)
    if public_directory(directory).is_dir():
        _install(directory, role, certificate, kept)
        return
    with _new_pair(directory) as (private, shared):
        _put(private, shared, role, certificate, kept)


def _install(
    directory: Path,
    role: str,
    certificate: Certificate,
    kept: Kept | None,
    *,
    drop: bool = False,
    done: Callable[[], None] | None = None,
    held: ExitStack | None = None,
) -> None:
    shared = public(directory)
    if certificate in shared.of(role):
        raise SproutError(f"{directory}: {role}: has this certificate already", "Nothing to do.")
    with _replacing(directory, done, held) as steps:
        older = f"{role}-{_highest(shared, role) + 1}"
        if role in shared.certificates:
            old = private_file(directory, role)
            for name, data in certificate_files(older, shared.certificates[role]).items():
                steps.write(shared.directory / name, data)
            if old is not None and not drop:
                steps.write_private(
                    directory / f"{older}{old.suffix}", read_private(old, pem.MAX_KEY_BYTES)
                )
            if old is not None:
                steps.remove(old)
        for name, data in certificate_files(role, certificate).items():
            steps.write(shared.directory / name, data)
        if kept is not None:
            steps.write_private(directory / f"{role}{kept.suffix}", kept.data)


def _highest(shared: Public, role: str) -> int:
    return max(
        (int(stem.rpartition("-")[2]) for stem in shared.stems(role) if "-" in stem), default=0
    )


def open_passphrase(directory: Path, passphrase_file: Path | None, stem: str = "") -> Passphrase:
    """Give the passphrase for a new key file in `directory`: that of the key `stem` before it, else
    one that another file there has.

    Raises SproutError when it opens none of them or, for the first one, is too short.
    """
    phrase = Passphrase(passphrase_file, f"Passphrase of {directory.name}")
    files = sorted(directory.glob("*.key")) if directory.is_dir() else []
    files = [path for path in files if path.stem == stem] or files
    if not files:
        phrase.choose()
    for path in files:
        try:
            pem.load_key(path, phrase)
        except SproutError:
            if path == files[-1]:
                raise
        else:
            break
    return phrase


class _Steps:
    """Changes of files that are prepared one by one, and then made all together."""

    def __init__(self) -> None:
        self.staged: dict[Path, Path] = {}
        self.removed: list[Path] = []

    def _stage(self, path: Path) -> Path:
        staging = path.with_name(_scratch(path.name))
        self.staged[path] = staging
        return staging

    def write(self, path: Path, data: bytes) -> None:
        write_public(self._stage(path), data)

    def write_private(self, path: Path, data: bytes) -> None:
        write_private(self._stage(path), data)

    def remove(self, path: Path) -> None:
        self.removed.append(path)

    def make(self, done: Callable[[], None] | None, held: ExitStack | None) -> None:
        with uninterrupted_until(held):
            for path, staging in self.staged.items():
                staging.replace(path)
            for path in self.removed:
                if path not in self.staged:
                    path.unlink()
            if done is not None:
                done()


@contextmanager
def _replacing(
    directory: Path, done: Callable[[], None] | None, held: ExitStack | None
) -> Iterator[_Steps]:
    steps = _Steps()
    for folder in (directory, public_directory(directory)):
        sweep(folder)
    try:
        yield steps
        steps.make(done, held)
    except OSError as error:
        raise cannot_write(directory, error) from error
    finally:
        for staging in steps.staged.values():
            staging.unlink(missing_ok=True)


@contextmanager
def _new_pair(
    directory: Path, done: Callable[[], None] | None = None, held: ExitStack | None = None
) -> Iterator[tuple[Path, Path]]:
    """Give two new directories that become KEY and KEY.pub together, or neither.

    `done` is called as soon as they have, before anything can interrupt.
    """
    check_new(directory)
    places = (directory.absolute(), public_directory(directory))
    staged = tuple(place.with_name(_scratch(place.name)) for place in places)
    try:
        for staging, mode in zip(staged, (0o700, PUBLIC_DIRECTORY), strict=True):
            staging.parent.mkdir(parents=True, exist_ok=True)
            sweep(staging.parent)
            staging.mkdir(0o700)
            staging.chmod(mode)
        yield staged[0], staged[1]
        write_public(staged[1] / OWNER_FILE, f"{uuid4()}\n".encode())
        with uninterrupted_until(held):
            _publish(staged, places)
            if done is not None:
                done()
    except OSError as error:
        raise cannot_write(directory, error) from error
    finally:
        for staging in staged:
            shutil.rmtree(staging, ignore_errors=True)


def _publish(staged: Sequence[Path], places: Sequence[Path]) -> None:
    """Rename both; a directory that came up meanwhile is not replaced, since it is not empty."""
    staged[1].rename(places[1])
    try:
        staged[0].rename(places[0])
    except OSError:
        places[1].rename(staged[1])
        raise


def _scratch(name: str) -> str:
    """Give a name that sprout.base.files.sweep knows as scratch of this process."""
    return f".{name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"


@contextmanager
def _undone(maker: Maker) -> Iterator[None]:
    try:
        yield
    except BaseException:
        maker.undo()
        raise
