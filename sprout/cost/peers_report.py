"""The comparison with peers for a reader: tables for a terminal and for Markdown, and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict

from sprout.cost.peers_result import DECOMPRESSION, FIRMWARE, INIT, KERNEL, LOADER, Peers, Row


def size_text(size: int) -> str:
    """Give a size in bytes as its megabytes where they are whole ones."""
    return f"{size // 1_000_000} MB" if size % 1_000_000 == 0 else f"{size:,} bytes"


def million(count: int | None) -> str:
    """Give instructions in millions."""
    return "-" if count is None else f"{count / 1e6:,.1f}"


def wait_ms(row: Row) -> str:
    """Give what a boot waited, in virtual ms."""
    return f"{row.wait_ns() / 1e6:,.1f}"


def groups(rows: Sequence[Row]) -> list[tuple[int, list[Row]]]:
    """Give the rows of each size, the sizes as they come."""
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(row.size, []).append(row)
    return list(found.items())


def per_byte(rows: Sequence[Row]) -> list[tuple[str, float, float]]:
    """Give, of each loader, instructions for a further byte of initrd: to the kernel, in all.

    It is what the largest size takes more than the smallest one; nothing where there is one size.
    """
    found = []
    for name in dict.fromkeys(row.name for row in rows):
        mine = sorted((row for row in rows if row.name == name), key=lambda row: row.size)
        least, most = mine[0], mine[-1]
        if most.size > least.size:
            more = most.size - least.size
            before = most.before(KERNEL) - least.before(KERNEL)
            found.append((name, before / more, (most.total() - least.total()) / more))
    return found


_Columns = Sequence[tuple[str, int, Callable[[Row], str]]]


def _phase(name: str) -> Callable[[Row], str]:
    return lambda row: million(row.phase(name))


def _total(index: int) -> Callable[[Row], str]:
    return lambda row: million(row.totals()[index])


_LOADER_COLUMNS: _Columns = (
    ("firmware", 8, _phase(FIRMWARE)),
    ("loader", 8, _phase(LOADER)),
    ("unpack", 8, _phase(DECOMPRESSION)),
    ("kernel", 8, _phase(KERNEL)),
    ("total", 9, lambda row: million(row.total())),
    ("least", 9, _total(0)),
    ("most", 9, _total(-1)),
    ("wait ms", 8, wait_ms),
)
_KERNEL_COLUMNS: _Columns = (
    ("bytes", 11, lambda row: f"{row.size:,}"),
    ("firmware", 9, _phase(FIRMWARE)),
    ("unpack", 8, _phase(DECOMPRESSION)),
    ("kernel", 9, _phase(KERNEL)),
    ("to /init", 9, lambda row: million(row.before(INIT))),
    ("init", 6, _phase(INIT)),
    ("wait ms", 9, wait_ms),
)


def table(peers: Peers) -> str:
    """Give the comparison for a terminal, at most 80 columns wide, ending with a newline."""
    lines = [" · ".join(text for what, text in peers.machine if what in _TITLE)]
    lines.append("million instructions, executed under deterministic emulation")
    boots = max((len(row.boots) for row in peers.loaders), default=0)
    if peers.loaders:
        lines += ["", f"loaders: one kernel and initrd from a disk, {_times(boots)}"]
    for size, rows in groups(peers.loaders):
        lines += [*_lines(f"{size_text(size)} initrd", 13, _LOADER_COLUMNS, rows), ""]
    slopes = per_byte(peers.loaders)
    if slopes:
        lines.append("instructions for a further byte of initrd, to the kernel and in all")
        lines += [f"{name:<13}{before:>8.2f}{whole:>8.2f}" for name, before, whole in slopes]
    if peers.kernels:
        lines += ["", "kernels: handed over by QEMU's BIOS, without a disk, exact"]
        lines += _lines("", 19, _KERNEL_COLUMNS, peers.kernels)
    return "\n".join(lines).rstrip("\n") + "\n"


_TITLE = ("emulator", "machine", "memory")


def _times(count: int) -> str:
    return "1 boot" if count == 1 else f"median of {count} boots"


def _lines(head: str, width: int, columns: _Columns, rows: Sequence[Row]) -> list[str]:
    lines = [f"{head:<{width}}" + "".join(f"{name:>{room}}" for name, room, _ in columns)]
    for row in rows:
        cells = "".join(f"{give(row):>{room}}" for _, room, give in columns)
        lines.append(f"{row.name:<{width}}{cells}")
    return lines


def to_json(peers: Peers) -> str:
    """Give everything that was counted, each boot by itself, as JSON ending with a newline."""

    def rows_of(rows: Sequence[Row], size: str) -> list[dict[str, object]]:
        return [
            {
                "name": row.name,
                size: row.size,
                "boots": [{"phases": [asdict(phase) for phase in boot]} for boot in row.boots],
            }
            for row in rows
        ]

    value = {
        "machine": dict(peers.machine),
        "loaders": rows_of(peers.loaders, "initrd_bytes"),
        "kernels": rows_of(peers.kernels, "kernel_bytes"),
        "versions": {recipe.name: recipe.version for recipe in peers.recipes},
    }
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Give the lines of a Markdown table: the first column to the left, the others to the right."""
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def loader_table(rows: Sequence[Row]) -> list[str]:
    """Give the Markdown table of the loaders at one size."""
    # Here is room for init, and for the range in one column.
    columns = [*_LOADER_COLUMNS[:4], ("init", 0, _phase(INIT)), _LOADER_COLUMNS[4]]
    head = ["", *(name for name, _, _ in columns), "least to most", "waits, ms"]
    cells = [
        [
            row.name,
            *(give(row) for _, _, give in columns),
            f"{million(row.totals()[0])} to {million(row.totals()[-1])}",
            wait_ms(row),
        ]
        for row in rows
    ]
    return markdown_table(head, cells)


def byte_table(rows: Sequence[Row]) -> list[str]:
    """Give the Markdown table of what a further byte of initrd costs."""
    cells = [[name, f"{before:.2f}", f"{whole:.2f}"] for name, before, whole in per_byte(rows)]
    return markdown_table(["", "to the kernel", "in all"], cells)


def kernel_table(rows: Sequence[Row]) -> list[str]:
    """Give the Markdown table of the kernels."""
    head = ["", *(name for name, _, _ in _KERNEL_COLUMNS[:-1]), "waits, ms"]
    cells = [[row.name, *(give(row) for _, _, give in _KERNEL_COLUMNS)] for row in rows]
    return markdown_table(head, cells)
