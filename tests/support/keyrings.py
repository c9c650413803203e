"""Key directories for tests, made as `sprout keys new` makes them."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from commands import ROOT

from sprout.signing import keyring
from sprout.signing.certificates import Profile, load_profiles
from sprout.signing.makers import FileMaker
from sprout.signing.passphrase import Passphrase
from sprout.signing.public import Public

WORDS = "correct horse battery"
MADE = datetime(2026, 6, 1, tzinfo=UTC)


def secret_file(path: Path, text: str = WORDS) -> Path:
    """Write a file that only its owner may read, and give its path."""
    path.touch(0o600)
    path.write_text(f"{text}\n")
    return path


def passphrase(text: str = WORDS) -> Passphrase:
    """Give a passphrase that nobody has to type."""
    reader, writer = os.pipe()
    os.write(writer, text.encode() + b"\n")
    os.close(writer)
    phrase = Passphrase(Path(f"/proc/self/fd/{reader}"), "test")
    phrase.get()
    os.close(reader)
    return phrase


def profiles() -> dict[str, Profile]:
    """Give this tree's profiles."""
    return load_profiles(ROOT / "signing/profiles.toml")


def make_keyring(directory: Path, roles: tuple[str, ...] = ()) -> Public:
    """Make a key directory with these roles (default: all) and give its public half."""
    chosen = {role: row for role, row in profiles().items() if not roles or role in roles}
    return keyring.create(directory, chosen, FileMaker(passphrase()), MADE)
