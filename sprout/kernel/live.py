"""What a booted kernel really refuses, held against its configuration.

The program in `initramfs/audit` attempts acts and tells how each went. For every act it is known
which configuration refuses it: both have to agree.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from dataclasses import dataclass

from sprout.base.errors import SproutError
from sprout.kernel.rules import Configuration, keeps

_LINE = re.compile(r"sprout-audit: ([a-z0-9-]{1,40}) (allowed|unknown|refused ([0-9]{1,3}|fault))")
_END = "sprout-audit: end"
# Forced, it refuses root what changes the kernel; confidentiality refuses what reads it, too.
_INTEGRITY = "LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y | LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY=y"
_CONFIDENTIALITY = "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY=y"
_ALWAYS = "VERSION>=0.0"

# Act, and the configuration that refuses it, in the language of kernels/rules.toml.
ACTS = {
    "open-devmem": f"DEVMEM=n | {_INTEGRITY}",
    "open-devport": f"DEVPORT=n | {_INTEGRITY}",
    "open-snapshot": f"HIBERNATION_SNAPSHOT_DEV=n | {_INTEGRITY}",
    "open-msr": "X86_MSR=n",
    "open-cpuid": "X86_CPUID=n",
    "open-legacy-pty": "LEGACY_PTYS=n",
    "read-kcore": f"PROC_KCORE=n | {_CONFIDENTIALITY}",
    "read-vmcore": _ALWAYS,  # there is one after a crash alone
    "read-pagemap": "PROC_PAGE_MONITOR=n",
    "read-kallsyms": "KALLSYMS=n",
    "read-kernel-pointers": "KALLSYMS=n",  # and the patch vsprintf-hash-unnamed-symbols
    "write-command-line": _ALWAYS,
    "write-sysrq": "MAGIC_SYSRQ=n",
    "mount-debugfs": "DEBUG_FS=n",
    "mount-tracefs": "TRACING=n",
    "mount-binfmt-misc": "BINFMT_MISC=n",
    "kexec": f"KEXEC=n | {_INTEGRITY}",
    "kexec-file": f"KEXEC_FILE=n | {_INTEGRITY}",
    "load-module": "MODULES=n | MODULE_SIG_FORCE=y"
    " | MODULE_SIG=y & LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y"
    f" | MODULE_SIG=y & {_CONFIDENTIALITY}",
    "unprivileged-bpf": "BPF_SYSCALL=n | BPF_UNPRIV_DEFAULT_OFF=y",
    "unprivileged-user-namespace": "USER_NS=n",
    "unprivileged-kernel-log": "SECURITY_DMESG_RESTRICT=y",
    "attach-to-sibling": "SECURITY_YAMA=y",
    "type-into-terminal": "LEGACY_TIOCSTI=n & LEGACY_TIOCSTI=there | UNIX98_PTYS=n",
    "io-uring": "IO_URING=n",
    "userfaultfd": "USERFAULTFD=n",
    "modify-ldt": "MODIFY_LDT_SYSCALL=n",
    "io-ports": f"X86_IOPL_IOPERM=n | {_INTEGRITY}",
    "kcmp": "KCMP=n",
    "cachestat": "CACHESTAT_SYSCALL=n",
    "mptcp": "MPTCP=n",
    "sctp": "IP_SCTP=n",
    "dccp": "IP_DCCP=n",
    "tipc": "TIPC=n",
    "write-read-only-page": _ALWAYS,
    "force-read-only-page": "PROC_MEM_NO_FORCE=y | PROC_MEM_FORCE_PTRACE=y",
    "run-writable-page": _ALWAYS,
    "map-low-page": "DEFAULT_MMAP_MIN_ADDR=65536",
    "call-vsyscall": "X86_VSYSCALL_EMULATION=n | LEGACY_VSYSCALL_NONE=y",
    "enter-by-32-bits": "IA32_EMULATION=n",
    "break-seccomp": "SECCOMP=y",
    "dump-core": "COREDUMP=n",
}


@dataclass(frozen=True)
class Attempted:
    """An act: whether the kernel refused it, with what, and whether its configuration says so."""

    name: str
    refused: bool
    error: str
    configured: bool

    @property
    def agrees(self) -> bool:
        """Tell whether what happened is what the configuration says."""
        return self.refused == self.configured


def read_attempts(lines: Iterable[str], config: Configuration) -> list[Attempted]:
    """Read what the program told on a console of a kernel with that configuration.

    Raises SproutError when an act is missing, unknown, or could not be attempted.
    """
    told: dict[str, str] = {}
    ended = False
    for line in lines:
        at = line.find("sprout-audit: ")
        text = line[at:].strip() if at >= 0 else ""
        ended = ended or text == _END
        if match := _LINE.fullmatch(text):
            told[match[1]] = match[3] or match[2]
    if not ended:
        raise SproutError("the program that attempts acts did not end", "Boot it with --console.")
    if told.keys() != ACTS.keys():
        odd = sorted(told.keys() ^ ACTS.keys())
        raise SproutError(
            f"acts that were not told of, or are unknown: {', '.join(odd)}", "Report."
        )
    untried = sorted(name for name, outcome in told.items() if outcome == "unknown")
    if untried:
        raise SproutError(
            f"acts that could not be attempted: {', '.join(untried)}",
            "Report this with the kernel's configuration.",
        )
    return [
        Attempted(name, told[name] != "allowed", _error(told[name]), keeps(text, config))
        for name, text in ACTS.items()
    ]


def _error(outcome: str) -> str:
    if not outcome.isdigit():
        return "" if outcome == "allowed" else outcome
    return errno.errorcode.get(int(outcome), outcome)


def check_attempts(attempts: Iterable[Attempted], flavor: str) -> None:
    """Raise SproutError where what happened is not what the configuration says."""
    wrong = [row.name for row in attempts if not row.agrees]
    if wrong:
        raise SproutError(
            f"{flavor}: its configuration says otherwise of {', '.join(wrong)}",
            "What is configured is not in force, or more is than that: report it.",
        )
