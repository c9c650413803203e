"""Fragments, flavors, sources and the lock: what users edit is checked where it is read."""

from __future__ import annotations

import datetime
import re
import shutil
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.kernel.dotconfig import compare, parse
from sprout.kernel.flavor import load_flavor
from sprout.kernel.fragment import load_fragment
from sprout.kernel.sources import Pin, load_lock, load_sources, with_pin, write_lock

ROOT = Path(__file__).parents[2]


def refused(text: str, tmp_path: Path) -> SproutError:
    path = tmp_path / "x.config"
    path.write_text(text)
    with pytest.raises(SproutError) as caught:
        load_fragment(path)
    return caught.value


def test_every_fragment_of_this_tree_loads() -> None:
    for path in (ROOT / "kernels" / "fragments").rglob("*.config"):
        fragment = load_fragment(path)
        assert fragment.reason.endswith(".")
        assert fragment.requests


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("CONFIG_A=y", "y"),
        ("CONFIG_A=-1", "-1"),
        ("CONFIG_A=0xFF", "0xFF"),
        ('CONFIG_A="a \\" b"', '"a \\" b"'),
        ("# CONFIG_A is not set", "n"),
    ],
)
def test_fragment_values(line: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / "x.config"
    path.write_text(f"# Why.\n\n# a remark\n{line}\n")
    (request,) = load_fragment(path).requests
    assert (request.option, request.value) == ("CONFIG_A", value)
    assert request.where == f"{path}:4"
    assert request.line() == line


@pytest.mark.parametrize(
    "line", ["CONFIG_A", "CONFIG_A = y", "CONFIG_A=yes", "#CONFIG_A=y", "A=y", 'CONFIG_A="x']
)
def test_fragment_line_that_does_not_parse(line: str, tmp_path: Path) -> None:
    error = refused(f"# Why.\n{line}\n", tmp_path)
    assert "x.config:2: does not parse" in error.message


def test_fragment_without_a_reason(tmp_path: Path) -> None:
    assert "x.config:1" in refused("CONFIG_A=y\n", tmp_path).message
    assert "x.config:1" in refused("# CONFIG_A is not set\n", tmp_path).message


def test_fragment_that_asks_twice(tmp_path: Path) -> None:
    error = refused("# Why.\nCONFIG_A=y\n# CONFIG_A is not set\n", tmp_path)
    assert "x.config:3: CONFIG_A stands here twice" in error.message


def test_fragment_lines_are_for_versions(tmp_path: Path) -> None:
    path = tmp_path / "x.config"
    path.write_text(
        "# Why.\nCONFIG_A=y\n# versions: >=6.9\n# a remark\nCONFIG_NEW=y\nCONFIG_B=2\n"
        "# versions: <6.9\nCONFIG_OLD=y\nCONFIG_B=1\n\nCONFIG_C=y\n"
    )
    requests = load_fragment(path).requests
    asked = {
        version: " ".join(row.line() for row in requests if row.applies_to(version))
        for version in ("6.1.192", "6.9", "6.12.117")
    }
    new = "CONFIG_A=y CONFIG_NEW=y CONFIG_B=2 CONFIG_C=y"
    old = "CONFIG_A=y CONFIG_OLD=y CONFIG_B=1 CONFIG_C=y"
    assert asked == {"6.1.192": old, "6.9": new, "6.12.117": new}


@pytest.mark.parametrize("text", ["", "6.9", "newer", ">=6.9, or so"])
def test_fragment_versions_that_are_none(text: str, tmp_path: Path) -> None:
    error = refused(f"# Why.\n# versions: {text}\nCONFIG_A=y\n", tmp_path)
    assert f"x.config:2: {text or 'nothing'} is no constraint" in error.message


def test_versions_of_a_fragment_do_not_excuse_two_values(tree: Path) -> None:
    fragment = tree / "kernels/fragments/core.config"
    more = "\n# versions: >=6.9\nCONFIG_ODD=1\n# versions: <6.13\nCONFIG_ODD=2\n"
    fragment.write_text(fragment.read_text() + more)
    flavor = load_flavor(tree, "zone")
    assert "CONFIG_ODD" in {row.option for row in flavor.requests("6.1.192")}
    with pytest.raises(SproutError, match="CONFIG_ODD=2 contradicts CONFIG_ODD=1"):
        flavor.requests("6.12.117")


def test_fragments_that_contradict_each_other(tree: Path) -> None:
    (tree / "kernels/fragments/other.config").write_text("# Why.\n# CONFIG_NET is not set\n")
    flavor = tree / "kernels/flavors/zone.toml"
    flavor.write_text(flavor.read_text().replace('"core",', '"core", "other",'))
    with pytest.raises(SproutError, match=r"network\.config:2: CONFIG_NET=y contradicts"):
        load_flavor(tree, "zone").requests("6.12.117")


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('base = "allnoconfig"', 'base = "randconfig"', "base: randconfig is unknown"),
        ('"core",', '"../core",', "fragments: there is no"),
        ('"core",', '"missing",', "missing.config"),
        ('localversion = "-zone"', 'localversion = "zone"', "localversion"),
        ('base = "allnoconfig"', 'colour = 1\nbase = "allnoconfig"', "colour: is an unknown key"),
        ('arch = "x86_64"', "arch = 64", "arch: is not a string"),
    ],
)
def test_flavor_field_that_is_wrong(tree: Path, old: str, new: str, field: str) -> None:
    path = tree / "kernels/flavors/zone.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SproutError) as caught:
        load_flavor(tree, "zone")
    assert "zone.toml" in caught.value.message
    assert field in caught.value.message


