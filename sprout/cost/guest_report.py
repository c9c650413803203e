"""The micro-benchmarks of kernels for a reader: tables for a terminal, and JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from sprout.cost.guest import MOST_MEAN, SYSCALL, Measured, unlike
from sprout.cost.guest_lines import BENCHES

_WIDTH = 80
_NAME = 18
_CELL = 11


def guest_table(ours: Measured, peer: Measured, cpu: str) -> str:
    """Give what each thing takes on both kernels, at most 80 columns wide."""
    lines = [
        "instructions for doing each once, executed under deterministic emulation",
        f"ours: {ours.kernel.name}, {ours.kernel.version}",
        f"Debian: {peer.kernel.version}",
        f"CPU {cpu}",
        "",
        f"{'':<{_NAME}}{'Debian':>{_CELL}}{'ours':>{_CELL}}{'ratio':>{_CELL}}",
    ]
    for bench in BENCHES:
        each = (found.guest.figures[bench].each() for found in (peer, ours))
        cells = "".join(f"{figure:>{_CELL},.1f}" for figure in each)
        wanted = "   wanted: below 1" if bench == SYSCALL else ""
        lines.append(f"{bench:<{_NAME}}{cells}{ours.ratio(peer, bench):>{_CELL}.3f}{wanted}")
    room = _NAME + 2 * _CELL
    lines.append(
        f"{'geometric mean':<{room}}{ours.mean(peer):>{_CELL}.3f}   wanted: at most {MOST_MEAN}"
    )
    lines += ["", *_defences(ours, peer)]
    return "\n".join(lines) + "\n"


def _defences(ours: Measured, peer: Measured) -> list[str]:
    names = unlike(ours, peer)
    count = len({*ours.guest.vulnerabilities, *peer.guest.vulnerabilities})
    if not names:
        return [f"vulnerabilities: both kernels say the same of all {count}"]
    lines = [f"vulnerabilities: of {count} the kernels say otherwise of {len(names)}"]
    for name in names:
        for who, found in (("Debian", peer), ("ours", ours)):
            text = f"  {name}, {who}: {found.guest.vulnerabilities.get(name, 'no such file')}"
            lines += textwrap.wrap(text, _WIDTH, subsequent_indent="    ")
    return lines


def variants_table(ours: Measured, variants: Sequence[Measured]) -> str:
    """Give how much more ours takes than each variant of it, in percent, ending with a newline."""
    lines = [
        "",
        "what the options cost: by how many percent ours takes more than it would with",
        f"{'':<6}" + "".join(f"{bench:>{_CELL}}" for bench in BENCHES) + f"{'mean':>8}",
    ]
    for variant in variants:
        cells = "".join(f"{_percent(ours.ratio(variant, b)):>{_CELL}}" for b in BENCHES)
        lines += textwrap.wrap(variant.kernel.name, _WIDTH)
        lines.append(f"{'':<6}{cells}{_percent(ours.mean(variant)):>8}")
    return "\n".join(lines) + "\n"


def _percent(ratio: float) -> str:
    return f"{(ratio - 1) * 100:+.1f}"


def guest_json(ours: Measured, peer: Measured, variants: Sequence[Measured], cpu: str) -> str:
    """Give everything that was measured, as JSON ending with a newline."""
    value = {
        "cpu": cpu,
        "ours": _facts(ours),
        "peer": _facts(peer),
        "ratios": {bench: ours.ratio(peer, bench) for bench in BENCHES},
        "geometric_mean": ours.mean(peer),
        "vulnerabilities_unlike": unlike(ours, peer),
        "variants": [_facts(variant) for variant in variants],
    }
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _facts(found: Measured) -> dict[str, object]:
    return {
        "name": found.kernel.name,
        "version": found.kernel.version,
        "figures": {bench: vars(figure) for bench, figure in found.guest.figures.items()},
        "vulnerabilities": found.guest.vulnerabilities,
    }
