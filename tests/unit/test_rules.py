"""Rules of hardening: what they mean, and that a broken one needs leave that has not ended."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from commands import ROOT
from packaging.version import Version

from sprout.base.errors import SproutError
from sprout.kernel.rules import (
    Configuration,
    Rule,
    audit,
    check_audit,
    load_rule_waivers,
    load_rules,
    read_configuration,
)

TODAY = datetime.date(2026, 11, 21)
CONFIG = """\
# CONFIG_COMPAT is not set
CONFIG_SECCOMP=y
CONFIG_TRISTATE=m
CONFIG_DEFAULT_MMAP_MIN_ADDR=65536
CONFIG_ARCH_MMAP_RND_BITS=28
CONFIG_ARCH_MMAP_RND_BITS_MAX=32
CONFIG_MAGIC_SYSRQ=y
CONFIG_MAGIC_SYSRQ_DEFAULT_ENABLE=0x0
CONFIG_CMDLINE="CONFIG_BUG=y"
"""


def written(folder: Path, rules: str, waivers: str = "") -> Path:
    (folder / "kernels/flavors").mkdir(parents=True, exist_ok=True)
    for name in ("zone", "host"):
        (folder / f"kernels/flavors/{name}.toml").touch()
    head = '[[group]]\ntopic = "t"\nreason = "because"\n'
    (folder / "kernels/rules.toml").write_text(f"{head}rules = [{rules}]\n")
    (folder / "kernels/waivers.toml").write_text(waivers)
    return folder


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("SECCOMP=y", True),
        ("SECCOMP=n", False),
        ("BUG=y", False),
        ("COMPAT=n", True),
        ("COMPAT=y", False),
        ("COMPAT=there", True),
        ("ABSENT=n", True),
        ("ABSENT=there", False),
        ("ABSENT=absent", True),
        ("COMPAT=absent", False),
        ("SECCOMP=absent", False),
        ("TRISTATE=n", False),
        ("DEFAULT_MMAP_MIN_ADDR=65536", True),
        ("DEFAULT_MMAP_MIN_ADDR=4096", False),
        ("ARCH_MMAP_RND_BITS=max", False),
        ("ARCH_MMAP_RND_COMPAT_BITS=max", True),
        ("MAGIC_SYSRQ=n | MAGIC_SYSRQ_DEFAULT_ENABLE=0x0", True),
        ("SECCOMP=y & COMPAT=y", False),
        ("BUG=y | SECCOMP=y & COMPAT=n", True),
        ("BUG=y | VERSION>=6.9", True),
        ("BUG=y | VERSION>=6.12.1", False),
    ],
)
def test_conditions(tmp_path: Path, rule: str, holds: bool) -> None:
    (found,) = load_rules(written(tmp_path, f'"{rule}"'))
    assert found.holds(read_configuration(CONFIG, "6.12")) is holds


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ('"SECCOMP"', "'SECCOMP' is no condition"),
        ('"SECCOMP=Y"', "is no condition"),
        ('"SECCOMP=y |"', "'' is no condition"),
        ('"VERSION>=six"', "is no condition"),
        ('"A=y", "A=y & B=y"', "A=y is there twice"),
    ],
)
def test_malformed_rules(tmp_path: Path, rules: str, words: str) -> None:
    with pytest.raises(SproutError, match=words):
        load_rules(written(tmp_path, rules))


def waiver(rules: str, until: str = "2027-01-31", flavors: str = '"zone"') -> str:
    return (
        f'[[waiver]]\nflavors = [{flavors}]\nrules = [{rules}]\nreason = "why"\nuntil = {until}\n'
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (waiver('"C=y"'), "there is no rule C=y"),
        (waiver('"A=y", "A=y"'), None),
        (waiver('"A=y"') + waiver('"A=y"', "2027-02-28"), "A=y is waived twice"),
        (waiver('"A=y"', '"soon"'), "until: is not a date"),
        (waiver('"A=y"', "2028-06-01"), "until: 2028-06-01 is too far away"),
        (waiver('"A=y"', flavors='"zoen"'), "flavors: there is no flavor zoen"),
        (waiver('"A=y"').replace("why", ""), "reason: is no line of text"),
        (waiver('"A=y"').replace("why", "\\u001b[31m"), "reason: is no line of text"),
    ],
)
def test_malformed_waivers(tmp_path: Path, text: str, words: str | None) -> None:
    tree = written(tmp_path, '"A=y", "B=y"', text)
    if words is None:
        load_rule_waivers(tree, load_rules(tree), TODAY)
        return
    with pytest.raises(SproutError, match=words):
        load_rule_waivers(tree, load_rules(tree), TODAY)


def verdict(tree: Path, text: str) -> None:
    rules = load_rules(tree)
    waivers = load_rule_waivers(tree, rules, TODAY).get("zone", {})
    check_audit(audit(rules, waivers, read_configuration(text, "6.12"), TODAY), "zone")


def test_what_was_reached_is_kept(tmp_path: Path) -> None:
    """Broken rules need leave, leave ends, and leave that nobody needs is refused too."""
    both, one = "CONFIG_A=y\nCONFIG_B=y\n", "CONFIG_A=y\n"
    tree = written(tmp_path, '"A=y", "B=y"')
    verdict(tree, both)
    with pytest.raises(SproutError, match="1 rules are broken without leave: B=y"):
        verdict(tree, one)
    verdict(written(tmp_path, '"A=y", "B=y"', waiver('"B=y"', "2026-11-21")), one)
    with pytest.raises(SproutError, match="broken without leave: B=y"):
        verdict(written(tmp_path, '"A=y", "B=y"', waiver('"B=y"', "2026-11-20")), one)
    with pytest.raises(SproutError, match="broken without leave: B=y"):
        verdict(written(tmp_path, '"A=y", "B=y"', waiver('"B=y"', flavors='"host"')), one)
    with pytest.raises(SproutError, match="zone keeps B=y, and has leave not to"):
        verdict(written(tmp_path, '"A=y", "B=y"', waiver('"B=y"')), both)
    with pytest.raises(SproutError, match="zone keeps B=y, and has leave not to"):
        verdict(written(tmp_path, '"A=y", "B=y"', waiver('"B=y"', "2020-01-01")), both)


def configurations(rule: Rule) -> Iterator[Configuration]:
    """Give an old kernel's configurations: the rule's options in every state, or all in one."""
    options = list(dict.fromkeys(row.option for rows in rule.alternatives for row in rows))
    states = (None, "y", "n")
    many = ((state,) * len(options) for state in states)
    for values in product(states, repeat=len(options)) if len(options) < 6 else many:
        known = {name: value for name, value in zip(options, values, strict=True) if value}
        most = {f"{name}_MAX": "32" for name in options}
        yield Configuration(most | known, Version("3.0"))


def test_rules_of_this_tree_are_read() -> None:
    rules = load_rules(ROOT)
    # Who takes a rule out, or lets it always hold, says so here.
    assert sum(not rule.is_own for rule in rules) == 222
    assert sum(rule.is_own for rule in rules) == 20
    for rule in rules:
        assert any(not rule.holds(config) for config in configurations(rule)), rule.text
    assert load_rule_waivers(ROOT, rules, TODAY).keys() == {"zone", "host", "zone-6-1", "host-6-1"}
    everything = Configuration({}, read_configuration("", "6.12").version)
    assert 60 < sum(rule.holds(everything) for rule in rules) < len(rules)
