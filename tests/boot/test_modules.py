"""Modules in a booted guest: only what the certificate in the kernel vouches for is loaded."""

from __future__ import annotations

import errno
import gzip
import json
import re
import shutil
import stat
import struct
import zlib
from pathlib import Path

import pytest
from commands import ROOT, command
from cryptography.hazmat.primitives.serialization import Encoding
from memory_signers import MemorySigner, signer

from sprout.base.run import check, run
from sprout.build.cache import cache_root
from sprout.initramfs.compile import compile_program
from sprout.initramfs.cpio import Entry, write_cpio
from sprout.kernel.modules import read_modules
from sprout.kernel.reserve import find_room, insert_certificate
from sprout.oci.layout import open_layout
from sprout.oci.model import TITLE, Index, Manifest
from sprout.signing.modules import MARKER, sign_module

_GUEST = Path(__file__).parent / "modules_guest" / "init.c"
_ADDONS = Path(__file__).parent / "addons_guest" / "init.c"
_HELLO = Path(__file__).parent / "hello_module"
_BOOT_S = 90.0
_IMAGES = """
epoch = 1767225600
[images.modular]
flavor = "modular"
initramfs = "zone"
cmdline = "console=ttyS0 quiet"
"""


@pytest.fixture(scope="module")
def modular_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of its own with an image of the kernel with modules, packed by the real command."""
    tree = tmp_path_factory.mktemp("modular") / "tree"
    for name in ("kernels", "initramfs", "signing", "oci"):
        shutil.copytree(ROOT / name, tree / name)
    (tree / "images.toml").write_text(_IMAGES)
    output = command("--tree", tree, "pack", "modular")
    assert output.status == 0, output.stderr.decode()
    return tree


@pytest.fixture(scope="module")
def modular(modular_tree: Path) -> Path:
    """The kernel with modules, as its step left it."""
    return modular_tree / "build" / "modular-kernel"


@pytest.fixture(scope="module")
def owner() -> MemorySigner:
    """Whoever may sign modules."""
    return signer("modules")


@pytest.fixture(scope="module")
def certificate(owner: MemorySigner) -> bytes:
    """The owner's certificate in DER."""
    return owner.certificate.public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def attempts(modular: Path, owner: MemorySigner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initramfs that tries to load modules which deserve it and modules which do not."""
    stranger = signer("stranger")
    modules = read_modules(modular / "modules.tar")
    dummy = modules.pop("dummy")
    signed = sign_module(dummy, owner, "dummy")
    end = len(signed) - len(MARKER) - 12
    another = sign_module(dummy + b"\0", owner, "another")[len(dummy) + 1 :]
    files = {
        "1-unsigned": dummy,
        "2-stranger": sign_module(dummy, stranger, "dummy"),
        "3-altered": flipped(signed, len(dummy) // 2),
        "4-altered-signature": flipped(signed, end - 20),
        "5-signature-cut-short": signed[: end - 20] + signed[end:],
        "6-end-cut-off": signed[:-1],
        "7-signature-of-another": dummy + another,
        "8-signed": signed,
    }
    for number, (name, data) in enumerate(modules.items()):
        files[f"9-{number}-{name}"] = sign_module(data, owner, name)
    return initramfs_of(files, tmp_path_factory.mktemp("guest"))


def initramfs_of(files: dict[str, bytes], work: Path) -> Path:
    """Make an initramfs with `files` to try, and the init in `work`, else the one that tries."""
    if not (work / "init").exists():
        compile_program([_GUEST], work / "init", base=_GUEST.parent, include=work)
    entries = [
        Entry("init", stat.S_IFREG | 0o755, (work / "init").read_bytes()),
        Entry("dev/console", stat.S_IFCHR | 0o600, major=5, minor=1),
    ]
    entries += [Entry(f"try/{name}", stat.S_IFREG | 0o644, data) for name, data in files.items()]
    archive = work / "attempts.cpio"
    archive.write_bytes(write_cpio(entries, epoch=1))
    return archive


def flipped(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


def boot(kernel: Path, initramfs: Path) -> tuple[dict[str, tuple[int, list[str]]], str]:
    """Give for each attempt its error and what was loaded then, and the whole console."""
    text = start(kernel, initramfs)
    assert "\ntried all\n" in text, text
    lines = re.findall(r"^tried (\S+): (\d+),(.*)$", text, re.MULTILINE)
    return {name: (int(error), loaded.split()) for name, error, loaded in lines}, text


def start(kernel: Path, initramfs: Path, *more: str) -> str:
    """Start a kernel in a machine with `more` in it, and give what it says to its end."""
    machine = ["qemu-system-x86_64", "-machine", "q35", "-cpu", "max", "-accel", "tcg"]
    machine += ["-m", "256", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    # Neither word may change anything.
    words = "console=ttyS0 quiet panic=-1 module.sig_enforce=0 lockdown=none"
    output = run(
        [
            *machine,
            *more,
            "-serial",
            "stdio",
            "-kernel",
            kernel,
            "-initrd",
            initramfs,
            "-append",
            words,
        ],
        timeout=_BOOT_S,
    )
    assert output.status == 0, output.stderr.decode()
    return output.stdout.decode(errors="replace").replace("\r", "")


@pytest.mark.parametrize("file", ["image", "vmlinux"])
def test_only_what_the_inserted_certificate_vouches_for_loads(
    modular: Path, attempts: Path, certificate: bytes, file: str, tmp_path: Path
) -> None:
    kernel = tmp_path / file
    kernel.write_bytes(insert_certificate((modular / file).read_bytes(), certificate, file))
    tried, text = boot(kernel, attempts)
    refused, loaded = dict(list(tried.items())[:7]), dict(list(tried.items())[7:])
    assert {name: error for name, (error, _) in refused.items()} == {
        "1-unsigned": errno.EKEYREJECTED,
        "2-stranger": errno.EKEYREJECTED,
        "3-altered": errno.EKEYREJECTED,
        "4-altered-signature": errno.EKEYREJECTED,
        "5-signature-cut-short": errno.EBADMSG,
        "6-end-cut-off": errno.EKEYREJECTED,
        "7-signature-of-another": errno.EKEYREJECTED,
    }, text
    assert all(not there for _, there in refused.values()), text
    assert list(loaded) == ["8-signed", "9-0-crct10dif_common", "9-1-crct10dif_generic"], text
    assert all(error == 0 for error, _ in loaded.values()), text
    assert loaded["8-signed"][1] == ["dummy"]
    last = loaded["9-1-crct10dif_generic"][1]
    assert sorted(last) == ["crct10dif_common", "crct10dif_generic", "dummy"]
    assert "device dummy0: yes" in text


def test_kernel_without_a_certificate_loads_nothing(modular: Path, attempts: Path) -> None:
    tried, text = boot(modular / "vmlinux", attempts)
    assert len(tried) == 10, text
    assert all(error and not there for error, there in tried.values()), text
    assert "device dummy0: no" in text


def test_decompressed_kernel_differs_in_the_room_alone(
    modular: Path, certificate: bytes, tmp_path: Path
) -> None:
    image = (modular / "image").read_bytes()
    before = unpacked(image)
    after = unpacked(insert_certificate(image, certificate))
    room = find_room(before)
    assert after[room.start :].startswith(certificate)
    assert after[: room.start] == before[: room.start]
    assert after[room.start + len(certificate) :] == before[room.start + len(certificate) :]
    elf = insert_certificate((modular / "vmlinux").read_bytes(), certificate)
    assert elf.count(certificate) == 1


def unpacked(image: bytes) -> bytes:
    """Give what a bzImage's payload unpacks to; its last four bytes are a size."""
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (image[0x1F1] + 1) * 512 + offset
    return check(["lz4", "-dc", "-"], "lz4 unpacks.", data=image[start : start + length - 4])


@pytest.fixture(scope="module")
def packed(modular_tree: Path) -> dict[str, Path]:
    """The files of the packed kernel and of its SDK, by their names in the artifacts."""
    layout = open_layout(modular_tree / "build/modular-oci")
    found: dict[str, Path] = {}
    for kind in ("kernel", "sdk"):
        index = layout.manifest(layout.root(kind))[1]
        assert isinstance(index, Index)
        manifest = layout.manifest(index.manifests[0])[1]
        assert isinstance(manifest, Manifest)
        for row in manifest.layers:
            layout.check_blob(row)
            blob = layout.path / "blobs" / row.digest.replace(":", "/", 1)
            found[row.annotations[TITLE]] = blob
    return found


def test_module_built_with_the_sdk_loads(
    modular_tree: Path,
    packed: dict[str, Path],
    owner: MemorySigner,
    certificate: bytes,
    tmp_path: Path,
) -> None:
    """By the page's own commands, run where there is nothing of the kernel but its SDK."""
    desk = tmp_path / "desk"
    shutil.copytree(_HELLO, desk / "hello")
    commands = documented("kernels.md", "Build a module out of tree")
    assert commands[0] == "sprout build modular-kernel"
    output = command("--tree", modular_tree, *commands[0].split()[1:])
    assert output.status == 0, output.stderr.decode()
    (desk / "build/modular-kernel").mkdir(parents=True)
    shutil.copyfile(packed["sdk.tar.gz"], desk / "build/modular-kernel/sdk.tar.gz")
    for words in commands[1:]:
        check(["sh", "-c", words], "", cwd=desk)
    hello = (desk / "hello/hello.ko").read_bytes()
    files = {"1-unsigned": hello, "2-signed": sign_module(hello, owner, "hello")}
    kernel = tmp_path / "image"
    kernel.write_bytes(insert_certificate(packed["kernel/image"].read_bytes(), certificate))
    tried, text = boot(kernel, initramfs_of(files, tmp_path))
    assert tried == {"1-unsigned": (errno.EKEYREJECTED, []), "2-signed": (0, ["hello"])}, text
    assert "hello from out of the tree" in text


def documented(page: str, section: str) -> list[str]:
    """Give the commands of a section of a page of the docs."""
    text = (ROOT / "docs" / page).read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"^\$ (.*)$", text, re.MULTILINE)


