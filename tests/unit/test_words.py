"""Words of a command line that take back what a kernel is built with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from commands import ROOT

from sprout.base.errors import SproutError
from sprout.kernel.words import load_words, weakening, weakening_host

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
    assert weakening(cmdline, WORDS.linux) == found


@pytest.mark.parametrize(
    ("cmdline", "found"),
    [
        ("console=com1 com1=115200,8n1 vga=current wallclock=efi", []),
        ("spec-ctrl=no", ["spec-ctrl=no"]),
        ("spec-ctrl=no-xen spec-ctrl=ibrs,pv=0", ["spec-ctrl=no-xen", "spec-ctrl=ibrs,pv=0"]),
        ("spec-ctrl=rsb=no-hvm no-spec-ctrl", ["spec-ctrl=rsb=no-hvm", "no-spec-ctrl"]),
        ("spec-ctrl=gds-mit,ssbd=yes,bti-thunk=lfence,bhb-seq=long", []),
        ("spec-ctrl=ssbd,bti-thunk=jmp", ["spec-ctrl=ssbd,bti-thunk=jmp"]),
        ("no-smep smap=hvm smap=1 smep", ["no-smep", "smap=hvm"]),
        ("xpti=dom0=false xpti=default xpti=off", ["xpti=dom0=false", "xpti=off"]),
        ("no-hvm_fep=no hvm_fep no-hvm_fep", ["no-hvm_fep=no", "hvm_fep"]),
        ("iommu=no-igfx,verbose iommu=verbose,no-intremap", ["iommu=verbose,no-intremap"]),
        ("cpuid=rdrand cpuid=no-md-clear", ["cpuid=no-md-clear"]),
        ("gdb=com1 dom0=pvh,msr-relaxed dom0=pvh", ["gdb=com1", "dom0=pvh,msr-relaxed"]),
        ("nokaslr -- quiet nokaslr smep=0", ["nokaslr"]),
    ],
)
def test_words_of_a_hypervisor(cmdline: str, found: list[str]) -> None:
    assert weakening_host(cmdline, WORDS) == found


def test_every_word_of_the_lists_is_found() -> None:
    assert (len(WORDS.linux.forbidden), len(WORDS.hypervisor.forbidden)) == (67, 31)
    for words in (WORDS.linux, WORDS.hypervisor):
        for word in words.forbidden:
            written = word.replace(".*=0", "=no-x")
            if words is WORDS.hypervisor and "." in written:
                written = written.replace(".", "=", 1)
            assert weakening(f"quiet {written} ro", words) == [written]


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
        assert weakening(f"{word}={value}", WORDS.linux) == [f"{word}={value}"]


@pytest.mark.parametrize(
    ("linux", "words"),
    [
        ('reason = "r"\nforbidden = ["a b"]', "linux.forbidden: 'a b' is no word"),
        ('reason = "r"\nforbidden = [""]', "linux.forbidden: '' is no word"),
        ("forbidden = []", "linux.reason: is missing"),
        ('reason = "r"\nforbidden = []\nmore = 1', "linux.more"),
    ],
)
def test_malformed(tmp_path: Path, linux: str, words: str) -> None:
    (tmp_path / "kernels").mkdir()
    file = tmp_path / "kernels/words.toml"
    file.write_text(f'[linux]\n{linux}\n[hypervisor]\nreason = "r"\nforbidden = []\n')
    with pytest.raises(SproutError, match=words):
        load_words(tmp_path)


def test_a_list_of_nobody(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "kernels", tmp_path / "kernels")
    with (tmp_path / "kernels/words.toml").open("a") as file:
        file.write('[firmware]\nreason = "r"\nforbidden = []\n')
    with pytest.raises(SproutError, match="firmware"):
        load_words(tmp_path)
