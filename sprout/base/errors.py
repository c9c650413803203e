"""Errors that the user can mend: one line says what is wrong, one hint what to do about it."""

from __future__ import annotations


def printable(text: str) -> str:
    """Escape what does not print: text from outside must not speak to the user's terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


class SproutError(Exception):
    """Something the user can mend; ends the command with exit status 1.

    `message` names the file and the field; `hint` is one sentence saying what to do about it.
    """

    exit_status = 1

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = printable(" ".join(message.split()))
        self.hint = printable(" ".join(hint.split()))


class UsageError(SproutError):
    """The command was called in a way it cannot be; ends it with exit status 2."""

    exit_status = 2
