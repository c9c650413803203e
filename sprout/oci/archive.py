"""Writes an image layout as one tar archive, the same bytes for the same layout."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import staged_file

# What a header of the ustar format can say (POSIX.1-1988): eleven octal digits.
_MAX_MEMBER_BYTES = 8**11 - 1


def write_archive(layout: Path, target: Path) -> None:
    """Write the layout in the directory `layout` to the file `target`, in one step.

    Raises SproutError when a blob is too long for the format, or the file cannot be written.
    """
    paths = sorted(path for path in layout.rglob("*") if path.is_file() or path.is_dir())
    with staged_file(target) as staging, staging.open("wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for path in paths:
                _add(archive, path, str(path.relative_to(layout)))
        file.flush()
        os.fsync(file.fileno())


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    info = tarfile.TarInfo(name)
    if path.is_dir():
        # Where one is missing, skopeo makes it for the user 0, which only that one may.
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(info)
        return
    info.size, info.mode = path.stat().st_size, 0o644
    if info.size > _MAX_MEMBER_BYTES:
        raise SproutError(
            f"{path}: {info.size:,} bytes are too many for a tar archive",
            "Carry the directory instead.",
        )
    with path.open("rb") as stream:
        archive.addfile(info, stream)
