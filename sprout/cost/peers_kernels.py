"""Debian's kernels, through apt: any release, whichever this machine runs.

apt works in directories of our own, with one release as its only source, so that nothing of the
machine's package lists changes and nothing is installed. The chain is apt's (apt-secure(8)):
the archive's key signs the release, that names the index's digest, and it the package's.
"""

from __future__ import annotations

import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded, write_file
from sprout.base.progress import say
from sprout.base.run import check, run, started
from sprout.image.bzimage import HEAD_SIZE, read_setup_header

# (series, release): what a user of that release gets.
RELEASES = (("6.1", "bookworm"), ("6.12", "trixie"))
NEEDS = (("apt-get", "apt"), ("dpkg-deb", "dpkg"))

CLOUD, GENERIC = "linux-image-cloud-amd64", "linux-image-amd64"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_DEPENDS = re.compile(r"^Depends:.*?\b(linux-image-[0-9][a-z0-9.+-]{1,80}-amd64)\b", re.M)
_VERSION = re.compile(r"^Version: ([A-Za-z0-9.+:~-]{1,80})$", re.M)
_MAX_KERNEL_BYTES = 64 << 20
_TIMEOUT_S = 900.0
_HINT = "Check the network and the archive in the machine's apt sources."


@dataclass(frozen=True)
class DebianKernel:
    """A kernel of Debian's: its series and release, the package with its version, the bzImage."""

    series: str
    release: str
    package: str
    version: str
    image: Path


def release_with(version: str) -> str:
    """Give the Debian release whose kernel is of the series of Linux `version`.

    Raises SproutError where none that is known has one.
    """
    for series, release in RELEASES:
        if version.startswith(f"{series}."):
            return release
    raise SproutError(
        f"Linux {version}: no Debian release that is known has a kernel of that series",
        f"Series: {', '.join(series for series, _ in RELEASES)}.",
    )


def debian_kernel(series: str, release: str, cache: Path) -> DebianKernel:
    """Give the newest cloud kernel of a Debian release, downloaded into the directory `cache`.

    A kernel that is there already is not downloaded again. Raises SproutError when the archive
    cannot be reached, does not verify, or has no such kernel.
    """
    package = newest_kernel(CLOUD, release, cache)
    image = cache / release / package.file
    if not image.is_file():
        with downloaded(package) as archive:
            write_file(image, kernel_in(archive))
    head = read_bounded(image, _MAX_KERNEL_BYTES)[:HEAD_SIZE]
    if read_setup_header(head, image) is None:
        raise SproutError(f"{image}: is no bzImage", "Delete it and run this again.")
    return DebianKernel(series, release, package.name, package.version, image)


@dataclass(frozen=True)
class Package:
    """A package of a kernel: its name and version, and apt's settings to download it with."""

    name: str
    version: str
    configuration: Path

    @property
    def file(self) -> str:
        """Give a file name that says both."""
        return f"{self.name}_{self.version.replace(':', '_')}"


def newest_kernel(meta: str, release: str, cache: Path) -> Package:
    """Give the package of the newest kernel that the package `meta` of a Debian release names.

    Raises SproutError when the archive cannot be reached, does not verify, or has none.
    """
    configuration = _configure(cache / release, release)
    say(f"Debian {release}: asking its archive for {meta}")
    _apt(configuration, "apt-get", "-q", "update")
    wanted = _DEPENDS.search(_show(configuration, meta))
    version = _VERSION.search(_show(configuration, wanted[1])) if wanted else None
    if wanted is None or version is None:
        raise SproutError(f"{release}: its {meta} depends on no kernel", _HINT)
    return Package(wanted[1], version[1], configuration)


