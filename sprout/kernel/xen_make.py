"""Calls Xen's own make: as Linux's, with Xen's names for what has to be fixed."""

from __future__ import annotations

import datetime
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.base.run import find_program
from sprout.kernel.kbuild import Kbuild

_KARCH = {"x86_64": ("x86_64", "x86")}
_DISTRIBUTION = "Debian"


@dataclass(frozen=True)
class XenMake(Kbuild):
    """One build of Xen's own parts; `label` is what Debian's patches print as their version.

    `source` is the directory that make is called in, below the top of Xen's tree.
    """

    label: str = ""

    @property
    def kconfig(self) -> str:
        """Give where Kconfig's own sources are in the source tree, and its objects in the build."""
        return "tools/kconfig"

    def environment(self) -> dict[str, str]:
        """Give the whole environment for make and for Kconfig's own programs.

        Xen writes the builder's name, host and domain and the time into the hypervisor, unless
        they are set (xen/Makefile).
        """
        moment = datetime.datetime.fromtimestamp(self.epoch, datetime.UTC)
        common = super().environment()
        return {
            **{name: text for name, text in common.items() if not name.startswith("KBUILD_")},
            "PATH": f"{self._answers()}:{common['PATH']}",
            "XEN_BUILD_DATE": moment.strftime("%Y-%m-%d"),
            "XEN_BUILD_TIME": moment.strftime("%H:%M:%S UTC"),
            "XEN_BUILD_HOST": "sprout",
            "XEN_DOMAIN": "sprout",
            "XEN_WHOAMI": "sprout",
            "DEB_VERSION": self.label,
        }

    def _answers(self) -> Path:
        """Give a directory of programs that say the same on every machine.

        Debian's patch asks lsb_release whose Xen this is; it may be there or not.
        """
        directory = self.out / ".answers"
        program = directory / "lsb_release"
        if not program.exists():
            directory.mkdir(parents=True, exist_ok=True)
            program.write_text(f"#!/bin/sh\necho {_DISTRIBUTION}\n")
            program.chmod(0o755)
        return directory

    def arguments(self, targets: Sequence[str], jobs: int = 1) -> list[str | Path]:
        """Give the command line of make for `targets`."""
        compiler = "ccache gcc" if shutil.which("ccache") else "gcc"
        # Assertions carry file names: where the tree and the build are must not be in them. One
        # file includes itself by its name, which has to be found under the short one as well.
        plain = f"-ffile-prefix-map={self.source}/= -ffile-prefix-map={self.out}/="
        plain += f" -idirafter {self.source}"
        return [
            find_program("make"),
            "--no-print-directory",
            "-C",
            self.source,
            f"O={self.out}",
            f"XEN_TARGET_ARCH={_KARCH[self.arch][0]}",
            f"XEN_COMPILE_ARCH={_KARCH[self.arch][0]}",
            f"CC={compiler}",
            f"HOSTCC={compiler}",
            f"EXTRA_CFLAGS_XEN_CORE={plain}",
            f"-j{jobs}",
            *targets,
        ]

    def kconfig_environment(self) -> dict[str, str]:
        """Give the environment that a program linked with tools/kconfig needs."""
        return {
            **super().kconfig_environment(),
            "ARCH": _KARCH[self.arch][0],
            "SRCARCH": _KARCH[self.arch][1],
            "XEN_FULLVERSION": "",
            "XEN_HAS_CHECKPOLICY": "n",
            "XEN_HAS_BUILD_ID": "y",
            "PYTHON": "python3",
        }


def interface_versions(headers: Path) -> dict[str, int]:
    """Give the versions of the hypervisor's interfaces to its tools, from the public headers.

    Tools that were built for another domctl or sysctl version are refused by the hypervisor
    (Xen public/domctl.h). Raises SproutError when a header does not say.
    """
    found = {}
    for name in ("domctl", "sysctl"):
        text = read_bounded(headers / f"{name}.h", 1 << 20).decode(errors="replace")
        macro = rf"^#define XEN_{name.upper()}_INTERFACE_VERSION\s+(0x[0-9a-fA-F]+)"
        says = re.search(macro, text, re.MULTILINE)
        if says is None:
            raise SproutError(f"{name}.h: says no interface version", "Report this Xen version.")
        found[name] = int(says[1], 16)
    return found
