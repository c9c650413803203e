#!/usr/bin/env python3
"""Prints how long an artifact of 500 MB takes to a registry and back, beside skopeo and sha256sum.

    tests/bench/oci.py [ROUNDS]

Debian's docker-registry runs on loopback with its files below $TMPDIR. Each round sends and fetches
the same bytes with both programs, in turn, from and to an empty repository. Wall time informs and
gates nothing; medians are printed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT), str(ROOT / "tests/support")]

from keyrings import make_keyring, secret_file  # noqa: E402
from oci_registry import Registry, running  # noqa: E402

from sprout.oci.definition import Definition, FileRow  # noqa: E402
from sprout.oci.pack import pack  # noqa: E402

SIZE = 500 * 1000 * 1000
SPROUT = [sys.executable, "-m", "sprout"]
SKOPEO = ["skopeo", "--insecure-policy", "copy", "--all", "-q"]


def seconds(*words: str | Path) -> tuple[float, str]:
    """Run a command that has to succeed; give its wall time and what it printed."""
    begun = time.monotonic()
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    return time.monotonic() - begun, done.stdout.decode()


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        make_keyring(work / "release", ("artifact",))
        secret_file(work / "pass")
        (work / "disk").write_bytes(os.urandom(SIZE))
        rows = (FileRow("disk.img", "disk", "application/vnd.test"),)
        definition = Definition("disk", "", "application/vnd.test.disk", {}, rows)
        pack(work / "layout", [definition], {"amd64": {"disk": work / "disk"}})
        times: dict[str, list[float]] = {}
        for number in range(rounds):  # a registry that neither program knows anything of
            (work / f"{number}").mkdir()
            with running(work / f"{number}") as registry:
                said = compare(work, registry, times)
                if number + 1 == rounds:
                    show(times, said)
                    resume(work, registry)
            shutil.rmtree(work / f"{number}")
        verify(work, rounds)


def compare(work: Path, registry: Registry, times: dict[str, list[float]]) -> dict[str, str]:
    """Time both programs in turn, and give what ours printed."""
    host, said = registry.host, {}

    def timed(what: str, *words: str | Path) -> None:
        took, said[what] = seconds(*words)
        times.setdefault(what, []).append(took)

    key = ("--key", work / "release", "--passphrase-file", work / "pass", "--insecure")
    pull = ("--key", work / "release.pub", "--insecure", "--arch", "amd64", "-o", work / "out")
    place, copy = f"oci:{work}/layout:disk", f"oci:{work}/copy:x"
    there = f"docker://{host}/theirs:1"
    timed("sprout push", *SPROUT, "push", work / "layout", f"{host}/ours:1", *key)
    timed("skopeo copy to it", *SKOPEO, "--dest-tls-verify=false", place, there)
    timed("sprout pull", *SPROUT, "pull", f"{host}/ours:1", *pull)
    timed("skopeo copy from it", *SKOPEO, "--src-tls-verify=false", there, copy)
    timed("sprout push again", *SPROUT, "push", work / "layout", f"{host}/ours:1", *key)
    shutil.rmtree(work / "out")
    shutil.rmtree(work / "copy")
    return said


def show(times: dict[str, list[float]], said: dict[str, str]) -> None:
    """Print medians, and how much memory ours needed at most."""
    for what, row in times.items():
        print(f"{what:24} {statistics.median(row):6.2f} s  ({min(row):.2f} to {max(row):.2f})")
        memory = re.search("peak memory: (.*)", said[what])
        if memory:
            print(f"{'':24} at most {memory[1]}; {said[what].splitlines()[0].rpartition(': ')[2]}")
    print(f"idle, same imports       at most {idle()} MiB")


def idle() -> str:
    """Give the peak memory of an interpreter that imports the same and does nothing."""
    code = "import sprout.cli.push, sprout.cli.pull; from sprout.cli.registry import peak_memory"
    return seconds(sys.executable, "-c", f"{code}; print(peak_memory())")[1].split()[0]


def resume(work: Path, registry: Registry) -> None:
    """Kill a pull at 300 MB, and print what loopback carries for the next one, headers too."""
    reference = f"{registry.host}/ours:1"
    words = [*SPROUT, "pull", reference, "--key", str(work / "release.pub")]
    words += ["--insecure", "--arch", "amd64", "-o", str(work / "out")]
    process = subprocess.Popen(words, cwd=ROOT)
    held = 0
    while held < 300 * 1000 * 1000 and process.poll() is None:
        parts = list(work.glob(".out.sprout-pull/sha256-*"))
        held = max((part.stat().st_size for part in parts if part.exists()), default=0)
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    held = max(part.stat().st_size for part in work.glob(".out.sprout-pull/sha256-*"))
    before = carried()
    seconds(*words)
    received = carried() - before
    print(f"killed with {held / 1e6:.1f} MB, the next pull received {received / 1e6:.1f} MB")


def carried() -> int:
    """Give the bytes that loopback has carried (proc(5), /proc/net/dev)."""
    found = re.search(r"^ *lo: *([0-9]+)", Path("/proc/net/dev").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def verify(work: Path, rounds: int) -> None:
    """Compare verifying 200 MB with hashing them."""
    (work / "disk").write_bytes(os.urandom(200 * 1000 * 1000))
    rows = (FileRow("disk.img", "disk", "application/vnd.test"),)
    definition = Definition("disk", "", "application/vnd.test.disk", {}, rows)
    pack(work / "layout", [definition], {"amd64": {"disk": work / "disk"}})
    sign = ("--key", work / "release", "--passphrase-file", work / "pass")
    seconds(*SPROUT, "sign", work / "layout", *sign)
    blobs = list((work / "layout/blobs/sha256").iterdir())
    ours = [
        seconds(*SPROUT, "verify", work / "layout", "--key", work / "release.pub")[0]
        for _ in range(rounds)
    ]
    theirs = [seconds("sha256sum", *blobs)[0] for _ in range(rounds)]
    rates = [200 / statistics.median(times) for times in (ours, theirs)]
    print(f"verify {rates[0]:.0f} MB/s, sha256sum {rates[1]:.0f} MB/s: {rates[0] / rates[1]:.0%}")


if __name__ == "__main__":
    main()