def test_unknown_key_is_told_with_those_that_may_be(tree: Path) -> None:
    path = tree / "kernels/flavors/zone.toml"
    path.write_text(f"colour = 1\n{path.read_text()}")
    with pytest.raises(SproutError) as caught:
        load_flavor(tree, "zone")
    for key in ("fragments", "kind", "like", "patches", "waivers"):
        assert key in caught.value.hint


def test_flavor_like_another(tree: Path) -> None:
    """It says in what it differs; what it lists is added."""
    flavors = tree / "kernels/flavors"
    (tree / "kernels/fragments/mine.config").write_text("# Why.\nCONFIG_MINE=y\n")
    (flavors / "mine.toml").write_text(
        'like = "zone"\nlocalversion = "-mine"\nfragments = ["mine"]\n'
        '[[waivers]]\noption = "CONFIG_MINE"\nreason = "a"\nuntil = 2027-01-31\n'
    )
    zone, mine = load_flavor(tree, "zone"), load_flavor(tree, "mine")
    assert (mine.name, mine.source, mine.localversion) == ("mine", zone.source, "-mine")
    assert [row.path for row in mine.fragments] == [
        *(row.path for row in zone.fragments),
        tree / "kernels/fragments/mine.config",
    ]
    assert (mine.patches, len(mine.waivers)) == (zone.patches, 1)
    assert mine.paths == (flavors / "mine.toml", flavors / "zone.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('like = "nothing"', "there is no flavor nothing"),
        ('like = "../flavors/zone"', "there is no flavor"),
        ('like = "mine"', "mine.toml: like: mine is itself like another"),
        ('like = "zone-6-1"', "mine.toml: like: zone-6-1 is itself like another"),
        ('like = "zone"\nbase = "randconfig"', "mine.toml: base: randconfig is unknown"),
        ('like = "zone"\ncolour = 1', "mine.toml: colour: is an unknown key"),
        ('like = "zone"\nfragments = ["none"]', "mine.toml: fragments: there is no"),
        ('like = "zone"\nlocalversion = "mine"', "mine.toml: localversion"),
    ],
)
def test_flavor_like_what_it_cannot_be(tree: Path, text: str, said: str) -> None:
    (tree / "kernels/flavors/mine.toml").write_text(text)
    with pytest.raises(SproutError, match=re.escape(said)):
        load_flavor(tree, "mine")


