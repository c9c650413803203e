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
    names = sorted(path.relative_to(layout) for path in layout.rglob("*") if path.is_file())
    with staged_file(target) as staging, staging.open("wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name in names:
                info = tarfile.TarInfo(str(name))
                info.size = (layout / name).stat().st_size
                info.mode = 0o644
                if info.size > _MAX_MEMBER_BYTES:
                    raise SproutError(
                        f"{layout / name}: {info.size:,} bytes are too many for a tar archive",
                        "Carry the directory instead.",
                    )
                with (layout / name).open("rb") as stream:
                    archive.addfile(info, stream)
        file.flush()
        os.fsync(file.fileno())
