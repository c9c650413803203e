"""Rules for a kernel's final configuration, and whether it keeps them.

`kernels/rules.toml` holds the rules, and `kernels/waivers.toml` says which of them a flavor does
not keep, why, and until when.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from sprout.base.errors import SproutError
from sprout.base.table import Table, load_table

_KNOWN = re.compile(r"^(?:CONFIG_(\w+)=(.*)|# CONFIG_(\w+) is not set)$", re.MULTILINE)
_CONDITION = re.compile(
    r"([A-Z0-9][A-Za-z0-9_]{0,99})=(y|n|max|there|absent|[0-9]{1,12}|0x[0-9a-f]{1,16})"
)
_LONGEST = datetime.timedelta(days=550)
_VERSION = re.compile(r"VERSION>=([0-9]{1,3}(?:\.[0-9]{1,4}){1,3})")


@dataclass(frozen=True)
class Configuration:
    """A final `.config`: the value of every option that it names, "n" for one that is off."""

    values: Mapping[str, str]
    version: Version


@dataclass(frozen=True)
class Condition:
    """One option, without CONFIG_, and what it has to be; or VERSION, and the least one."""

    option: str
    wanted: str

    def holds(self, config: Configuration) -> bool:
        """Tell whether a configuration meets it."""
        if self.option == "VERSION":
            return config.version >= Version(self.wanted)
        value = config.values.get(self.option)
        match self.wanted:
            case "n":
                return value in (None, "n")
            case "there":
                return value is not None
            case "absent":
                return value is None
            case "max":
                return config.values.get(f"{self.option}_MAX") in (None, value)
            case _:
                return value == self.wanted


@dataclass(frozen=True)
class Rule:
    """Alternatives, one of which has to hold with all its conditions; its topic, and why.

    One that `is_own` is this project's, and not counted with those of the public checker.
    """

    topic: str
    reason: str
    text: str
    alternatives: tuple[tuple[Condition, ...], ...]
    is_own: bool

    @property
    def name(self) -> str:
        """Give what it is listed by: its first condition, such as "SECCOMP=y"."""
        first = self.alternatives[0][0]
        return f"{first.option}={first.wanted}"

    def holds(self, config: Configuration) -> bool:
        """Tell whether a configuration keeps the rule."""
        return any(all(row.holds(config) for row in rows) for rows in self.alternatives)


@dataclass(frozen=True)
class RuleWaiver:
    """Leave for a flavor not to keep a rule: why, and the last day on which it holds."""

    reason: str
    until: datetime.date


@dataclass(frozen=True)
class Judged:
    """A rule, whether it is kept, and the leave not to."""

    rule: Rule
    holds: bool
    waiver: RuleWaiver | None

    @property
    def is_refused(self) -> bool:
        """Tell whether the rule is broken without leave, or has leave that nobody needs."""
        return self.holds == (self.waiver is not None)


def read_configuration(text: str, version: str) -> Configuration:
    """Read a final `.config` of a kernel of that version."""
    values = {on or off: value.strip('"') if on else "n" for on, value, off in _KNOWN.findall(text)}
    return Configuration(values, Version(version))


def load_rules(tree: Path) -> tuple[Rule, ...]:
    """Read the rules of the tree at `tree`.

    Raises SproutError naming the field that is malformed, or a rule that is there twice.
    """
    table = load_table(tree / "kernels" / "rules.toml")
    rules: dict[str, Rule] = {}
    for group in table.tables("group"):
        topic, reason = group.text("topic"), _reason(group)
        is_own = group.flag("own", default=False)
        for text in group.texts("rules"):
            rule = Rule(topic, reason, text, _alternatives(group, text), is_own)
            if rules.setdefault(rule.name, rule) is not rule:
                raise group.error("rules", f"{rule.name} is there twice", "Keep one of the two.")
        group.finish()
    table.finish()
    return tuple(rules.values())


def _alternatives(group: Table, text: str) -> tuple[tuple[Condition, ...], ...]:
    try:
        return parse_rule(text)
    except ValueError as error:
        raise group.error("rules", str(error), 'Write e.g. "SECCOMP=y".') from error


def parse_rule(text: str) -> tuple[tuple[Condition, ...], ...]:
    """Read alternatives between |, of conditions between &; raises ValueError."""
    return tuple(
        tuple(_condition(part.strip()) for part in alternative.split("&"))
        for alternative in text.split("|")
    )


def keeps(text: str, config: Configuration) -> bool:
    """Tell whether a configuration keeps a rule that is well formed; raises ValueError."""
    return any(all(row.holds(config) for row in rows) for rows in parse_rule(text))


def _condition(text: str) -> Condition:
    if match := _VERSION.fullmatch(text):
        return Condition("VERSION", match[1])
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no condition")
    return Condition(match[1], match[2])


def _reason(table: Table) -> str:
    reason = table.text("reason").strip()
    if not reason.isprintable() or not reason:
        raise table.error("reason", "is no line of text", "Say why in one line.")
    return reason


def load_rule_waivers(
    tree: Path, rules: tuple[Rule, ...], today: datetime.date
) -> dict[str, dict[str, RuleWaiver]]:
    """Read the waivers: by flavor, then by the rule's name.

    Raises SproutError naming the field that is malformed, a rule or flavor that is unknown, an end
    that is years away, or a rule that a flavor has two waivers for.
    """
    table = load_table(tree / "kernels" / "waivers.toml")
    names = {rule.name for rule in rules}
    known = {path.stem for path in (tree / "kernels" / "flavors").glob("*.toml")}
    found: dict[str, dict[str, RuleWaiver]] = {}
    for entry in table.tables("waiver"):
        waiver = RuleWaiver(_reason(entry), entry.date("until"))
        if waiver.until - today > _LONGEST:
            hint = f"Leave is for {_LONGEST.days} days at most; renew it while its reason holds."
            raise entry.error("until", f"{waiver.until} is too far away", hint)
        flavors, waived = entry.texts("flavors"), entry.texts("rules")
        entry.finish()
        for flavor in flavors:
            if flavor not in known:
                raise entry.error("flavors", f"there is no flavor {flavor}", "Take it out.")
            for name in waived:
                if name not in names:
                    raise entry.error("rules", f"there is no rule {name}", "Take it out.")
                if found.setdefault(flavor, {}).setdefault(name, waiver) is not waiver:
                    raise entry.error("rules", f"{name} is waived twice", "Keep one of the two.")
    table.finish()
    return found


def audit(
    rules: tuple[Rule, ...],
    waivers: Mapping[str, RuleWaiver],
    config: Configuration,
    today: datetime.date,
) -> list[Judged]:
    """Judge a configuration by every rule; a waiver that has ended is no leave to break one."""
    judged = []
    for rule in rules:
        holds, waiver = rule.holds(config), waivers.get(rule.name)
        if waiver is not None and waiver.until < today and not holds:
            waiver = None
        judged.append(Judged(rule, holds, waiver))
    return judged


def check_audit(judged: list[Judged], flavor: str) -> None:
    """Raise SproutError when a rule is broken without leave, or has leave that nobody needs."""
    broken = [row.rule.name for row in judged if row.is_refused and not row.holds]
    if broken:
        raise SproutError(
            f"{flavor}: {len(broken)} rules are broken without leave: {', '.join(broken)}",
            "Set the options in a fragment, or say why not, and until when, in "
            "kernels/waivers.toml.",
        )
    kept = [row.rule.name for row in judged if row.is_refused]
    if kept:
        raise SproutError(
            f"kernels/waivers.toml: {flavor} keeps {', '.join(kept)}, and has leave not to",
            "Take the leave out, so that it stays so.",
        )
