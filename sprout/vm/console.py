"""Reads a serial console: hostile bytes in, short clean lines out, and what they tell."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence

MAX_LINE = 1024
MAX_LINES = 4000

# UEFI's terminal driver moves the cursor instead of ending a line, so that ends a line too.
_LINE_END = re.compile(rb"[\r\n]+|\x1b\[[0-9;]*[HfJ]")
_ESCAPE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # control sequences, ECMA-48 section 5.4
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # operating system commands, section 8.3.89
    r"|\x1b[ -/]*[0-~]"
)
# printk's time and, where asked for, caller.
_STAMP = re.compile(r"^\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ")

# A host writes what its zones say line by line behind their names (initramfs/host).
_ZONE = re.compile(r"^\[(?P<name>[a-z0-9][a-z0-9-]{0,30})\] (?P<text>.*)$")
# Xen's own lines, and the time where it was asked for (console_timestamps=).
_XEN = re.compile(r"^\(XEN\) (?:\[[^\]]*\] )?(?P<text>.*)$")
_XEN_PANIC = re.compile(r"^Panic on CPU \d+:$")
_XEN_FAILURES = (
    (
        "the host's kernel crashed",
        re.compile(r"^(?:Domain 0 \(vcpu#\d+\) crashed on|Hardware Dom0 crashed)(?P<why>)"),
    ),
    (
        "the hypervisor ended a zone",
        re.compile(r"^(?P<why>Domain [1-9]\d* .*crashed\b.*?):?$"),
    ),
    # Xen cannot turn a machine off by itself.
    ("the host's kernel ended", re.compile(r"^Hardware Dom0 (?P<why>halted: .*)")),
    ("the host's kernel ended", re.compile(r"^Hardware Dom0 (?P<why>shutdown: watchdog .*)")),
)

# What a line tells of when it matches. The first pattern that fits counts; `why` is what follows.
_FAILURES = (
    ("kernel panic", re.compile(r"Kernel panic - not syncing: ?(?P<why>.*)")),
    (
        "kernel oops",
        re.compile(r"^(?P<why>(?:Oops:|(?:watchdog: )?BUG:|kernel BUG at|Internal error:).*)"),
    ),
    # Before 6.10 the kind of fault stood first; every oops has its number in brackets.
    ("kernel oops", re.compile(r"^(?P<why>[a-z][a-z ]*: [0-9a-f]{4} \[#\d+\].*)")),
    ("the kernel's EFI stub failed", re.compile(r"^EFI stub: ERROR: (?P<why>.*)")),
    ("the kernel did not start", re.compile(r"^ ?-- System halted(?P<why>)")),
    ("kernel oops", re.compile(r"^(?P<why>(?:general protection fault|double fault)\b.*)")),
    ("kernel oops", re.compile(r"^(?P<why>Unable to handle kernel .*)")),
    ("CPU exception", re.compile(r"!!!! ?X64 Exception Type - (?P<why>[^!]*?) *(?:CPU Apic|!!!!)")),
    ("the boot stub failed", re.compile(r"^sprout: (?P<why>.*)")),
    ("init failed", re.compile(r"^sprout-init: (?P<why>.*)")),
    # Before it has a console of its own (xen/arch/x86/boot/head.S, xen/common/efi/boot.c).
    ("the hypervisor did not start", re.compile(r"^(?:ERR: )?(?P<why>Xen must be loaded .*)")),
    ("the hypervisor did not start", re.compile(r"^ERR: (?P<why>.*)")),
    (
        "the firmware cannot load a boot application from the disk",
        re.compile(r"^BdsDxe: failed to load .*: (?P<why>[^:]*)"),
    ),
    ("the boot application failed", re.compile(r"^BdsDxe: failed to start .*: (?P<why>[^:]*)")),
    (
        "the boot application came back to the firmware",
        re.compile(r"^BdsDxe: (?:loading|starting) \w+ (?P<why>\"[^\"]*\") from Fv\("),
    ),
    (
        "the firmware found nothing to boot",
        re.compile(r"^(?P<why>BdsDxe: No bootable|UEFI Interactive Shell|>>Start (?:PXE|HTTP)).*"),
    ),
)


class Console:
    """The lines of one serial console; keeps the last `MAX_LINES`, each of at most `MAX_LINE`."""

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        self._show = show
        self._rest = bytearray()
        self.lines: deque[str] = deque(maxlen=MAX_LINES)

    def feed(self, data: bytes) -> list[str]:
        """Take bytes as they come and give the lines that they complete."""
        self._rest += data
        *whole, rest = _LINE_END.split(self._rest)
        while len(rest) > MAX_LINE:
            whole.append(rest[:MAX_LINE])
            rest = rest[MAX_LINE:]
        self._rest = bytearray(rest)
        return self._keep(whole)

    def finish(self) -> list[str]:
        """Give the last line where nothing ended it."""
        rest, self._rest = bytes(self._rest), bytearray()
        return self._keep([rest])

    def _keep(self, raw: list[bytes]) -> list[str]:
        kept = []
        for piece in raw:
            for start in range(0, len(piece), MAX_LINE):
                line = clean(piece[start : start + MAX_LINE].decode(errors="replace"))
                if line:
                    kept.append(line)
        self.lines.extend(kept)
        if self._show is not None:
            for line in kept:
                self._show(line)
        return kept


def clean(text: str) -> str:
    """Give `text` without escape sequences, control characters and space at its end."""
    text = _ESCAPE.sub("", text).replace("\t", " ")
    return "".join(letter for letter in text if letter.isprintable()).rstrip()


def failure(line: str) -> str | None:
    """Give what went wrong, in one phrase, or None when `line` tells of no failure.

    Knows Linux' panics and oopses, edk2's boot manager and exception handler, and the
    complaints of this project's stub and init.
    """
    return _told(_FAILURES, _STAMP.sub("", line))


class Failures:
    """Reads a console's lines in order: a hypervisor's, its host's, and those of the zones.

    Where there is no hypervisor this tells what `failure` does.
    """

    def __init__(self) -> None:
        self._panicking = False

    def see(self, line: str) -> str | None:
        """Take one line and give what went wrong, in one phrase, or None."""
        xen = _XEN.match(line)
        if xen is not None:
            return self._hypervisor(xen["text"])
        zone = _ZONE.match(line)
        if zone is None:
            return failure(line)
        why = failure(zone["text"])
        return f"zone {zone['name']}: {why}" if why is not None else None

    def _hypervisor(self, text: str) -> str | None:
        # The reason of a panic stands on the line behind its heading (Xen, panic()).
        if _XEN_PANIC.match(text):
            self._panicking = True
            return None
        if self._panicking and text.strip():
            self._panicking = False
            return f"hypervisor panic: {text.strip()}"
        return _told(_XEN_FAILURES, text)


def _told(failures: Sequence[tuple[str, re.Pattern[str]]], text: str) -> str | None:
    for what, pattern in failures:
        match = pattern.search(text)
        if match is not None:
            why = match.group("why").strip()
            return f"{what}: {why}" if why else what
    return None
