"""Makes PGP keys for tests."""

from __future__ import annotations

from pathlib import Path

from sprout.base.run import check


def new_key(home: Path, name: str, *options: str) -> str:
    """Make a signing key in the GnuPG directory `home` and give its fingerprint."""
    gpg: list[str | Path] = ["gpg", "--homedir", home, "--batch"]
    make = ["--passphrase", "", *options, "--quick-gen-key", f"{name} <{name}@example>"]
    check([*gpg, *make, "ed25519", "sign", "1y"], "gpg could not make a key")
    listing = check([*gpg, "--with-colons", "-k", f"{name}@example"], "gpg has no such key")
    lines = listing.decode().splitlines()
    return next(line.split(":")[9] for line in lines if line.startswith("fpr"))
