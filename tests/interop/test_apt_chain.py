"""The distribution's archive through the real apt: a signed archive on disk, then attacks on it."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from pgp import new_key

from sprout.base.errors import SproutError
from sprout.base.files import sha256_file
from sprout.base.run import check, run
from sprout.kernel.fetch import Store, ensure, resolve
from sprout.kernel.sources import Source, load_lock, load_sources

PACKAGE = "linux-source-6.12"


@dataclass(frozen=True)
class Archive:
    """A small signed Debian archive and the apt configuration that trusts it."""

    root: Path
    tree: Path
    gpg: Path
    signer: str

    def source(self) -> Source:
        return load_sources(self.tree)["linux-6.12"]

    def publish(self, *versions: str, sign: bool = True) -> None:
        """Put packages up and write index and signature."""
        stanzas = [self._package(version) for version in versions]
        index = "\n".join(stanzas).encode()
        (self.root / "Packages.gz").write_bytes(gzip.compress(index, mtime=0))
        digest = sha256_file(self.root / "Packages.gz")
        size = (self.root / "Packages.gz").stat().st_size
        plain = self.root / "Packages"
        plain.write_bytes(index)
        (self.root / "Release").write_text(
            "Suite: test\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n"
            f" {digest} {size} Packages.gz\n {sha256_file(plain)} {len(index)} Packages\n"
        )
        inrelease = self.root / "InRelease"
        inrelease.unlink(missing_ok=True)
        if sign:
            words = ["gpg", "--homedir", str(self.gpg), "--batch", "-u", self.signer, "--clearsign"]
            check([*words, "-o", str(inrelease), str(self.root / "Release")], "gpg")

    def _package(self, version: str) -> str:
        upstream = version.split("-", maxsplit=1)[0]
        numbers = zip(("VERSION", "PATCHLEVEL", "SUBLEVEL"), upstream.split("."), strict=True)
        makefile = "".join(f"{name} = {number}\n" for name, number in numbers)
        inner = io.BytesIO()
        with tarfile.open(fileobj=inner, mode="w") as tar:
            _add(tar, f"{PACKAGE}/Makefile", makefile.encode())
        staging = self.root / f"staging-{version}"
        (staging / "usr/src").mkdir(parents=True, exist_ok=True)
        (staging / "DEBIAN").mkdir(exist_ok=True)
        packed = staging / "usr/src" / f"{PACKAGE}.tar.xz"
        packed.write_bytes(lzma.compress(inner.getvalue()))
        control = f"Package: {PACKAGE}\nVersion: {version}\nArchitecture: all\n"
        control += "Maintainer: nobody <nobody@example>\nDescription: test\n"
        (staging / "DEBIAN/control").write_text(control)
        file = f"{PACKAGE}_{version}_all.deb"
        deb = self.root / file
        check(["dpkg-deb", "--root-owner-group", "--build", staging, deb], "dpkg-deb")
        size = deb.stat().st_size
        return control + f"Filename: ./{file}\nSize: {size}\nSHA256: {sha256_file(deb)}\n"

    def update(self) -> int:
        return run(["apt-get", "update"]).status


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def archive(
    tree: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Archive:
    base = tmp_path_factory.mktemp("apt")
    base.chmod(0o755)
    home, root = base / "g", base / "archive"
    home.mkdir(mode=0o700)
    root.mkdir()
    for folder in ("lists/partial", "cache/archives/partial"):
        (base / folder).mkdir(parents=True)
    (base / "status").touch()
    signer = new_key(home, "archive")
    keyring = base / "archive.gpg"
    keyring.write_bytes(check(["gpg", "--homedir", home, "--export", signer], "gpg"))
    run(["gpgconf", "--homedir", home, "--kill", "all"])
    (base / "sources.list").write_text(f"deb [signed-by={keyring}] file:{root} ./\n")
    # APT_CONFIG is apt's own way to be told of another configuration; the product knows nothing.
    (base / "apt.conf").write_text(
        f"""
        Dir::Etc::SourceList "{base}/sources.list";
        Dir::Etc::SourceParts "/dev/null";
        Dir::State::Lists "{base}/lists";
        Dir::State::status "{base}/status";
        Dir::Cache "{base}/cache";
        APT::Sandbox::User "root";
        """
    )
    monkeypatch.setenv("APT_CONFIG", str(base / "apt.conf"))
    (tree / "kernels/sources.lock").unlink()
    toml = '["linux-6.12"]\nseries = "6.12"\n[["linux-6.12".origins]]\nname = "test"\n'
    (tree / "kernels/sources.toml").write_text(f'{toml}kind = "apt"\npackage = "{PACKAGE}"\n')
    return Archive(root, tree, home, signer)


def test_newest_package_is_locked_and_unpacked(archive: Archive, tmp_path: Path) -> None:
    archive.publish("6.12.9-1", "6.12.10-1")
    assert archive.update() == 0
    store = Store(tmp_path / "store")
    pin = resolve(archive.tree, store, archive.source(), locked=False)
    assert (pin.version, pin.upstream) == ("6.12.10-1", "6.12.10")
    assert "SUBLEVEL = 10" in (store.tree(pin.sha256) / "Makefile").read_text()
    assert load_lock(archive.tree) == (pin,)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # To apt a name that no package has is a regular expression.
        (
            'package = "linux-source-6.12"',
            'package = "linux-source-6.1"',
            "know no linux-source-6.1",
        ),
        ('series = "6.12"', 'series = "6.1"', "is 6.12.9, which is not of 6.1"),
    ],
)
def test_package_of_another_series_is_not_taken(
    archive: Archive, tmp_path: Path, old: str, new: str, said: str
) -> None:
    archive.publish("6.12.9-1")
    assert archive.update() == 0
    sources = archive.tree / "kernels/sources.toml"
    sources.write_text(sources.read_text().replace(old, new))
    with pytest.raises(SproutError, match=re.escape(said)):
        resolve(archive.tree, Store(tmp_path / "store"), archive.source(), locked=False)
    assert load_lock(archive.tree) == ()


def test_altered_package_is_refused(archive: Archive, tmp_path: Path) -> None:
    archive.publish("6.12.9-1")
    assert archive.update() == 0
    deb = archive.root / f"{PACKAGE}_6.12.9-1_all.deb"
    data = bytearray(deb.read_bytes())
    data[-3] ^= 1
    deb.write_bytes(data)
    with pytest.raises(SproutError, match="no origin has a version that verifies"):
        resolve(archive.tree, Store(tmp_path / "store"), archive.source(), locked=False)
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []
    assert load_lock(archive.tree) == ()


def test_unsigned_archive_is_refused(archive: Archive, tmp_path: Path) -> None:
    archive.publish("6.12.9-1", sign=False)
    archive.update()
    with pytest.raises(SproutError, match="no origin has a version that verifies"):
        resolve(archive.tree, Store(tmp_path / "store"), archive.source(), locked=False)


def test_lock_of_a_dropped_version(archive: Archive, tmp_path: Path) -> None:
    archive.publish("6.12.9-1")
    assert archive.update() == 0
    pin = resolve(archive.tree, Store(tmp_path / "a"), archive.source(), locked=False)
    archive.publish("6.12.10-1")
    (archive.root / pin.file).unlink()
    assert archive.update() == 0
    with pytest.raises(SproutError) as caught:
        ensure(archive.tree, Store(tmp_path / "b"), archive.source(), pin, locked=True)
    assert "sprout update" in caught.value.hint
    new = ensure(archive.tree, Store(tmp_path / "b"), archive.source(), pin, locked=False)
    assert new.upstream == "6.12.10"


def test_locked_refuses_a_tree_without_a_pin(archive: Archive, tmp_path: Path) -> None:
    archive.publish("6.12.9-1")
    assert archive.update() == 0
    with pytest.raises(SproutError, match=r"sources\.lock: has no linux-6\.12"):
        resolve(archive.tree, Store(tmp_path / "store"), archive.source(), locked=True)
    assert not (archive.tree / "kernels/sources.lock").exists()