def test_flavor_that_is_not_there(tree: Path) -> None:
    for name in ("nothing", "../flavors/zone"):
        with pytest.raises(SproutError, match="there is no flavor"):
            load_flavor(tree, name)


def test_waiver_holds_to_its_last_day(tree: Path) -> None:
    path = tree / "kernels/flavors/zone.toml"
    waiver = '[[waivers]]\noption = "CONFIG_X"\nreason = "a"\nuntil = 2027-01-31\n'
    path.write_text(path.read_text() + waiver)
    flavor = load_flavor(tree, "zone")
    flavor.check_waivers(datetime.date(2027, 1, 31))
    with pytest.raises(SproutError, match="the waiver for CONFIG_X ended on 2027-01-31"):
        flavor.check_waivers(datetime.date(2027, 2, 1))


def test_patches_are_chosen_by_version(tree: Path) -> None:
    (tree / "kernels/patches").mkdir(exist_ok=True)
    (tree / "kernels/patches/a.patch").write_text("")
    path = tree / "kernels/flavors/zone.toml"
    patch = '[[patches]]\nfile = "a.patch"\nversions = ">=6.12.100,<6.12.120"\nreason = "a"\n'
    own = path.read_text().split("[[patches]]")[0]
    path.write_text(own + patch)
    flavor = load_flavor(tree, "zone")
    chosen = {v: len(flavor.patches_for(v)) for v in ("6.12.9", "6.12.100", "6.12.120", "6.13")}
    assert chosen == {"6.12.9": 0, "6.12.100": 1, "6.12.120": 0, "6.13": 0}


def test_lock_is_written_as_it_is_read(tree: Path) -> None:
    before = load_lock(tree)
    assert before
    text = (tree / "kernels/sources.lock").read_bytes()
    write_lock(tree, before)
    assert (tree / "kernels/sources.lock").read_bytes() == text


def test_pin_replaces_the_one_of_its_place() -> None:
    old = Pin("linux", "debian", "debian-12", "1-1", "6.12.1", "a.deb", "0" * 64)
    new = Pin("linux", "debian", "debian-12", "2-1", "6.12.2", "b.deb", "1" * 64)
    other = Pin("linux", "debian", "debian-13", "1-1", "6.12.1", "c.deb", "2" * 64)
    assert with_pin((old, other), new) == (new, other)


@pytest.mark.parametrize(
    ("field", "value"),
    [("sha256", "abc"), ("file", "../x.deb"), ("upstream", "six"), ("upstream", "6.12; rm")],
)
def test_lock_field_that_is_wrong(tree: Path, field: str, value: str) -> None:
    path = tree / "kernels/sources.lock"
    lines = path.read_text().splitlines()
    lines = [f'{field} = "{value}"' if line.startswith(f"{field} =") else line for line in lines]
    path.write_text("\n".join(lines))
    with pytest.raises(SproutError, match=f"sources.lock: .*{field}"):
        load_lock(tree)


def test_origin_whose_key_is_missing(tree: Path) -> None:
    shutil.rmtree(tree / "kernels/keys")
    with pytest.raises(SproutError, match="keys: 647F28654894E3BD457199BE38DBBDC86092693E has no"):
        load_sources(tree)


def test_configurations_compare_without_the_toolchain() -> None:
    old = parse("CONFIG_A=y\nCONFIG_B=1\nCONFIG_GCC_VERSION=120200\n# CONFIG_D is not set\n")
    new = parse('CONFIG_B=2\nCONFIG_C="x"\nCONFIG_GCC_VERSION=140200\n')
    changes = compare(old, new)
    assert changes.new == {"CONFIG_C": '"x"'}
    assert changes.lost == {"CONFIG_A": "y"}
    assert changes.changed == {"CONFIG_B": ("1", "2")}
