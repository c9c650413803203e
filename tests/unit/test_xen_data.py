"""What a tree says about Xen: the flavor, its sources, the lock, and which archives apt has."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.kernel.apt_lists import private_lists
from sprout.kernel.flavor import load_flavor
from sprout.kernel.sources import (
    AptOrigin,
    AptSourceOrigin,
    Pin,
    TarballOrigin,
    in_series,
    load_lock,
    load_sources,
    write_lock,
)
from sprout.kernel.xen_make import interface_versions
from sprout.kernel.xen_tools import check_interfaces

SUITE = platform.freedesktop_os_release()["VERSION_CODENAME"]
PIN = Pin("xen", "debian", "debian-12", "4.17.5-1", "4.17.5", "a.orig.tar.xz", "0" * 64)
PART = f"{'1' * 64}  a-1.debian.tar.xz"


def test_flavor_of_this_tree_is_built_from_a_source_package(tree: Path) -> None:
    flavor = load_flavor(tree, "xen")
    assert (flavor.kind, flavor.hypervisor, flavor.localversion) == ("xen", "built", "")
    source = load_sources(tree)[flavor.source]
    assert isinstance(source.origins[0], AptSourceOrigin)
    assert flavor.tools_source == flavor.source
    asked = {request.option: request.value for request in flavor.requests("4.17.5")}
    assert "CONFIG_LOCALVERSION" not in asked
    assert asked["CONFIG_EXPERT"] == "n"


def test_one_line_takes_the_packaged_hypervisor(tree: Path) -> None:
    path = tree / "kernels/flavors/xen.toml"
    path.write_text(path.read_text().replace('"built"', '"packaged"'))
    flavor = load_flavor(tree, "xen")
    assert (flavor.source, flavor.tools_source) == ("xen-packaged", "xen")
    origins = load_sources(tree)[flavor.source].origins
    assert all(isinstance(origin, AptOrigin) and origin.files for origin in origins)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('kind = "xen"', 'kind = "mach"', "kind: mach is unknown"),
        ('"built"', '"borrowed"', "hypervisor: borrowed is unknown"),
        ('kind = "xen"', 'kind = "xen"\nlocalversion = "-a"', "localversion: is an unknown key"),
        ('kind = "xen"', 'kind = "linux"\nlocalversion = "-a"', "hypervisor: is an unknown key"),
    ],
)
def test_flavor_field_that_is_wrong(tree: Path, old: str, new: str, field: str) -> None:
    path = tree / "kernels/flavors/xen.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SproutError, match=field):
        load_flavor(tree, "xen")


def test_series() -> None:
    assert in_series("4.17.5", "4")
    assert in_series("4.17.5", "4.17")
    assert in_series("4.17", "4.17")
    assert in_series("4.17.5", "")
    assert not in_series("4.170.5", "4.17")
    assert not in_series("40.1", "4")


def test_every_file_of_a_pin_is_locked(tree: Path) -> None:
    pin = replace(PIN, parts=(PART,))
    write_lock(tree, (pin,))
    assert load_lock(tree) == (pin,)
    assert pin.checksums() == {"a.orig.tar.xz": "0" * 64, "a-1.debian.tar.xz": "1" * 64}
    # Two packages of one tarball with other patches are two sources.
    assert len({PIN.digest, pin.digest, replace(pin, parts=(PART.replace("1", "2"),)).digest}) == 3
    assert PIN.digest == PIN.sha256


@pytest.mark.parametrize("part", ["abc", f"{'1' * 64}  ../a", f"{'1' * 64} a"])
def test_part_that_is_wrong(tree: Path, part: str) -> None:
    write_lock(tree, (replace(PIN, parts=(part,)),))
    with pytest.raises(SproutError, match=r"sources\.lock: pin\[0\]\.parts"):
        load_lock(tree)


TARBALL = """
[xen]
series = "4"
[[xen.origins]]
name = "project"
kind = "tarball"
base = "https://example.org/xen/"
index = "./"
listed = ">{version}/<"
file = "{version}/xen-{version}.tar.gz"
signature = "{version}/xen-{version}.tar.gz.sig"
signed = "file"
keys = ["647F28654894E3BD457199BE38DBBDC86092693E"]
"""


def test_tarball_in_a_directory_of_its_version(tree: Path) -> None:
    (tree / "kernels/sources.toml").write_text(TARBALL)
    (origin,) = load_sources(tree)["xen"].origins
    assert isinstance(origin, TarballOrigin)
    assert (origin.compression, origin.signed) == ("gz", "file")


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("xen-{version}.tar.gz", "xen-{version}.tar.bz2", "file: is no .tar.xz and no .tar.gz"),
        ('"{version}/xen', '"../xen', "file: is no plain file name"),
        ('"./"', '"../"', "index: is no plain file name"),
        ('"file"', '"both"', "signed: both is unknown"),
        ('"tarball"', '"git"', "kind: git is no kind of origin"),
        ('">{version}/<"', '">all<"', "listed: is nothing with"),
        ('"4"', '"four"', "series: is no series"),
    ],
)
def test_origin_field_that_is_wrong(tree: Path, old: str, new: str, field: str) -> None:
    (tree / "kernels/sources.toml").write_text(TARBALL.replace(old, new))
    with pytest.raises(SproutError, match=field):
        load_sources(tree)


def test_tools_of_another_interface_are_refused() -> None:
    built = {"version": "4.17.5", "domctl": 21, "sysctl": 21}
    check_interfaces(built, built)
    for name in ("domctl", "sysctl"):
        with pytest.raises(SproutError, match=f"{name}: the hypervisor's version is 22"):
            check_interfaces({**built, name: 22}, built)
    # A package says no more than its version.
    check_interfaces({"version": "4.17.7"}, built)
    with pytest.raises(SproutError, match=r"is Xen 4\.20, its tools are of Xen 4\.17"):
        check_interfaces({"version": "4.20.1"}, built)


def test_interface_versions_of_the_public_headers(tmp_path: Path) -> None:
    text = "#define XEN_{}_INTERFACE_VERSION 0x00000015\n"
    for name in ("domctl", "sysctl"):
        (tmp_path / f"{name}.h").write_text(text.format(name.upper()))
    assert interface_versions(tmp_path) == {"domctl": 21, "sysctl": 21}
    (tmp_path / "sysctl.h").write_text("")
    with pytest.raises(SproutError, match=r"sysctl\.h: says no interface version"):
        interface_versions(tmp_path)


def archives(base: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> str:
    """Give the sources that are made of a machine's apt entries, NAME_SUFFIX=content."""
    parts = base / "parts"
    parts.mkdir()
    for name, content in files.items():
        (parts / name.replace("_", ".")).write_text(content)
    (base / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{base}/sources.list";\nDir::Etc::SourceParts "{parts}";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(base / "apt.conf"))
    private_lists(base / "private")
    return (base / "private/parts/sprout.sources").read_text()


def test_entries_of_the_distribution_become_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = archives(
        tmp_path,
        monkeypatch,
        one_list=(
            f"# deb http://a/off {SUITE} main\n"
            f"deb [arch=amd64 signed-by=/k1,/k2 trusted=yes] http://a/debian {SUITE}-updates main\n"
            "deb http://a/other elsewhere main\n"
            f"deb-src http://a/already {SUITE} main\n"
        ),
        two_sources=(
            "Types: deb\n# a remark\nURIs: http://b/debian\n"
            f"Suites: {SUITE} {SUITE}-security other\n"
            "Components: main\n  contrib\nTrusted: yes\nSigned-By:\n -----BEGIN\n .\n abc\n"
            f"\nTypes: deb\nEnabled: no\nURIs: http://b/off\nSuites: {SUITE}\nComponents: main\n"
        ),
        three_save=f"deb http://a/saved {SUITE} main\n",
    )
    assert text == (
        f"Types: deb-src\nURIs: http://a/debian\nSuites: {SUITE}-updates\nComponents: main\n"
        "Signed-By: /k1 /k2\n\n"
        f"Types: deb-src\nURIs: http://b/debian\nSuites: {SUITE} {SUITE}-security\n"
        "Components: main contrib\nSigned-By:\n -----BEGIN\n .\n abc\n"
    )


def test_machine_without_its_distributions_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SproutError, match="no archive of this distribution"):
        archives(tmp_path, monkeypatch, one_list="deb http://a/other elsewhere main\n")
