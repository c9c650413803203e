"""Source packages through the real apt: a signed archive of sources, then attacks on it."""

from __future__ import annotations

import gzip
import io
import lzma
import platform
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from pgp import new_key

from sprout.base.errors import SproutError
from sprout.base.files import sha256_file
from sprout.base.run import check, run
from sprout.kernel.fetch import Store, ensure, resolve
from sprout.kernel.flavor import load_flavor
from sprout.kernel.sources import Source, load_lock, load_sources
from sprout.kernel.update import update

MAKEFILE = """\
export XEN_VERSION       = {0}
export XEN_SUBVERSION    = {1}
export XEN_EXTRAVERSION ?= .{2}$(XEN_VENDORVERSION)
"""
PATCH = """\
--- a/README
+++ b/README
@@ -1,2 +1,3 @@
 one
+patched
 two
"""
SUITE = platform.freedesktop_os_release()["VERSION_CODENAME"]


def packed(files: dict[str, str]) -> bytes:
    """Give a `.tar.xz` of these files below one directory."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(f"top/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return lzma.compress(inner.getvalue())


@dataclass(frozen=True)
class Archive:
    """A small signed archive with sources, an apt that trusts it, and a tree that builds from it.

    That apt has a `deb` entry alone, as most machines do.
    """

    root: Path
    tree: Path
    gpg: Path
    signer: str

    def source(self) -> Source:
        return load_sources(self.tree)["xen"]

    def put(self, version: str, *, patch: str = PATCH, says: str = "") -> str:
        """Put a source package's files up and give its entry of the index."""
        upstream = version.split("-", maxsplit=1)[0]
        makefile = MAKEFILE.format(*(says or upstream.split("+")[0]).split(".", 2))
        orig = self.root / f"xen_{upstream}.orig.tar.xz"
        if not orig.exists():
            files = {"xen/Makefile": makefile, "README": "one\ntwo\n", "debian/old": "gone"}
            orig.write_bytes(packed(files))
        series = {"patches/series": "# why\nadd-a-line.patch\n", "patches/add-a-line.patch": patch}
        debian = self.root / f"xen_{version}.debian.tar.xz"
        debian.write_bytes(packed(series))
        dsc = self.root / f"xen_{version}.dsc"
        dsc.write_text("Format: 3.0 (quilt)\n")
        lines = [f" {sha256_file(f)} {f.stat().st_size} {f.name}" for f in (dsc, orig, debian)]
        sums = "\n".join(lines)
        return (
            f"Package: xen\nBinary: xen\nVersion: {version}\nFormat: 3.0 (quilt)\n"
            f"Maintainer: nobody <nobody@example>\nArchitecture: any\nDirectory: pool\n"
            f"Checksums-Sha256:\n{sums}\n"
        )

    def index(self, *stanzas: str, sign: bool = True) -> None:
        """Write the index of sources and its signature."""
        suite = self.root.parent / "dists" / SUITE
        plain = suite / "main/source/Sources"
        plain.parent.mkdir(parents=True, exist_ok=True)
        plain.write_text("\n".join(stanzas))
        sources = plain.with_suffix(".gz")
        sources.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
        sums = [
            f" {sha256_file(file)} {file.stat().st_size} {file.relative_to(suite)}\n"
            for file in (plain, sources)
        ]
        (suite / "Release").write_text(
            f"Suite: {SUITE}\nCodename: {SUITE}\nComponents: main\n"
            f"Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n{''.join(sums)}"
        )
        inrelease = suite / "InRelease"
        inrelease.unlink(missing_ok=True)
        if sign:
            words = ["gpg", "--homedir", str(self.gpg), "--batch", "-u", self.signer, "--clearsign"]
            check([*words, "-o", str(inrelease), str(suite / "Release")], "gpg")

    def publish(self, *versions: str) -> None:
        self.index(*(self.put(version) for version in versions))


