"""kernel.org's format, served from loopback and verified by the real gpgv."""

from __future__ import annotations

import datetime
import gzip
import lzma
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from commands import Sprout, assert_one_error
from pgp import new_key
from site_server import Site, serving

from sprout.base.errors import SproutError
from sprout.base.run import check
from sprout.kernel import tarball
from sprout.kernel.fetch import Store, ensure, locked_pin, resolve
from sprout.kernel.sources import load_lock, write_lock


@pytest.fixture
def site(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tree, tmp_path_factory.mktemp("site")) as served:
        yield served


def resolve_now(site: Site, tmp_path: Path) -> Path:
    """Resolve and unpack; give the unpacked tree."""
    store = Store(tmp_path / "store")
    pin = resolve(site.tree, store, site.source(), locked=False)
    return store.tree(pin.sha256)


def refused(site: Site, tmp_path: Path, words: str) -> None:
    """Check that it is refused for that reason, with nothing left behind."""
    with pytest.raises(SproutError, match=words):
        resolve_now(site, tmp_path)
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []
    assert not list((tmp_path / "store").glob("fetch-*"))
    assert not (site.tree / "kernels/sources.lock").exists()


def test_newest_of_the_series_is_verified_locked_and_unpacked(site: Site, tmp_path: Path) -> None:
    for version in ("6.12.9", "6.12.10", "6.11.99", "6.120.1"):
        site.publish(version)
    unpacked = resolve_now(site, tmp_path)
    assert "SUBLEVEL = 10" in (unpacked / "Makefile").read_text()
    (pin,) = load_lock(site.tree)
    assert (pin.origin, pin.upstream, pin.file) == ("loopback", "6.12.10", "linux-6.12.10.tar.xz")


def test_altered_tarball(site: Site, tmp_path: Path) -> None:
    packed = site.publish("6.12.9")
    data = bytearray(lzma.decompress(packed.read_bytes()))
    data[700] ^= 1
    packed.write_bytes(lzma.compress(bytes(data)))
    refused(site, tmp_path, "not the ones that were signed")


@pytest.mark.parametrize("altered", [False, True])
def test_signature_over_the_packed_file(site: Site, tmp_path: Path, altered: bool) -> None:
    """As the Xen Project publishes: gzip, in a directory for each version, the file signed."""
    toml = site.tree / "kernels/sources.toml"
    text = toml.read_text()
    for old, new in (
        ('"sha256sums.asc"', '"./"\nlisted = ">{version}/<"'),
        ("linux-{version}.tar.xz", "{version}/linux-{version}.tar.gz"),
        ('"linux-{version}.tar.sign"', '"{version}/linux-{version}.tar.gz.sig"\nsigned = "file"'),
    ):
        text = text.replace(old, new)
    toml.write_text(text)
    for version in ("6.12.9", "6.12.10"):
        packed = site.publish(version)
        folder = site.served / version
        folder.mkdir()
        gz = folder / f"linux-{version}.tar.gz"
        gz.write_bytes(gzip.compress(lzma.decompress(packed.read_bytes())))
        packed.unlink()
        site.sign(gz, output=folder / f"{gz.name}.sig")
        if altered:
            # Packed again it is the same tarball, and not the file that was signed.
            gz.write_bytes(gzip.compress(gzip.decompress(gz.read_bytes()), mtime=1))
    if altered:
        refused(site, tmp_path, "not the ones that were signed")
        return
    assert "SUBLEVEL = 10" in (resolve_now(site, tmp_path) / "Makefile").read_text()
    (pin,) = load_lock(site.tree)
    assert pin.file == "linux-6.12.10.tar.gz"


def test_truncated_tarball(site: Site, tmp_path: Path) -> None:
    packed = site.publish("6.12.9")
    packed.write_bytes(packed.read_bytes()[:-20])
    refused(site, tmp_path, "truncated or damaged")


def test_tarball_signed_by_a_stranger(site: Site, tmp_path: Path) -> None:
    packed = site.publish("6.12.9")
    tar = packed.with_suffix("")
    tar.write_bytes(lzma.decompress(packed.read_bytes()))
    site.sign(tar, signer=new_key(site.gpg, "stranger"))
    refused(site, tmp_path, "signed by a key that is not pinned")


def test_signature_by_an_expired_key(site: Site, tmp_path: Path) -> None:
    long_ago = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC).strftime("%Y%m%dT%H%M%S")
    old = new_key(site.gpg, "old", "--faked-system-time", f"{long_ago}!")
    export = ["gpg", "--homedir", str(site.gpg), "--armor", "--export", old]
    (site.tree / "kernels/keys" / f"{old}.asc").write_bytes(check(export, "gpg"))
    toml = site.tree / "kernels/sources.toml"
    toml.write_text(toml.read_text().replace(f'["{site.signer}"]', f'["{old}"]'))
    packed = site.publish("6.12.9")
    tar = packed.with_suffix("")
    tar.write_bytes(lzma.decompress(packed.read_bytes()))
    site.sign(tar, "--faked-system-time", f"{long_ago}!", signer=old)
    refused(site, tmp_path, "the key has expired")


def test_no_signature_at_all(site: Site, tmp_path: Path) -> None:
    site.publish("6.12.9")
    (site.served / "linux-6.12.9.tar.sign").write_text("hello")
    refused(site, tmp_path, "that is no signature")
    (site.served / "linux-6.12.9.tar.sign").unlink()
    refused(site, tmp_path, "404")


