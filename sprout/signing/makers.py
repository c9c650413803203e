"""Where new private keys come from: files encrypted with a passphrase, or a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sprout.base.errors import SproutError
from sprout.signing import pem, pkcs8, token
from sprout.signing.certificates import PrivateKey, Profile
from sprout.signing.foreign_key import foreign_key
from sprout.signing.passphrase import Passphrase
from sprout.signing.pkcs11_uri import TokenUri
from sprout.signing.uninterrupted import uninterrupted


@dataclass(frozen=True)
class Kept:
    """What a key directory keeps of a private key: a file's suffix and its bytes."""

    suffix: str
    data: bytes


@dataclass(frozen=True)
class Made:
    """A new key: an object that can sign its certificate, and what is kept of it."""

    key: PrivateKey
    kept: Kept


class Maker(Protocol):
    """Makes private keys."""

    def make(self, profile: Profile, label: str) -> Made:
        """Make a key as `profile` says; `label` names it where the key itself is named."""

    def keep(self) -> None:
        """Take what was made so far as settled."""

    def undo(self) -> None:
        """Remove what was made and not settled from wherever else it is."""


def in_file(key: PrivateKey, passphrase: Passphrase) -> Kept:
    """Give what a key directory keeps of a key in a file."""
    return Kept(".key", pkcs8.encrypt(key, passphrase.get()))


def in_token(uri: TokenUri) -> Kept:
    """Give what a key directory keeps of a key in a token: where it is."""
    return Kept(".uri", f"{uri.text()}\n".encode())


class FileMaker:
    """Makes keys that are kept in files."""

    def __init__(self, passphrase: Passphrase) -> None:
        self._passphrase = passphrase

    def make(self, profile: Profile, label: str) -> Made:
        """Make a key in memory."""
        key = pem.generate(profile.key)
        return Made(key, in_file(key, self._passphrase))

    def keep(self) -> None:
        """Do nothing: there is nothing elsewhere."""

    def undo(self) -> None:
        """Do nothing: what was not kept is gone."""


class TokenMaker:
    """Makes keys inside a token."""

    def __init__(self, uri: TokenUri, pin: Passphrase) -> None:
        """Raises SproutError when `uri` names a key: this is about new ones."""
        if uri.object or uri.id:
            raise SproutError(
                f"{uri.text()}: names a key in the token", "Leave object= and id= out."
            )
        self._uri = uri
        self._pin = pin
        self._made: list[TokenUri] = []

    def make(self, profile: Profile, label: str) -> Made:
        """Make a key in the token; its certificate is signed there too."""
        self._pin.get()  # it may be asked for, and that has to end by Ctrl-C
        with uninterrupted():
            uri = token.generate(self._uri, self._pin, profile.key, label)
            self._made.append(uri)
        key = foreign_key(
            token.find(uri, self._pin), lambda message: token.sign(uri, self._pin, message)
        )
        return Made(key, in_token(uri))

    def keep(self) -> None:
        """Leave the keys made so far in the token."""
        self._made.clear()

    def undo(self) -> None:
        """Remove the new keys from the token."""
        with uninterrupted():
            while self._made:
                token.destroy(self._made.pop(), self._pin)