def _configure(directory: Path, release: str) -> Path:
    """Write what apt is to know, beside the machine's own settings (apt.conf(5))."""
    for name in ("lists/partial", "archives/partial"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    sources = directory / "sources.list"
    signed = f"[arch=amd64 target=Packages signed-by={_KEYRING}]"
    write_file(sources, f"deb {signed} {_mirror()} {release} main\n".encode())
    write_file(directory / "status", b"")
    settings = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": directory / "lists",
        "Dir::State::Status": directory / "status",
        "Dir::Cache::Archives": directory / "archives",
        "Dir::Cache::PkgCache": "",
        "Dir::Cache::SrcPkgCache": "",
        "APT::Architecture": "amd64",
        "APT::Default-Release": "",
        # apt drops to the user _apt where it can, who cannot write here.
        "APT::Sandbox::User": "root",
        "APT::Get::AllowUnauthenticated": "false",
        "Acquire::AllowInsecureRepositories": "false",
        "Acquire::AllowWeakRepositories": "false",
        "Acquire::Retries": "2",
    }
    # What the machine does after its own updates is not for ours.
    hooks = ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success")
    lines = [f"#clear APT::Update::{hook};" for hook in hooks]
    lines += ["#clear APT::Architectures;", 'APT::Architectures { "amd64"; };']
    lines += [f'{name} "{value}";' for name, value in settings.items()]
    configuration = directory / "apt.conf"
    write_file(configuration, "".join(f"{line}\n" for line in lines).encode())
    return configuration


def _mirror() -> str:
    """Give the Debian archive that this machine's apt already uses."""
    form = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    for line in check(command, _HINT, timeout=60).decode(errors="replace").splitlines():
        origin, label, uri = line.split("|", 2)
        if (origin, label) == ("Debian", "Debian"):
            return uri
    raise SproutError(
        "apt: its sources name no Debian archive",
        "Run this on Debian, after `sudo apt-get update`.",
    )


def _apt(configuration: Path, program: str, *words: str, cwd: Path | None = None) -> str:
    output = run([program, "-c", configuration, *words], cwd=cwd, timeout=_TIMEOUT_S)
    errors = re.findall(r"^E: (.*)$", output.stderr.decode(errors="replace"), re.M)
    # `update` fails softly where an index could not be had.
    missed = re.findall(r"^W: (Failed to fetch .*)$", output.stderr.decode(errors="replace"), re.M)
    if output.status != 0 or missed:
        why = [*errors, *missed, output.last_line()][0]
        raise SproutError(f"{configuration.parent.name}: {program}: {why}", _HINT)
    return output.stdout.decode(errors="replace")


def _show(configuration: Path, package: str) -> str:
    return _apt(configuration, "apt-cache", "show", "--no-all-versions", package)


@contextmanager
def downloaded(package: Package) -> Iterator[Path]:
    """Give a package's file, for as long as the block lasts; raises SproutError."""
    folder = package.configuration.parent
    with tempfile.TemporaryDirectory(prefix="deb-", dir=folder) as name:
        say(f"Debian {folder.name}: downloading {package.name} {package.version}")
        words = ("-q", "download", f"{package.name}={package.version}")
        _apt(package.configuration, "apt-get", *words, cwd=Path(name))
        found = sorted(Path(name).glob("*.deb"))
        if len(found) != 1:
            raise SproutError(f"apt left {len(found)} files for {package.name}", "Run it again.")
        yield found[0]


def kernel_in(package: Path) -> bytes:
    """Give the file boot/vmlinuz-* of a package; raises SproutError where there is none."""
    with started(["dpkg-deb", "--fsys-tarfile", package]) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for member in archive:
                    if re.fullmatch(r"\./(?:usr/lib/)?boot/vmlinuz-[^/]+", member.name):
                        stream = archive.extractfile(member)
                        if stream is not None and member.size <= _MAX_KERNEL_BYTES:
                            return stream.read()
        except (tarfile.TarError, OSError, EOFError) as error:
            raise SproutError(f"{package.name}: {error}", "Run it again.") from error
    raise SproutError(f"{package.name}: has no kernel in /boot", "Report this package.")