def test_sdk_says_nothing_of_where_it_was_built(packed: dict[str, Path]) -> None:
    data = gzip.decompress(packed["sdk.tar.gz"].read_bytes())
    for path in (cache_root(), cache_root().resolve(), ROOT):
        assert bytes(path) not in data


def test_addons_are_the_modules_and_a_zone_mounts_them(
    modular: Path, packed: dict[str, Path], zone_kernel: Path, tmp_path: Path
) -> None:
    archive = packed["kernel/addons.squashfs"]
    check(["unsquashfs", "-no-progress", "-d", tmp_path / "got", archive], "")
    release = json.loads((modular / "metadata.json").read_bytes())["release"]
    files = {path.name: path for path in (tmp_path / "got/lib/modules" / release).iterdir()}
    for name, data in read_modules(modular / "modules.tar").items():
        assert files[f"{name}.ko"].read_bytes() == data
    assert "crct10dif_generic.ko: crct10dif_common.ko" in files["modules.dep"].read_text()
    compile_program([_ADDONS], tmp_path / "init", base=_ADDONS.parent, include=tmp_path)
    disk = tmp_path / "disk.img"
    shutil.copyfile(archive, disk)
    drive = ["-drive", f"file={disk},format=raw,if=virtio,readonly=on"]
    text = start(zone_kernel, initramfs_of({}, tmp_path), *drive)
    found = re.findall(r"^file (\S+): (\d+), (\d+)$", text, re.MULTILINE)
    assert {name: (int(size), int(sum_)) for name, size, sum_ in found} == {
        name: (path.stat().st_size, zlib.adler32(path.read_bytes())) for name, path in files.items()
    }, text


def test_sources_name_what_modules_were_compiled_from(modular: Path) -> None:
    found = json.loads((modular / "sources.json").read_bytes())
    files = {row["path"] for row in found["sources"]}
    assert {"drivers/net/dummy.c", "crypto/crct10dif_common.c", "init/main.c"} <= files
    assert "drivers/net/loopback.c" in files  # of the option that is on beside it
    assert "drivers/net/tun.c" not in files
    assert {"crypto/crct10dif_common.mod.c", ".vmlinux.export.c"} <= set(found["generated"])


def test_built_kernel_names_nobody(modular: Path) -> None:
    """The kernel is the same whoever signs its modules: it holds no certificate of its own."""
    config = (modular / "config").read_text()
    assert 'CONFIG_MODULE_SIG_KEY=""\n' in config
    assert 'CONFIG_SYSTEM_TRUSTED_KEYS=""\n' in config
    assert "Build time autogenerated" not in (modular / "vmlinux").read_bytes().decode("latin-1")
    assert all(MARKER not in data for data in read_modules(modular / "modules.tar").values())
