#!/usr/bin/env python3
"""Runs the README's two commands on machines where nothing was prepared, and prints how long.

    sudo tests/fresh/fresh.py [--release bookworm|trixie] [--command boot|test] [--keep DIR]

For each release and each command a minimal Debian tree is made with debootstrap; the committed
state of this checkout is cloned into it, and the command runs there with empty caches as an
ordinary user who has sudo. Needs root, debootstrap and a network that reaches the archives; how
to reach them (proxy, certificates) is taken over from this machine.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RELEASES = ("bookworm", "trixie")
COMMANDS = ("boot", "test")
_HOW_TO_REACH = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL")
_CERTIFICATES = "/etc/this-machine.crt"
# pivot_root and not chroot: in a chroot no user namespace can be made, and the suite needs one.
_ENTER = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount --rbind /dev dev
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs run
mkdir -p .old
pivot_root . .old
umount -l /.old
shift
exec setpriv --reuid=1000 --regid=1000 --init-groups env -i "$@"
"""


def make_tree(release: str, tree: Path) -> None:
    """Make a minimal machine: debootstrap's minbase, its security archive, a user with sudo."""
    subprocess.run(
        ["debootstrap", "--variant=minbase", "--include=sudo", release, str(tree)], check=True
    )
    sources = tree / "etc/apt/sources.list"
    _, mirror, *_ = sources.read_text().split()
    security = f"{mirror.rstrip('/')}-security"
    with sources.open("a") as out:
        out.write(f"deb {security} {release}-security main\n")
    shutil.copyfile("/etc/resolv.conf", tree / "etc/resolv.conf")
    if "PIP_CERT" in os.environ:
        shutil.copyfile(os.environ["PIP_CERT"], tree / _CERTIFICATES.lstrip("/"))
    subprocess.run(["chroot", str(tree), "useradd", "-m", "-u", "1000", "newcomer"], check=True)
    (tree / "etc/sudoers.d/newcomer").write_text("newcomer ALL=(ALL) NOPASSWD: ALL\n")


def clone(tree: Path) -> None:
    """Clone the committed state into the user's home."""
    home = tree / "home/newcomer"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(home / "sprout")], check=True)
    subprocess.run(["chown", "-R", "1000:1000", str(home)], check=True)


def run_command(tree: Path, command: str) -> tuple[int, float]:
    """Run `./sprout.sh COMMAND` in the tree; give its exit status and seconds."""
    environment = {
        "HOME": "/home/newcomer",
        "USER": "newcomer",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        **{name: os.environ[name] for name in _HOW_TO_REACH if name in os.environ},
    }
    if "PIP_CERT" in os.environ:
        environment["PIP_CERT"] = _CERTIFICATES
    words = [f"{name}={value}" for name, value in environment.items()]
    inner = ["sh", "-c", f"cd ~/sprout && exec ./sprout.sh {command}"]
    started = time.monotonic()
    status = subprocess.run(
        ["unshare", "-m", "--kill-child", "-pf", "sh", "-c", _ENTER, "sh", str(tree)]
        + [*words, *inner],
        check=False,
        stdin=subprocess.DEVNULL,
    ).returncode
    return status, time.monotonic() - started


def main() -> int:
    """Run what was asked for and print a table in Markdown."""
    # So that who ends this one ends the machine that it started too.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--release", choices=RELEASES, action="append")
    parser.add_argument("--command", choices=COMMANDS, action="append")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="make the trees there, keep them")
    arguments = parser.parse_args()
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    rows = []
    for release in arguments.release or RELEASES:
        for command in arguments.command or COMMANDS:
            base = arguments.keep or Path(tempfile.mkdtemp(prefix="sprout-fresh-"))
            tree = base / f"{release}-{command}"
            try:
                print(f"== {release}: ./sprout.sh {command}", flush=True)
                make_tree(release, tree)
                clone(tree)
                status, seconds = run_command(tree, command)
            finally:
                if arguments.keep is None:
                    shutil.rmtree(base, ignore_errors=True)
            result = "ok" if status == 0 else f"failed ({status})"
            rows.append(f"| {release} | `./sprout.sh {command}` | {result} | {seconds:.0f} s |")
            print(rows[-1], flush=True)
    today = datetime.datetime.now(datetime.UTC).date()
    print(f"\nCommit {commit}, {today}, {os.cpu_count()} processors.\n")
    print("| release | command | result | wall time |\n|---|---|---|---|")
    print("\n".join(rows))
    return 0 if all("| ok |" in row for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
