"""Fragments, flavors, sources and the lock: what users edit is checked where it is read."""

from __future__ import annotations

import datetime
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


def test_fragments_that_contradict_each_other(tree: Path) -> None:
    (tree / "kernels/fragments/other.config").write_text("# Why.\n# CONFIG_NET is not set\n")
    flavor = tree / "kernels/flavors/zone.toml"
    flavor.write_text(flavor.read_text().replace('"core",', '"core", "other",'))
    with pytest.raises(SproutError, match=r"network\.config:2: CONFIG_NET=y contradicts"):
        load_flavor(tree, "zone").requests()


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
