"""What every test may use: the real command, the real artifacts, and no way to pass by skipping."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from commands import ROOT, Sprout, built, command

TOOLS = (
    *("gcc", "make", "ld", "flex", "bison", "bc", "lz4", "xz", "patch"),
    *("iasl", "perl", "dpkg-deb", "apt-get", "apt-cache"),
    *("gpgv", "gpg", "gpg-agent", "gpgconf", "clang", "lld-link", "ld.lld", "objdump"),
    *("sfdisk", "mformat", "mcopy", "fsck.vfat", "qemu-system-x86_64"),
    *(
        "sbverify",
        "sbsign",
        "osslsigncode",
        "sign-efi-sig-list",
        "cert-to-efi-sig-list",
        "softhsm2-util",
        "objcopy",
        "openssl",
        "mkfs.ext4",
        "debugfs",
        "mdir",
        "cpio",
        "git",
        "apt-get",
        "dpkg-deb",
        "unshare",
        "depmod",
        "mksquashfs",
        "unsquashfs",
        "docker-registry",
        "skopeo",
    ),
)
_FOUND = "not allowed"
_TREE_PARTS = ("images.toml", "kernels", "initramfs", "signing", "oci", "ci", "SConstruct")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Fail at once where a tool is missing: its tests would say less clearly what is wrong."""
    # A shell that starts the suite in the background has it ignore Ctrl-C, and with it every
    # program that a test wants to interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    missing = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    if missing:
        pytest.exit(f"missing tools: {', '.join(missing)}; run ./sprout.sh", returncode=1)


class _NothingSkipped:
    """Turns every skipped, xfailed or xpassed test or module into a failed run."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped or hasattr(report, "wasxfail"):
            self.found.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.found.append(report.nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """Take over what one of several processes found while it collected (pytest-xdist)."""
        found = getattr(node, "workeroutput", {}).get(_FOUND, [])
        self.found += [one for one in found if one not in self.found]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_FOUND] = self.found
        if self.found and session.exitstatus in (0, 5):
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for nodeid in self.found:
            terminalreporter.write_line(f"not allowed: {nodeid} was skipped or expected to fail")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_NothingSkipped(), "nothing-skipped")


@pytest.fixture(scope="session")
def sprout() -> Sprout:
    """The real command, as a function of its words."""
    return command


@pytest.fixture(scope="session")
def zone_kernel() -> Path:
    """The zone's kernel, a bzImage."""
    return built("zone-kernel", "image")


@pytest.fixture(scope="session")
def zone_initramfs() -> Path:
    """The zone's initramfs, a cpio."""
    return built("zone-initramfs", "initramfs.cpio")


@pytest.fixture(scope="session")
def zone_image() -> Path:
    """The zone's boot image, a UKI."""
    return built("zone-image", "zone.efi")


@pytest.fixture(scope="session")
def zone_disk() -> Path:
    """The zone's bootable disk."""
    return built("zone-disk", "zone.img")


@pytest.fixture(scope="session")
def boot_stub() -> Path:
    """The boot stub, a PE."""
    return built("stub", "stub.efi")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of its own that a test may change: this checkout's data without its artifacts."""
    copy = tmp_path / "tree"
    copy.mkdir()
    for name in _TREE_PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name)
        else:
            shutil.copyfile(source, copy / name)
    return copy
