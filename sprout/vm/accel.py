"""Chooses the accelerator: a /dev/kvm that opens proves nothing, a boot under it does."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from sprout.base.errors import SproutError, UsageError
from sprout.base.files import read_bounded, write_file
from sprout.base.progress import say
from sprout.vm.console import Console, failure
from sprout.vm.probe import LINE, SOURCE, make_probe_disk
from sprout.vm.qemu import Machine, Qemu
from sprout.vm.session import End, Run, Verdict, run_machine

CHOICES = ("auto", "kvm", "tcg")
PROBE_S = 10.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_DEVICE = Path("/dev/kvm")
_MAX_ANSWER_BYTES = 64 << 10


@dataclass(frozen=True)
class Kvm:
    """Whether KVM works on this host for one QEMU and firmware, and why not."""

    works: bool
    reason: str


def choose(wanted: str, qemu: Qemu, machine: Machine, *, cache: Path | None = None) -> str:
    """Give "kvm" or "tcg" for `wanted`, one of CHOICES.

    "auto" boots a tiny application under KVM and takes TCG, saying so, where that fails. The
    answer is kept in the directory `cache` until the host is started again or QEMU or the
    firmware change. Raises SproutError when KVM is asked for and does not work.
    """
    if wanted not in CHOICES:
        raise UsageError(
            f"--accel {wanted}: no such choice", f"Choose one of {', '.join(CHOICES)}."
        )
    if wanted == "tcg":
        return "tcg"
    kvm = kvm_state(qemu, machine, cache=cache, again=wanted == "kvm")
    if kvm.works:
        return "kvm"
    if wanted == "kvm":
        raise SproutError(
            f"--accel kvm: KVM does not work on this host: {kvm.reason}",
            "Use --accel auto or --accel tcg.",
        )
    say(f"accelerator: TCG, because KVM does not work on this host: {kvm.reason}")
    return "tcg"


def kvm_state(
    qemu: Qemu, machine: Machine, *, cache: Path | None = None, again: bool = False
) -> Kvm:
    """Give whether `machine`'s firmware boots under KVM, from `cache` where that is known.

    `again` tries once more where the answer was no: a busy host, or a module loaded since.
    """
    if platform.machine() != machine.arch:
        return Kvm(False, f"it is {platform.machine()}, not {machine.arch}")
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return Kvm(False, f"{_DEVICE}: {error.strerror}")
    directory = cache if cache is not None else default_cache()
    if directory is None:
        return _probe(qemu, machine)
    # Two firmwares that are used in turn must not displace each other's answer.
    answer = directory / f"kvm-{machine.arch}-{machine.firmware.executable.stem}.json"
    key = _key(qemu, machine)
    known = _recall(answer, key)
    if known is None or (again and not known.works):
        known = _probe(qemu, machine)
        _remember(answer, key, known)
    return known


def default_cache() -> Path | None:
    """Give where answers are kept (XDG base directories), or None for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "sprout/accel"
    home = os.environ.get("HOME", "")
    return Path(home) / ".cache/sprout/accel" if home.startswith("/") else None


def tiny_boot(qemu: Qemu, machine: Machine, timeout_s: float) -> Run:
    """Boot the probe instead of `machine`'s disk; its run ends with End.REACHED where all is well.

    The same firmware, machine type and CPU are tried, because hosts are known where one CPU model
    works and another does not.
    """

    def judge(line: str, _seconds: float) -> Verdict | None:
        if line.endswith(LINE):
            return Verdict(End.REACHED)
        why = failure(line)
        return Verdict(End.FAILED, why) if why is not None else None

    with tempfile.TemporaryDirectory(prefix="sprout-") as directory:
        tiny = replace(machine, disk=make_probe_disk(Path(directory)), cpus=1)
        return run_machine(qemu, tiny, console=Console(), judge=judge, timeout_s=timeout_s)


def _probe(qemu: Qemu, machine: Machine) -> Kvm:
    run = tiny_boot(qemu, replace(machine, accelerator="kvm"), PROBE_S)
    return Kvm(run.end is End.REACHED, _reason(run))


def _reason(run: Run) -> str:
    if run.end is End.REACHED:
        return ""
    if run.end is End.TIMED_OUT:
        return f"a tiny boot did not end within {PROBE_S:.0f} s"
    # QEMU's own "error:" would read as if this boot had failed.
    why = run.text.replace("error: ", "")
    return f"a tiny boot failed: {run.end.value}: {why}".rstrip(": ")


def _key(qemu: Qemu, machine: Machine) -> str:
    """Name all that the answer depends on; the boot id stands for the host's kernel and setup."""
    boot_id = read_bounded(_BOOT_ID, 64).decode().strip()
    parts = (
        *(boot_id, str(qemu.program), qemu.version_text(), machine.firmware.sha256()),
        *(machine.machine_type, machine.cpu, str(machine.memory_mib)),
        hashlib.sha256(SOURCE.read_bytes()).hexdigest(),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _recall(answer: Path, key: str) -> Kvm | None:
    """Give the answer kept under `key`; one that cannot be read is asked for again."""
    try:
        kept = json.loads(read_bounded(answer, _MAX_ANSWER_BYTES))
        works, reason = kept["works"], kept["reason"]
        fits = kept["key"] == key and isinstance(works, bool) and isinstance(reason, str)
    except (SproutError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return Kvm(works, reason) if fits else None


def _remember(answer: Path, key: str, kvm: Kvm) -> None:
    text = json.dumps({"key": key, "works": kvm.works, "reason": kvm.reason}, indent=1)
    try:
        write_file(answer, text.encode() + b"\n")
    except SproutError as error:  # a convenience lost: the next boot asks again
        say(f"accelerator: the answer is not kept: {error.message}")
