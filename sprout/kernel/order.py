"""What a kernel is built from, and how that is told to whoever receives it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import sha256_file
from sprout.base.run import check
from sprout.kernel.flavor import Flavor
from sprout.kernel.sources import Pin, Source


@dataclass(frozen=True)
class Order:
    """All that a kernel is built from; `pin` is None until the source is resolved."""

    flavor: Flavor
    source: Source
    pin: Pin | None
    epoch: int

    def locked(self) -> Pin:
        """Give the pin; raises SproutError where the source has not been resolved yet."""
        if self.pin is None:
            raise SproutError(f"{self.source.name}: is not locked yet", "Run `sprout build` again.")
        return self.pin


def describe(order: Order, release: str, config: Path) -> dict[str, object]:
    """Say what the artifact was really made from, for whoever receives it."""
    flavor, pin = order.flavor, order.locked()
    return {
        "arch": flavor.arch,
        "flavor": flavor.name,
        "version": pin.upstream,
        "release": release,
        "source": asdict(pin),
        "patches": [
            {
                "file": patch.file.name,
                "sha256": sha256_file(patch.file),
                "versions": str(patch.versions),
                "reason": patch.reason,
            }
            for patch in flavor.patches_for(pin.upstream)
        ],
        "waivers": [
            {"option": w.option, "reason": w.reason, "until": w.until.isoformat()}
            for w in flavor.waivers
        ],
        "config_sha256": hashlib.sha256(config.read_bytes()).hexdigest(),
        "toolchain": {name: _version(name) for name in ("gcc", "ld")},
    }


def _version(program: str) -> str:
    text = check([program, "--version"], f"Reinstall {program}.").decode(errors="replace")
    return text.splitlines()[0]


def write_metadata(target: Path, metadata: Mapping[str, object]) -> None:
    """Write `metadata.json` into the directory `target`."""
    (target / "metadata.json").write_text(json.dumps(metadata, indent=2, sort_keys=True) + "\n")
