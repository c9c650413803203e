"""Compiles the plugin that counts a boot (sprout/vm/counter) for each level of QEMU's interface.

A plugin of ours, because QEMU's own examples are not packaged, count no calling contexts and know
no waits; QEMU's exported instruction clock is the one thing it uses besides the plugin interface.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from sprout.base.files import staged_file
from sprout.base.run import check

PROGRAMS = ("clang",)
LEVELS = (1, 2, 3)

_TIMEOUT_S = 120.0
_HINT = "Run ./sprout.sh, which installs clang; if it persists, report the line above."
_COMPILE = (
    *("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden"),
    *("-fstack-protector-strong", "-ffile-prefix-map=.=counter", "-Wl,--build-id=none", "-s"),
)


def plugin_sources() -> list[Path]:
    """Give every file that the plugin is made of, sorted, headers included."""
    return sorted((Path(__file__).parent / "counter").glob("*.[ch]"))


def plugin_name(level: int) -> str:
    """Give the file name of the plugin for one level of the interface."""
    return f"counter-{level}.so"


def level_for(version: tuple[int, int, int]) -> int:
    """Give the level that a QEMU version takes (see counter/api.h)."""
    if version < (9, 0, 0):
        return 1
    return 2 if version < (9, 1, 0) else 3


def build_plugin(target: Path, level: int) -> None:
    """Compile the plugin for one level of the interface into the shared object `target`.

    Raises SproutError when the compiler is missing or fails.
    """
    sources = [path for path in plugin_sources() if path.suffix == ".c"]
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    with staged_file(target) as staging, tempfile.TemporaryDirectory(prefix="sprout-") as work:
        output = Path(work) / "counter.so"
        names = [path.name for path in sources]
        options = (*_COMPILE, f"-DCOUNTER_API={level}", "-o", str(output))
        command = ["clang", *options, *names]
        check(command, _HINT, cwd=sources[0].parent, env=env, timeout=_TIMEOUT_S)
        staging.write_bytes(output.read_bytes())
