"""Patches onto a source tree: version constraints, and no fuzz."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import sha256_file, staged_directory
from sprout.base.lock import held
from sprout.base.run import check, run
from sprout.kernel.versions import Versions


@dataclass(frozen=True)
class Patch:
    """A patch file, the versions of the source that it is for, and why."""

    file: Path
    versions: Versions
    reason: str

    def applies_to(self, version: str) -> bool:
        """Tell whether this patch is for that upstream version."""
        return self.versions.contains(version)


def patched_tree(source: Path, patches: list[Patch]) -> Path:
    """Give a tree with `patches` applied in order; the unpacked tree itself stays as it is.

    The patched tree shares unchanged files with it by hard links (patch(1) replaces a file, it
    does not write into it), so it costs inodes and no bytes. Raises SproutError naming the patch
    and the file it failed on; nothing is left behind then.
    """
    if not patches:
        return source
    digests = "".join(sha256_file(patch.file) for patch in patches)
    target = source.parent / f"patched-{hashlib.sha256(digests.encode()).hexdigest()[:32]}"
    if target.is_dir():
        return target
    waiting = f"{target.name}: another build is patching it: waiting for it"
    with held(source.parent.parent / "locks" / f"{source.parent.name}-{target.name}", waiting):
        if not target.is_dir():
            _patch(source, target, patches)
    return target


def _patch(source: Path, target: Path, patches: list[Patch]) -> None:
    with staged_directory(target) as staging:
        check(["cp", "-al", f"{source}/.", str(staging)], "Free some space and run it again.")
        for patch in patches:
            apply_strictly(staging, patch.file)


def apply_strictly(tree: Path, patch: Path) -> None:
    """Apply one patch file to a tree, without fuzz.

    Raises SproutError naming the patch and the file it failed on.
    """
    output = run(
        ["patch", "-p1", "--fuzz=0", "--forward", "--batch", "--no-backup-if-mismatch"]
        + ["--reject-file=-", "-d", str(tree), "-i", str(patch.resolve())]
    )
    text = output.stdout.decode(errors="replace")
    files = re.findall(r"^(?:checking|patching) file (.*)$", text, re.MULTILINE)
    if output.status == 0 and not files:
        raise SproutError(f"{patch}: changes no file", "Put a unified diff in it.")
    if output.status != 0:
        failed = re.findall(r"^(Hunk #[0-9]+ FAILED at [0-9]+)", text, re.MULTILINE)
        problem = failed[0] if failed else output.last_line()
        where = f" on {files[-1]}" if files else ""
        raise SproutError(
            f"{patch}: does not apply{where}: {problem}",
            "Refresh the patch for this version, or narrow its `versions`.",
        )
