"""Passphrases and PINs: from a file of their owner's or the terminal, and from nowhere else.

Never from the command line or the environment: other processes can read both.
"""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.signing.private_files import leave_no_core, read_private

MIN_CHARACTERS = 8
MAX_BYTES = 1024


class Passphrase:
    """One passphrase, read or asked for when it is first needed, and only once."""

    def __init__(self, file: Path | None, prompt: str) -> None:
        """Take it from the first line of `file`, else ask for it on the terminal by `prompt`."""
        self._file = file
        self._prompt = prompt
        self._value: bytes | None = None

    def get(self) -> bytes:
        """Give the passphrase in UTF-8.

        Raises SproutError when the file may be read by others or is empty, or when there is
        neither a file nor a terminal.
        """
        if self._value is None:
            leave_no_core()
            self._value = _from_file(self._file) if self._file else _ask(self._prompt)
        return self._value

    def choose(self) -> bytes:
        """Give a passphrase for new keys: long enough, and typed twice on a terminal.

        Raises SproutError as `get` does, and when it is too short or the second one differs.
        """
        value = self.get()
        if len(value) < MIN_CHARACTERS:
            raise SproutError(
                f"{self._prompt}: shorter than {MIN_CHARACTERS} bytes",
                "Choose a longer one; several words are good.",
            )
        if self._file is None and _ask(f"{self._prompt}, again") != value:
            raise SproutError(f"{self._prompt}: the two differ", "Try again.")
        return value


def _from_file(path: Path) -> bytes:
    value = read_private(path, MAX_BYTES, pipe=True).split(b"\n", 1)[0].rstrip(b"\r")
    if not value:
        raise SproutError(f"{path}: the first line is empty", "Put the passphrase there.")
    return value


def _ask(prompt: str) -> bytes:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        raise SproutError(
            f"{prompt}: there is no terminal to ask on", "Name a file: --passphrase-file FILE."
        ) from error
    try:
        value = getpass.getpass(f"{prompt}: ").encode()
    except (EOFError, UnicodeError) as error:
        raise SproutError(f"{prompt}: none was given", "Type it, in UTF-8.") from error
    if not value or len(value) > MAX_BYTES:
        raise SproutError(f"{prompt}: none, or too long a one, was given", "Try again.")
    return value
