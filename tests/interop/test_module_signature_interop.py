"""Module signatures: the same bytes as the kernel's own sign-file and as openssl's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from memory_signers import NOW, signer

from sprout.build.cache import cache_root
from sprout.signing import modules
from sprout.signing.trust import Trust
from sprout.signing.verify import verify_module

KEYS = {bits: signer(f"module {bits}", bits=bits) for bits in (2048, 3072)}


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real relocatable ELF file."""
    folder = tmp_path_factory.mktemp("module")
    (folder / "dummy.c").write_text("int dummy(void) { return 42; }\n")
    run("gcc", "-c", "-ffile-prefix-map=/=", "-o", folder / "dummy.ko", folder / "dummy.c")
    return folder / "dummy.ko"


@pytest.fixture(scope="module")
def sign_file(tmp_path_factory: pytest.TempPathFactory, zone_kernel: Path) -> Path:
    """The program that kbuild signs modules with, compiled from the kernel's sources."""
    assert zone_kernel.is_file()
    source = next((cache_root() / "sources").glob("*/tree/scripts/sign-file.c"))
    program = tmp_path_factory.mktemp("sign-file") / "sign-file"
    run("gcc", "-O1", f"-I{source.parent}", "-o", program, source, "-lcrypto")
    return program


@pytest.mark.parametrize("bits", KEYS)
def test_module_is_the_one_that_sign_file_makes(
    module: Path, sign_file: Path, tmp_path: Path, bits: int
) -> None:
    key, certificate = KEYS[bits].write(tmp_path, "module")
    target = tmp_path / "signed.ko"
    run(sign_file, "sha256", key, certificate, module, target)
    assert target.read_bytes() == modules.sign_module(module.read_bytes(), KEYS[bits], "dummy.ko")


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("words", [(), ("-k",)], ids=["serial", "key identifier"])
def test_what_sign_file_makes_verifies(
    module: Path, sign_file: Path, tmp_path: Path, digest: str, words: tuple[str, ...]
) -> None:
    own = KEYS[2048]
    key, certificate = own.write(tmp_path, "module")
    target = tmp_path / "signed.ko"
    run(sign_file, *words, digest, key, certificate, module, target)
    trust = Trust(modules=(own.certificate,))
    assert verify_module(target.read_bytes(), target, trust, at=NOW).accepted


@pytest.mark.parametrize("bits", KEYS)
def test_openssl_verifies_and_makes_the_same(module: Path, tmp_path: Path, bits: int) -> None:
    data = module.read_bytes()
    signed = modules.sign_module(data, KEYS[bits], "dummy.ko")
    message = signed[len(data) : -len(modules.MARKER) - 12]
    ours, theirs = tmp_path / "ours.p7s", tmp_path / "theirs.p7s"
    ours.write_bytes(message)
    key, certificate = KEYS[bits].write(tmp_path, "module")
    words = ["openssl", "cms", "-verify", "-inform", "DER", "-binary", "-noverify"]
    run(*words, "-in", ours, "-content", module, "-certfile", certificate, "-out", "/dev/null")
    words = ["openssl", "cms", "-sign", "-binary", "-noattr", "-nocerts", "-md", "sha256"]
    run(
        *words,
        "-signer",
        certificate,
        "-inkey",
        key,
        "-in",
        module,
        "-outform",
        "DER",
        "-out",
        theirs,
    )
    assert theirs.read_bytes() == message
