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
        ("quiet -- nospectre_v2", ["nospectre_v2"]),
        ('x="a -- b" nopti', ["nopti"]),
        ("nopti=1 norandmapsx slab_merge=1", ["nopti=1", "norandmapsx", "slab_merge=1"]),
        ("retbleed=nosmt,off retbleed=auto,nosmt", ["retbleed=nosmt,off"]),
        ("kvm.nx_huge_pages=never", ["kvm.nx_huge_pages=never"]),
        ("sysctl/kernel/panic_on_oops=0", ["sysctl/kernel/panic_on_oops=0"]),
        ("sysctl.kernel.panic_on_oops=1 sysctl.vm.swappiness=1", []),
        ("xnokaslr nokaslrx", []),
    ],
)
def test_words(cmdline: str, found: list[str]) -> None:
    assert weakening(cmdline, WORDS) == found


def test_every_word_of_the_list_is_found() -> None:
    assert len(WORDS.forbidden) == 67
    for word in WORDS.forbidden:
        assert weakening(f"quiet {word} ro", WORDS) == [word]


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("init_on_alloc", "n N no 0 f F false of off oF OFF"),
        ("ia32_emulation", "y Y yes 1 t T true on oN On ON"),
    ],
)
def test_whatever_the_kernel_reads_so(word: str, values: str) -> None:
    """As kstrtobool() does."""
    for value in values.split():
        assert weakening(f"{word}={value}", WORDS) == [f"{word}={value}"]


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
