"""Words of a command line that take back what a kernel is built with."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import ROOT

from sprout.base.errors import SproutError
from sprout.kernel.words import load_words, weakening

WORDS = load_words(ROOT)


@pytest.mark.parametrize(
    ("cmdline", "found"),
    [
        ("console=ttyS0 quiet pti=on", []),
        ("console=ttyS0 mitigations=off quiet", ["mitigations=off"]),
        ("mitigations=auto,nosmt", []),
        ("nokaslr no-hash-pointers", ["nokaslr", "no-hash-pointers"]),
        ('"mitigations=off"', ['"mitigations=off"']),
        ("init_on_alloc=no init-on-alloc=off", ["init_on_alloc=no", "init-on-alloc=off"]),
        ("init_on_alloc=1 init_on_alloc", []),
        ("ia32_emulation=true", ["ia32_emulation=true"]),
        ("ia32_emulation=0", []),
        ("clearcpuid=smap", ["clearcpuid=smap"]),
        ("quiet -- nokaslr", []),
        ("xnokaslr nokaslrx", []),
    ],
)
def test_words(cmdline: str, found: list[str]) -> None:
    assert weakening(cmdline, WORDS) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('reason = "r"\nforbidden = ["a b"]\n', "forbidden: 'a b' is no word"),
        ('reason = "r"\nforbidden = [""]\n', "forbidden: '' is no word"),
        ("forbidden = []\n", "reason: is missing"),
        ('reason = "r"\nforbidden = []\nmore = 1\n', "more"),
    ],
)
def test_malformed(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels/words.toml").write_text(text)
    with pytest.raises(SproutError, match=words):
        load_words(tmp_path)
