"""How `verify` ends when it refuses."""

from __future__ import annotations

from sprout.base.errors import SproutError


class RefusedError(SproutError):
    """A file that is not to be trusted; ends the command with exit status 3."""

    exit_status = 3
