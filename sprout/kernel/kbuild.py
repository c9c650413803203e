"""Calls the kernel's own make: a fixed environment, nothing of the user's, and a log."""

from __future__ import annotations

import datetime
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.progress import Progress, say
from sprout.base.run import find_program, started

PROGRAMS: tuple[str, ...] = (
    *("make", "gcc", "ld", "as", "ar", "nm", "objcopy", "objdump", "readelf", "strip"),
    *("flex", "bison", "bc", "lz4", "patch", "tar", "xz"),
)

_UNUSED = ("RUSTC", "BINDGEN", "PAHOLE")
_KARCH = {"x86_64": ("x86_64", "x86")}
_COMPILED = re.compile(r"^\s+(?:CC|AS)\s")
_MEANS_TROUBLE = re.compile(
    r"error:|warning: .*-Werror|\*\*\*|undefined reference|No such file|No space left|fatal:|Killed"
)
_CONTEXT_LINES = 6
_UNFIT_FOR_MAKE = re.compile(r"[\s:%#$='\"]")


@dataclass(frozen=True)
class Kbuild:
    """One out-of-tree build: source tree, output directory, architecture and its fixed clock."""

    source: Path
    out: Path
    arch: str
    epoch: int
    log: Path

    @property
    def kconfig(self) -> str:
        """Give where Kconfig's own sources are in the source tree, and its objects in the build."""
        return "scripts/kconfig"

    @property
    def source_arch(self) -> str:
        """Give the name that the architecture's directory has in the source tree."""
        return _KARCH[self.arch][1]

    def environment(self) -> dict[str, str]:
        """Give the whole environment for make and for Kconfig's own programs.

        Names, time and locale are fixed so that the same input gives the same bytes
        (kernel Documentation/kbuild/reproducible-builds.rst).
        """
        moment = datetime.datetime.fromtimestamp(self.epoch, datetime.UTC)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C",
            "TZ": "UTC",
            "SOURCE_DATE_EPOCH": str(self.epoch),
            "KBUILD_BUILD_TIMESTAMP": moment.strftime("%Y-%m-%d %H:%M:%S UTC"),
            "KBUILD_BUILD_USER": "sprout",
            "KBUILD_BUILD_HOST": "sprout",
            "KBUILD_BUILD_VERSION": "1",
            # The preprocessor's own pass costs ccache as much as compiling does; the compiler's
            # list of dependencies says the same.
            "CCACHE_DEPEND": "1",
            "CCACHE_COMPILERCHECK": "content",
        }
        # ccache keeps its files below HOME, or where the user says.
        for name in ("HOME", "CCACHE_DIR", "TMPDIR", "XDG_CACHE_HOME"):
            if name in os.environ:
                environment[name] = os.environ[name]
        return environment

    def arguments(self, targets: Sequence[str], jobs: int = 1) -> list[str | Path]:
        """Give the command line of make for `targets`."""
        compiler = "ccache gcc" if shutil.which("ccache") else "gcc"
        return [
            find_program("make"),
            "--no-print-directory",
            "-C",
            self.source,
            f"O={self.out}",
            f"ARCH={_KARCH[self.arch][0]}",
            f"CC={compiler}",
            f"HOSTCC={compiler}",
            # Whether a machine has these stands in the configuration; no kernel of ours needs them.
            *(f"{name}=false" for name in _UNUSED),
            f"-j{jobs}",
            *targets,
        ]

    def make(self, label: str, targets: Sequence[str], *, jobs: int = 1, expected: int = 0) -> int:
        """Run make to its end with everything in the log; give the number of objects compiled.

        `expected` objects make a progress bar. Raises SproutError with the last relevant lines
        and the log's path when it fails.
        """
        compiled = 0
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with (
            self.log.open("ab") as log,
            started(self.arguments(targets, jobs), env=self.environment(), stderr=-2) as process,
            Progress(label, expected) as progress,
        ):
            assert process.stdout is not None  # noqa: S101 - a pipe by default
            for line in process.stdout:
                log.write(line)
                if _COMPILED.match(line.decode(errors="replace")):
                    compiled += 1
                    progress.advance()
            process.wait()
            log.flush()
            if process.returncode != 0:
                raise self.failure(label, process.returncode)
        return compiled

    def failure(self, label: str, status: int) -> SproutError:
        """Turn make's failure into an error: its first real complaint, and where the log is."""
        lines = self.log.read_text(errors="replace").splitlines()
        trouble = [index for index, line in enumerate(lines) if _MEANS_TROUBLE.search(line)]
        first = trouble[0] if trouble else max(len(lines) - 1, 0)
        for line in lines[first : first + _CONTEXT_LINES]:
            say(f"  | {line}")
        problem = lines[first].strip() if lines else f"make ended with status {status}"
        for directory in (self.source, self.out):
            problem = problem.replace(f"{directory}/", "")
        return SproutError(f"{label} failed: {problem}", f"The whole log is {self.log}.")

    def kconfig_environment(self) -> dict[str, str]:
        """Give the environment that a program linked with scripts/kconfig needs."""
        version = find_program("gcc")
        return {
            **self.environment(),
            "srctree": str(self.source),
            "ARCH": _KARCH[self.arch][0],
            "SRCARCH": self.source_arch,
            "KERNELVERSION": "",
            "CC": "gcc",
            "HOSTCC": "gcc",
            "LD": "ld",
            "AR": "ar",
            "NM": "nm",
            "OBJCOPY": "objcopy",
            "PAHOLE": "pahole",
            "RUSTC": "rustc",
            "BINDGEN": "bindgen",
            "CC_VERSION_TEXT": version.name,
        }


def refuse_unfit(root: Path) -> None:
    """Refuse a directory below which make cannot work; raises SproutError."""
    if _UNFIT_FOR_MAKE.search(str(root)):
        raise SproutError(
            f"{root}: make cannot work below a path with blanks or one of : % # $ = ' \"",
            "Set SPROUT_CACHE to another directory.",
        )


def job_count(jobs: int | None) -> int:
    """Give the number of parallel jobs: what was asked for, else the processors we may use."""
    return jobs if jobs else len(os.sched_getaffinity(0))
