"""Runs a command as it would run on another machine: other host, user, clock, order of directories.

`python -m sprout.build.elsewhere PLACE HOST UMASK USER COMMAND…`, inside new namespaces for users,
mounts and the host's name (unshare(1)), where it may set them. PLACE holds `etc`, a copy of /etc
that names what every program loads first (ld.so(8), /etc/ld.so.preload).
"""

from __future__ import annotations

import os
import socket
import sys

from sprout.base.run import check

_HINT = "It takes user namespaces, which a container may bar (user.max_user_namespaces)."


def main() -> None:
    """Become another machine, and then the command."""
    place, host, umask, user, *words = sys.argv[1:]
    socket.sethostname(host)
    check(["mount", "--bind", f"{place}/etc", "/etc"], _HINT)
    os.umask(int(umask, 8))
    # A namespace within: whoever set this up, the build sees a user of this number.
    inner = ["unshare", "--user", f"--map-user={user}", f"--map-group={user}", "--", *words]
    os.execvp(inner[0], inner)  # noqa: S606 - an argument list, and the same process


if __name__ == "__main__":
    main()
