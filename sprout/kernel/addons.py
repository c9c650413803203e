"""A kernel's modules as a file system: `addons.squashfs`, which a zone mounts.

The modules lie in `lib/modules/RELEASE/`, with the lists that kmod's depmod makes of them. The link
`modules` leads there: by that name consumers of linux-kernel-oci look for them.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded, scratch_prefix
from sprout.base.run import check
from sprout.kernel.compiled import BUILT_IN
from sprout.kernel.modules import read_modules

OUTPUTS = ("addons.squashfs",)
PROGRAMS = ("depmod", "mksquashfs")
_MAX_METADATA_BYTES = 1 << 20
_MAX_LIST_BYTES = 16 << 20
_HINT = "Build the kernel again."


def make_addons(kernel: Path, target: Path, *, epoch: int) -> None:
    """Write the file system of the modules in `kernel`, the directory that a kernel's step made.

    The same modules give the same bytes; `epoch` is the time of everything in it, in seconds.
    Raises SproutError when a part is missing or damaged, or a program fails.
    """
    metadata = json.loads(read_bounded(kernel / "metadata.json", _MAX_METADATA_BYTES))
    release = str(metadata["release"])
    if "/" in release or release in ("", ".", ".."):
        raise SproutError(f"{kernel}/metadata.json: release: is no name", _HINT)
    modules = read_modules(kernel / "modules.tar")
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("addons"), dir=target.parent) as name:
        work = Path(name)
        root, settings = work / "root", work / "settings"
        settings.mkdir()
        below = root / "lib/modules" / release
        below.mkdir(parents=True)
        for module, data in modules.items():
            (below / f"{module}.ko").write_bytes(data)
        (below / "modules.order").write_text("".join(f"{module}.ko\n" for module in modules))
        for file in BUILT_IN:
            (below / file).write_bytes(read_bounded(kernel / file, _MAX_LIST_BYTES))
        # An empty directory of settings, in place of this machine's.
        check(["depmod", "--config", settings, "--basedir", root, release], "Reinstall kmod.")
        (root / "modules").symlink_to(f"lib/modules/{release}")
        _make_readable(root)
        _squash(root, target, epoch)


def _make_readable(root: Path) -> None:
    """Give everything its usual mode, whatever this process's umask is."""
    for top, _folders, files in os.walk(root):
        Path(top).chmod(0o755)
        for file in files:
            (Path(top) / file).chmod(0o644)


def _squash(root: Path, target: Path, epoch: int) -> None:
    # The kernels here read zstd (kernels/fragments/filesystems.config).
    words = ["-comp", "zstd", "-noappend", "-no-progress", "-quiet", "-all-root", "-no-xattrs"]
    words += ["-mkfs-time", str(epoch), "-all-time", str(epoch), "-processors", "1"]
    # It refuses to be told the time twice.
    environment = {key: text for key, text in os.environ.items() if key != "SOURCE_DATE_EPOCH"}
    check(["mksquashfs", root, target, *words], "Reinstall squashfs-tools.", env=environment)
