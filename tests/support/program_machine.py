"""A zone whose root is a squashfs image; ports on loopback lead into it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from oci_registry import free_port

from sprout.base.run import started


@dataclass(frozen=True)
class Zone:
    """A zone that runs: its console so far, and the ports by which those of it are reached."""

    console: Path
    ports: Mapping[int, int]
    process: subprocess.Popen[bytes]

    def text(self) -> str:
        """Give what the zone wrote on its console."""
        return self.console.read_bytes().decode(errors="replace").replace("\r", "")

    def ended(self, seconds: float) -> str:
        """Wait until the zone has powered off by itself, and give its whole console."""
        try:
            assert self.process.wait(seconds) == 0, self.text()
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"not ended in {seconds} s:\n{self.text()}") from error
        return self.text()


@contextmanager
def zone_running(
    kernel: Path, root: Path, words: str, work: Path, *, ports: tuple[int, ...] = ()
) -> Iterator[Zone]:
    """Start a zone on the root file system `root`; `words` end its command line."""
    leads = {port: free_port() for port in ports}
    forward = "".join(f",hostfwd=tcp:127.0.0.1:{ours}-:{theirs}" for theirs, ours in leads.items())
    console = work / "console.txt"
    arguments: list[str | Path] = ["qemu-system-x86_64", "-machine", "q35", "-cpu", "max"]
    arguments += ["-accel", "tcg", "-m", "512", "-nodefaults", "-no-user-config", "-no-reboot"]
    arguments += ["-display", "none", "-serial", f"file:{console}", "-kernel", kernel]
    arguments += ["-drive", f"file={root},format=raw,if=virtio,readonly=on"]
    arguments += [
        "-netdev",
        f"user,id=n,restrict=on{forward}",
        "-device",
        "virtio-net-pci,netdev=n",
    ]
    arguments += ["-object", "rng-random,id=r,filename=/dev/urandom"]
    arguments += ["-device", "virtio-rng-pci,rng=r"]
    mounted = "root=/dev/vda rootfstype=squashfs ro rootwait init=/init"
    arguments += ["-append", f"console=ttyS0 quiet panic=-1 {mounted} {words}"]
    console.touch()
    with started(arguments, stderr=subprocess.STDOUT, stdout=subprocess.DEVNULL) as process:
        yield Zone(console, leads, process)


def eventually(zone: Zone, seconds: float, text: str) -> None:
    """Wait until the zone's console has `text`."""
    deadline = time.monotonic() + seconds
    while text not in zone.text():
        assert zone.process.poll() is None, f"the zone ended:\n{zone.text()}"
        assert time.monotonic() < deadline, f"no {text!r} in {seconds} s:\n{zone.text()}"
        time.sleep(0.1)
