"""Judges the console of a guest that starts: is it ready, was it refused, did it fail?"""

from __future__ import annotations

from typing import Literal

from sprout.format import ready as ready_line
from sprout.format.ready import HostReady, Ready, ZoneReady
from sprout.vm.console import Failures
from sprout.vm.refusal import Refusal, Refusals, is_complaint
from sprout.vm.session import End, Verdict

_MAX_ZONES = 64
_PROGRAM_DONE = "exited with status 0"


class GuestJudge:
    """Judges the console's lines; remembers the readiness line, or what went wrong and where."""

    def __init__(self, until: Literal["ready", "exit"], *, is_host: bool) -> None:
        self.until = until
        self.ready: Ready | HostReady | None = None
        self.ready_s = 0.0
        self.zones: dict[str, ZoneReady] = {}
        self.refusal: Refusal | None = None
        self.told: str | None = None
        self.failed_line: str | None = None
        self._is_host = is_host
        self._refusals, self._failures = Refusals(), Failures()

    def judge(self, line: str, seconds: float) -> Verdict | None:
        """Give the verdict on one line that came `seconds` after QEMU was started."""
        if self.refusal is not None:  # what the firmware goes on with does not undo it
            return None
        found = self._readiness(line) if self.ready is None else None
        if found is not None:
            self.ready, self.ready_s, self.told = found, seconds, None
            return Verdict(End.REACHED) if self.until == "ready" else None
        if self.ready is not None and line.endswith(_PROGRAM_DONE):
            return None
        if self.ready is None:  # afterwards the console is the guest's, which can say anything
            self.refusal = self._refusals.see(line)
        why = self.refusal.text() if self.refusal is not None else self._failures.see(line)
        if why is None and self._is_host:
            why = ready_line.unread_zone(line)
        if why is None:
            return None
        if self.told is None or self.refusal is not None:
            self.told, self.failed_line = why, line
        # Of the stub: the boot manager's next line tells whether it refused or failed.
        return None if is_complaint(line) else Verdict(End.FAILED, self.told)

    def _readiness(self, line: str) -> Ready | HostReady | None:
        if not self._is_host:
            return ready_line.parse(line)
        zone = ready_line.parse_zone(line)
        if zone is not None and len(self.zones) < _MAX_ZONES:
            self.zones.setdefault(zone.zone, zone)
        return ready_line.parse_host(line)