def test_origin_that_does_not_verify_is_not_passed_over(site: Site, tmp_path: Path) -> None:
    """A good origin behind it must not hide that somebody tampers with the first."""
    site.publish("6.12.9")
    toml = site.tree / "kernels/sources.toml"
    text = toml.read_text()
    own = text.rindex("[[")
    first = text[own:].replace("loopback", "first").replace("tar.sign", "tar.bad")
    toml.write_text(f"{text[:own]}{first}\n{text[own:]}")
    (site.served / "linux-6.12.9.tar.bad").write_text("hello")
    refused(site, tmp_path, "first: linux-6.12.9.tar.xz: its signature does not verify")


def test_old_version_under_a_new_name(site: Site, tmp_path: Path) -> None:
    site.publish("6.12.99", says="6.12.3")
    refused(site, tmp_path, r"holds version 6\.12\.3, not 6\.12\.99")


def test_over_long_tarball(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.publish("6.12.9", padding=32 << 20)
    monkeypatch.setattr(tarball, "MAX_UNPACKED_BYTES", 16 << 20)
    refused(site, tmp_path, "unpacks to more than 16,777,216 bytes")
    monkeypatch.setattr(tarball, "MAX_PACKED_BYTES", 1 << 10)
    refused(site, tmp_path, "is longer than 1,024 bytes")


def test_file_that_changed_after_it_was_locked(site: Site, tmp_path: Path) -> None:
    site.publish("6.12.9")
    resolve_now(site, tmp_path)
    (pin,) = load_lock(site.tree)
    site.publish("6.12.9", padding=99)  # signed, but not what was locked
    with pytest.raises(SproutError, match="the lock says"):
        ensure(site.tree, Store(tmp_path / "other"), site.source(), pin, locked=False)
    assert load_lock(site.tree) == (pin,)


def test_version_that_is_gone(site: Site, tmp_path: Path) -> None:
    packed = site.publish("6.12.9")
    resolve_now(site, tmp_path)
    (pin,) = load_lock(site.tree)
    packed.unlink()
    (site.served / "sha256sums.asc").unlink()
    site.publish("6.12.10")
    empty = Store(tmp_path / "other")
    with pytest.raises(SproutError, match="404"):
        ensure(site.tree, empty, site.source(), pin, locked=True)
    assert load_lock(site.tree) == (pin,)
    assert ensure(site.tree, empty, site.source(), pin, locked=False).upstream == "6.12.10"
    assert [pin.upstream for pin in load_lock(site.tree)] == ["6.12.10"]


@pytest.mark.parametrize(
    ("field", "old", "new"),
    [
        ("base", "http://127.0.0.1", "file:///etc"),
        ("base", "http://127.0.0.1", "http://[::1"),
        ("file", "linux-{version}.tar.xz", "/tmp/linux-{version}.tar.xz"),
        ("file", "linux-{version}.tar.xz", "../linux-{version}.tar.xz"),
        ("file", "linux-{version}.tar.xz", "linux.tar.xz"),
        ("signature", "linux-{version}.tar.sign", "linux-{nope}.sign"),
        ("index", "sha256sums.asc", "../index"),
        ("series", '"6.12"', '"6.*"'),
    ],
)
def test_origin_that_points_elsewhere(site: Site, field: str, old: str, new: str) -> None:
    toml = site.tree / "kernels/sources.toml"
    toml.write_text(toml.read_text().replace(old, new))
    with pytest.raises(SproutError, match=rf"sources\.toml: .*{field}: is no"):
        site.source()


def test_locked_origin_that_this_machine_cannot_reach(site: Site, tmp_path: Path) -> None:
    """Another locked pin is as good, and is what later builds use without asking again."""
    site.publish("6.12.9")
    store = Store(tmp_path / "store")
    pin = resolve(site.tree, store, site.source(), locked=False)
    toml = site.tree / "kernels/sources.toml"
    text = toml.read_text()
    own = text.rindex("[[")
    far = text[own:].replace("loopback", "far").replace("127.0.0.1", "127.0.0.1:1/x")
    far = re.sub(r"http://127\.0\.0\.1:1/x:[0-9]+/", "http://127.0.0.1:1/", far)
    toml.write_text(f"{text[:own]}{far}\n{text[own:]}")
    gone = replace(pin, origin="far", version="6.12.100", upstream="6.12.100", sha256="0" * 64)
    write_lock(site.tree, (gone, pin))
    empty = Store(tmp_path / "other")
    assert locked_pin(site.tree, empty, site.source()) == gone
    assert ensure(site.tree, empty, site.source(), gone, locked=True) == pin
    assert locked_pin(site.tree, empty, site.source()) == pin


def test_command_refuses_an_altered_tarball(site: Site, sprout: Sprout, tmp_path: Path) -> None:
    packed = site.publish("6.12.9")
    tar = bytearray(lzma.decompress(packed.read_bytes()))
    tar[1024] ^= 1
    packed.write_bytes(lzma.compress(bytes(tar)))
    cache = tmp_path / "cache"
    output = sprout("--tree", site.tree, "build", "zone-kernel", env={"SPROUT_CACHE": str(cache)})
    assert_one_error(output, "linux-6.12.9.tar.xz", "signature does not verify")
    assert not (cache / "sources").exists()
    assert not (site.tree / "kernels/sources.lock").exists()
