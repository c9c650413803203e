"""Programs of Debian 13, as its archive signs them: cosign, oras and skopeo.

The first two run on Debian 12 as they are. Debian 12's own skopeo has sigstore signatures disabled
("Debian-local change"), so that of Debian 13 is run, with the libraries that it was linked with.
"""

from __future__ import annotations

from pathlib import Path

from commands import ROOT

from sprout.base.files import staged_directory
from sprout.base.run import check

_NAMES = (
    *("cosign", "oras", "skopeo"),
    *("libc6", "libgpgme11t64", "libassuan9", "libgpg-error0", "libsubid5", "libsqlite3-0"),
)
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


def debian13_programs() -> Path:
    """Give the directory with the programs; the first run fetches them through apt.

    From the mirror that this machine's apt uses, whose release file apt verifies.
    """
    place = ROOT / "build" / "debian13"
    if not all((place / "usr/bin" / name).is_file() for name in ("cosign", "oras", "skopeo")):
        with staged_directory(place) as staging:
            _fetch(staging)
    return place / "usr/bin"


def skopeo() -> list[str | Path]:
    """Give the words that run Debian 13's skopeo."""
    place = debian13_programs().parents[1]
    loader = place / _LIBRARIES / "ld-linux-x86-64.so.2"
    return [loader, "--library-path", place / _LIBRARIES, place / "usr/bin/skopeo"]


def _fetch(target: Path) -> None:
    work = target / "apt"
    for name in ("state/lists/partial", "cache/archives/partial", "parts"):
        (work / name).mkdir(parents=True)
    site = _site()
    # What this machine has installed is no candidate there.
    (work / "status").touch()
    (work / "sources.list").write_text(f"deb [signed-by={_KEYS}] {site} trixie main\n")
    apt: list[str] = ["apt-get", "-q"]
    for name, value in (
        ("Dir::Etc::sourcelist", work / "sources.list"),
        ("Dir::Etc::sourceparts", work / "parts"),
        ("Dir::State", work / "state"),
        ("Dir::State::status", work / "status"),
        ("Dir::Cache", work / "cache"),
        ("Acquire::Languages", "none"),
        ("APT::Sandbox::User", ""),
    ):
        apt += ["-o", f"{name}={value}"]
    check([*apt, "update"], "apt-get", timeout=300)
    check([*apt, "download", *_NAMES], "apt-get", cwd=target, timeout=300)
    for package in sorted(target.glob("*.deb")):
        check(["dpkg-deb", "-x", package, target], "dpkg-deb")


def _site() -> str:
    """Give the address of Debian's archive that this machine's apt uses."""
    form = "$(ORIGIN) $(REPO_URI)"
    lines = check(["apt-get", "indextargets", "--format", form], "apt-get").decode().split("\n")
    sites = [line.split()[1] for line in lines if line.startswith("Debian ")]
    plain = [site for site in sites if "security" not in site and "backports" not in site]
    assert plain, "apt knows no archive of Debian"
    return plain[0]
