"""Lockdown in the booted zone: what root would do to the running kernel is tried, and refused."""

from __future__ import annotations

import errno
import json
import re
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import built
from secure import DEFAULT_PATH, LIMIT_S, Keys, enrolled, make_disk_of, make_store

from sprout.base.run import run
from sprout.image.uki import build_image
from sprout.initramfs.compile import compile_program
from sprout.initramfs.cpio import Entry, write_cpio
from sprout.signing.authenticode import sign_image
from sprout.vm.boot import boot

_GUEST = Path(__file__).parent / "lockdown_guest" / "init.c"
_BOOT_S = 90.0
# What the zone's kernel can do, and does not do because it is locked down.
LOCKED = (
    "write PCI configuration",
    "write PCI configuration in proc",
    "map device registers",
    "set hardware parameter",
    "move serial port",
)
# What it cannot do at all.
ABSENT = {
    "open mem": errno.ENXIO,
    "open kmem": errno.ENXIO,
    "open port": errno.ENXIO,
    "open msr": errno.ENXIO,
    "open kcore": errno.ENOENT,
    "ioperm": errno.ENOSYS,
    "iopl": errno.ENOSYS,
    "kexec_load": errno.ENOSYS,
    "kexec_file_load": errno.ENOSYS,
    "bpf": errno.ENOSYS,
    "init_module": errno.ENOSYS,
}
# A command line that would like another kernel.
_WORDS = "console=ttyS0 quiet panic=-1 lockdown=none lsm=yama security=yama"


@dataclass(frozen=True)
class Said:
    """What the guest said: errors by act, levels by moment, the whole console."""

    acts: dict[str, int]
    levels: dict[str, str]
    text: str


@pytest.fixture(scope="module")
def initramfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initramfs whose init tries."""
    work = tmp_path_factory.mktemp("guest")
    compile_program([_GUEST], work / "init", base=_GUEST.parent, include=work)
    entries = [
        Entry("init", stat.S_IFREG | 0o755, (work / "init").read_bytes()),
        Entry("dev/console", stat.S_IFCHR | 0o600, major=5, minor=1),
    ]
    archive = work / "initramfs.cpio"
    archive.write_bytes(write_cpio(entries, epoch=1))
    return archive


def said(text: str) -> Said:
    assert "\nacts end" in text, text
    acts = re.findall(r"^act (.+): (\d+)$", text, re.MULTILINE)
    levels = re.findall(r"^level (.+): (.+)$", text, re.MULTILINE)
    return Said({name: int(error) for name, error in acts}, dict(levels), text)


def tried(kernel: Path, initramfs: Path) -> Said:
    """Boot a kernel directly with words that ask for no lockdown."""
    machine = ["qemu-system-x86_64", "-machine", "q35", "-cpu", "max", "-accel", "tcg"]
    machine += ["-m", "256", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    output = run(
        [*machine, "-serial", "stdio", "-kernel", kernel, "-initrd", initramfs, "-append", _WORDS],
        timeout=_BOOT_S,
    )
    return said(output.stdout.decode(errors="replace").replace("\r", ""))


def assert_locked_down(guest: Said) -> None:
    assert {name: guest.acts[name] for name in LOCKED} == dict.fromkeys(LOCKED, errno.EPERM), (
        guest.text
    )
    assert {name: guest.acts[name] for name in ABSENT} == ABSENT, guest.text
    assert guest.levels["at boot"] == "none [integrity] confidentiality"
    assert guest.acts["lower to none"] != 0
    assert guest.levels["after none"] == "none [integrity] confidentiality"
    assert guest.acts["raise to confidentiality"] == 0
    assert guest.acts["lower to integrity"] == errno.EPERM
    assert guest.levels["in the end"] == "none integrity [confidentiality]"


def test_no_command_line_keeps_the_zone_from_locking_itself_down(
    zone_kernel: Path, initramfs: Path
) -> None:
    guest = tried(zone_kernel, initramfs)
    assert f"words: {_WORDS}\n" in guest.text
    assert_locked_down(guest)


def test_it_is_lockdown_that_refuses(initramfs: Path, tmp_path: Path) -> None:
    """The same kernel, with nothing changed but lockdown's answer, does every one of the acts."""
    kernel = tmp_path / "vmlinux"
    kernel.write_bytes(answering_yes(built("zone-kernel", "vmlinux")))
    guest = tried(kernel, initramfs)
    assert "level at boot: none [integrity] confidentiality\n" in guest.text
    # The console's own port is in use, which is looked at after lockdown.
    expected = dict.fromkeys(LOCKED, 0) | {"move serial port": errno.EBUSY}
    assert {name: guest.acts[name] for name in LOCKED} == expected, guest.text
    assert {name: guest.acts[name] for name in ABSENT} == ABSENT, guest.text


def answering_yes(vmlinux: Path) -> bytes:
    """Give the kernel with `xor %eax,%eax; ret` for the function that says what is locked down."""
    symbols = (vmlinux.parent / "System.map").read_text()
    found = re.search(r"^([0-9a-f]{16}) t lockdown_is_locked_down$", symbols, re.MULTILINE)
    assert found is not None
    address = int(found[1], 16)
    kernel = vmlinux.read_bytes()
    (table,), (count,) = struct.unpack_from("<Q", kernel, 32), struct.unpack_from("<H", kernel, 56)
    for index in range(count):
        kind, _, offset, start, _, size = struct.unpack_from("<IIQQQQ", kernel, table + 56 * index)
        if kind == 1 and start <= address < start + size:
            at = offset + address - start
            return kernel[:at] + b"\x31\xc0\xc3" + kernel[at + 3 :]
    raise AssertionError("the function lies in no segment")


def test_zone_is_locked_down_under_secure_boot(
    boot_stub: Path, zone_kernel: Path, initramfs: Path, tmp_path: Path
) -> None:
    keys = Keys()
    build_image(
        tmp_path / "guest.efi",
        stub=boot_stub,
        kernel=zone_kernel,
        initramfs=initramfs,
        cmdline=_WORDS,
        os_release={"ID": "test"},
        uname=json.loads(built("zone-kernel", "metadata.json").read_bytes())["release"],
        sbat="sbat,1,SBAT Version,sbat,1,https://example.org\n",
        epoch=0,
    )
    image = sign_image((tmp_path / "guest.efi").read_bytes(), [keys.db], "guest")
    disk = make_disk_of(tmp_path / "disk.img", {DEFAULT_PATH: image})
    store = make_store(tmp_path / "store.fd", enrolled(keys))
    result = boot(disk, image="guest", accel="tcg", timeout_s=LIMIT_S, until="exit", secure=store)
    assert_locked_down(said("\n".join(result.console_lines)))
