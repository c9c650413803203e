"""For which versions of a source something is: PEP 440 specifiers, such as `>=6.12,<6.13`."""

from __future__ import annotations

from packaging.specifiers import InvalidSpecifier, SpecifierSet

Versions = SpecifierSet


def read_versions(text: str) -> Versions | None:
    """Read a constraint; None when it does not parse, or says nothing."""
    try:
        return SpecifierSet(text) if text.strip() else None
    except InvalidSpecifier:
        return None
