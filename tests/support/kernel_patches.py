"""What the patches in kernels/patches bring, to be tried without a kernel around it."""

from __future__ import annotations

from pathlib import Path

_PATCHES = Path(__file__).resolve().parents[2] / "kernels" / "patches"


def brought_file(patch: str, path: str) -> str:
    """Give the text of the file `path` that `patch` adds to the kernel's source."""
    text = (_PATCHES / patch).read_text()
    start = text.index("@@ ", text.index(f"--- /dev/null\n+++ b/{path}\n"))
    added = text[start:].split("\n--- ")[0].splitlines()[1:]
    assert all(line.startswith("+") for line in added)
    return "".join(f"{line[1:]}\n" for line in added)
