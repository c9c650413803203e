"""Tells a boot image that was refused from one that failed: by the words on the console.

edk2's boot manager prints a line before it loads a boot option, one before it starts it, and one
where either went wrong (MdeModulePkg, UefiBootManagerLib, BmBoot.c). The image verification of
Secure Boot answers LoadImage with EFI_ACCESS_DENIED or EFI_SECURITY_VIOLATION (UEFI specification
2.10, section 7.4.1), for which the lines have the words below. This project's stub says in a line
of its own what it refuses, and ends with EFI_SECURITY_VIOLATION.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_STARTING = re.compile(r"^BdsDxe: starting (?P<option>\w+) ")
_NOT_LOADED = re.compile(
    r"^BdsDxe: failed to load (?P<option>\w+) .*: (?P<why>Access Denied|Security Violation)$"
)
_NOT_STARTED = re.compile(r"^BdsDxe: failed to start (?P<option>\w+) .*: (?P<why>[^:]*)$")
_COMPLAINT = re.compile(r"^sprout: (?P<why>.+)")
_REFUSED = "Security Violation"


@dataclass(frozen=True)
class Refusal:
    """Who refused a boot option (such as "Boot0001"), and the reason in the refuser's words."""

    by: Literal["firmware", "stub"]
    option: str
    reason: str

    def text(self) -> str:
        """Give the refusal as a phrase."""
        who = {"firmware": "the firmware", "stub": "the boot stub"}[self.by]
        return f"{who} refused the image: {self.reason}"


def is_complaint(line: str) -> bool:
    """Tell whether `line` is the stub's: a refusal or a failure, as the boot manager tells next."""
    return _COMPLAINT.match(line) is not None


class Refusals:
    """Reads the console's lines in order, and tells which of them are a refusal."""

    def __init__(self) -> None:
        self._started: set[str] = set()
        self._complaint: str | None = None

    def see(self, line: str) -> Refusal | None:
        """Take one line and give the refusal that it tells of."""
        if starting := _STARTING.match(line):
            self._started.add(starting["option"])
            self._complaint = None
        elif complaint := _COMPLAINT.match(line):
            self._complaint = complaint["why"].strip()
        elif failed := _NOT_LOADED.match(line):
            # What was started has the console too: it could print this line itself.
            if failed["option"] not in self._started:
                return Refusal("firmware", failed["option"], failed["why"])
        elif failed := _NOT_STARTED.match(line):
            refused = failed["why"] == _REFUSED and failed["option"] in self._started
            if refused and self._complaint is not None:
                return Refusal("stub", failed["option"], self._complaint)
        return None