@pytest.fixture
def archive(
    tree: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Archive:
    base = tmp_path_factory.mktemp("apt")
    base.chmod(0o755)
    home, root = base / "g", base / "archive/pool"
    home.mkdir(mode=0o700)
    root.mkdir(parents=True)
    (base / "parts").mkdir()
    (base / "status").touch()
    signer = new_key(home, "archive")
    armored = check(["gpg", "--homedir", home, "--armor", "--export", signer], "gpg").decode()
    key = "".join(f"\n {line or '.'}" for line in armored.splitlines())
    run(["gpgconf", "--homedir", home, "--kill", "all"])
    (base / "parts/a.sources").write_text(
        f"# the distribution\nTypes: deb\nURIs: file:{base}/archive\nSuites: {SUITE}\n"
        f"Components: main\nSigned-By:{key}\n\n"
        "Types: deb\nURIs: file:/nowhere\nSuites: strange\nComponents: main\n"
    )
    # APT_CONFIG is apt's own way to be told of another configuration; the product knows nothing.
    (base / "apt.conf").write_text(
        f"""
        Dir::Etc::SourceList "/dev/null";
        Dir::Etc::SourceParts "{base}/parts";
        Dir::State::status "{base}/status";
        APT::Sandbox::User "root";
        """
    )
    monkeypatch.setenv("APT_CONFIG", str(base / "apt.conf"))
    (tree / "kernels/sources.lock").unlink()
    toml = '[xen]\nseries = "4"\n[[xen.origins]]\nname = "test"\n'
    (tree / "kernels/sources.toml").write_text(f'{toml}kind = "apt-source"\npackage = "xen"\n')
    return Archive(root, tree, home, signer)


def test_newest_source_package_is_locked_patched_and_unpacked(
    archive: Archive, tmp_path: Path
) -> None:
    archive.publish("4.17.5+9-1", "4.17.5+72-1", "5.0.1-1")
    store = Store(tmp_path / "store")
    pin = resolve(archive.tree, store, archive.source(), locked=False)
    assert (pin.version, pin.upstream) == ("4.17.5+72-1", "4.17.5")
    assert set(pin.checksums()) == {
        "xen_4.17.5+72.orig.tar.xz",
        "xen_4.17.5+72-1.debian.tar.xz",
    }
    unpacked = store.tree(pin.digest)
    assert (unpacked / "README").read_text() == "one\npatched\ntwo\n"
    assert not (unpacked / "debian").exists()
    assert load_lock(archive.tree) == (pin,)


def refused(archive: Archive, tmp_path: Path, words: str) -> None:
    """Check that it is refused for that reason, with nothing unpacked and nothing locked."""
    store = Store(tmp_path / "store")
    with pytest.raises(SproutError, match=words):
        resolve(archive.tree, store, archive.source(), locked=False)
    assert [path for path in store.root.glob("sources/**/*") if path.is_file()] == []
    assert not list(store.root.glob("fetch-*"))
    assert load_lock(archive.tree) == ()


@pytest.mark.parametrize("name", ["xen_4.17.5.orig.tar.xz", "xen_4.17.5-1.debian.tar.xz"])
def test_altered_file_is_refused(archive: Archive, tmp_path: Path, name: str) -> None:
    archive.publish("4.17.5-1")
    data = bytearray((archive.root / name).read_bytes())
    data[-3] ^= 1
    (archive.root / name).write_bytes(data)
    refused(archive, tmp_path, "Hash Sum mismatch")


def test_altered_index_is_refused(archive: Archive, tmp_path: Path) -> None:
    archive.publish("4.17.5-1")
    index = archive.root.parent / "dists" / SUITE / "main/source/Sources.gz"
    text = gzip.decompress(index.read_bytes()).replace(b"4.17.5-1", b"4.17.5-2")
    index.write_bytes(gzip.compress(text, mtime=0))
    refused(archive, tmp_path, "lists of sources")


def test_unsigned_archive_is_refused(archive: Archive, tmp_path: Path) -> None:
    archive.index(archive.put("4.17.5-1"), sign=False)
    refused(archive, tmp_path, "not signed|does not have a Release file")


def test_strangers_signature_is_refused(archive: Archive, tmp_path: Path) -> None:
    stranger = new_key(archive.gpg, "stranger")
    Archive(archive.root, archive.tree, archive.gpg, stranger).publish("4.17.5-1")
    refused(archive, tmp_path, "not signed|NO_PUBKEY")


def test_version_whose_files_are_gone_is_passed_over(
    archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.publish("4.17.5-1", "4.17.7-1")
    (archive.root / "xen_4.17.7.orig.tar.xz").unlink()
    pin = resolve(archive.tree, Store(tmp_path / "store"), archive.source(), locked=False)
    assert pin.version == "4.17.5-1"
    assert "names 4.17.7-1, which cannot be had" in capsys.readouterr().err


def test_patch_that_does_not_apply_is_refused(archive: Archive, tmp_path: Path) -> None:
    archive.index(archive.put("4.17.5-1", patch=PATCH.replace(" two", " three")))
    refused(archive, tmp_path, r"add-a-line\.patch: does not apply on README")


def test_another_version_under_the_name_is_refused(archive: Archive, tmp_path: Path) -> None:
    archive.index(archive.put("4.17.5-1", says="4.17.4"))
    refused(archive, tmp_path, r"holds version 4\.17\.4, not 4\.17\.5")


def test_snapshot_that_calls_itself_the_next_version(archive: Archive, tmp_path: Path) -> None:
    archive.index(archive.put("4.20.3+127-1", says="4.20.4-pre"))
    pin = resolve(archive.tree, Store(tmp_path / "store"), archive.source(), locked=False)
    assert pin.upstream == "4.20.3"


def test_lock_of_a_dropped_version(archive: Archive, tmp_path: Path) -> None:
    archive.publish("4.17.5-1")
    pin = resolve(archive.tree, Store(tmp_path / "a"), archive.source(), locked=False)
    (archive.root / pin.file).unlink()
    archive.publish("4.17.7-1")
    with pytest.raises(SproutError) as caught:
        ensure(archive.tree, Store(tmp_path / "b"), archive.source(), pin, locked=True)
    assert "sprout update" in caught.value.hint
    new = ensure(archive.tree, Store(tmp_path / "b"), archive.source(), pin, locked=False)
    assert new.upstream == "4.17.7"


def test_other_files_than_the_locked_ones_are_refused(archive: Archive, tmp_path: Path) -> None:
    """The archive is signed, and yet not what was locked: its owner changed a file in place."""
    archive.publish("4.17.5-1")
    pin = resolve(archive.tree, Store(tmp_path / "a"), archive.source(), locked=False)
    archive.index(archive.put("4.17.5-1", patch=PATCH.replace("+patched", "+changed")))
    store = Store(tmp_path / "b")
    with pytest.raises(SproutError, match=r"4\.17\.5-1\.debian\.tar\.xz: SHA-256 is"):
        ensure(archive.tree, store, archive.source(), pin, locked=False)
    assert [path for path in store.root.glob("sources/**/*") if path.is_file()] == []


def test_update_takes_no_older_revision(archive: Archive, tmp_path: Path) -> None:
    archive.publish("4.17.5+72-1")
    store, flavor = Store(tmp_path / "store"), load_flavor(archive.tree, "xen")
    pin = resolve(archive.tree, store, archive.source(), locked=False)
    result = update(archive.tree, store, flavor, archive.source(), 0)
    assert (result.old, result.new) == (pin, pin)
    archive.publish("4.17.5+9-1")
    with pytest.raises(SproutError, match=r"to be had is 4\.17\.5\+9-1, the lock has 4\.17\.5\+72"):
        update(archive.tree, store, flavor, archive.source(), 0)
    assert load_lock(archive.tree) == (pin,)


def test_nothing_of_the_machines_apt_is_touched(archive: Archive, tmp_path: Path) -> None:
    archive.publish("4.17.5-1")
    before = sorted(Path("/var/lib/apt/lists").glob("*"))
    store = Store(tmp_path / "store")
    resolve(archive.tree, store, archive.source(), locked=False)
    assert sorted(Path("/var/lib/apt/lists").glob("*")) == before
    written = (store.lists / "parts/sprout.sources").read_text()
    assert "Types: deb-src" in written
    assert "/nowhere" not in written
