"""Configuration as a contract: what a flavor asks for is what the final `.config` has.

Kconfig drops an option with an unmet dependency without a word; here that is an error which
names the option, what came out, which fragment asked, and the dependency.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.base.run import check, run
from sprout.kernel.dotconfig import parse
from sprout.kernel.flavor import Flavor
from sprout.kernel.fragment import UNSET, Request
from sprout.kernel.kbuild import Kbuild

_MAX_CONFIG_BYTES = 4 << 20
_EXPLAIN_SOURCE = Path(__file__).with_name("explain.c")
_MAX_LISTED = 8


@dataclass(frozen=True)
class Breach:
    """An option that came out other than asked: the request, the value, and Kconfig's reason."""

    request: Request
    actual: str
    reason: str

    def __str__(self) -> str:
        """Give the breach in one line."""
        actual = "not set" if self.actual == UNSET else self.actual
        asked = "not set" if self.request.value == UNSET else self.request.value
        return (
            f"{self.request.where}: {self.request.option} was asked to be {asked} "
            f"and came out {actual}{self.reason}"
        )


def configure(kbuild: Kbuild, flavor: Flavor, version: str) -> dict[str, str]:
    """Write the final `.config` into the build directory and give its values.

    `version` is the upstream version of the source.

    Raises SproutError for every option that the flavor asked for and did not get, unless a
    waiver names it; a waiver that nothing needs is an error too.
    """
    requests = flavor.requests(version)
    wanted = "".join(f"{request.line()}\n" for request in requests)
    kbuild.out.mkdir(parents=True, exist_ok=True)
    target = kbuild.out / ".config"
    label = f"configuring {flavor.name}"
    if flavor.base == "defconfig":
        kbuild.make(label, ["defconfig"])
        with target.open("a") as config:
            config.write(wanted)
        kbuild.make(label, ["olddefconfig"])
    else:
        # Options that nobody asked for stay at the base's value, also newly visible ones.
        fragment = kbuild.out / "requested.config"
        fragment.write_text(wanted)
        kbuild.make(label, [f"KCONFIG_ALLCONFIG={fragment}", flavor.base])
    final = parse(read_bounded(target, _MAX_CONFIG_BYTES).decode(errors="replace"))
    _keep_contract(kbuild, flavor, requests, final)
    return final


def _keep_contract(
    kbuild: Kbuild,
    flavor: Flavor,
    requests: list[Request],
    final: dict[str, str],
) -> None:
    missed = [r for r in requests if final.get(r.option, UNSET) != r.value]
    _refuse_idle_waivers(flavor, {request.option for request in missed})
    waived = {waiver.option for waiver in flavor.waivers}
    open_requests = [request for request in missed if request.option not in waived]
    if not open_requests:
        return
    reasons = _explain(kbuild, [request.option for request in open_requests])
    breaches = [
        Breach(r, final.get(r.option, UNSET), reasons.get(r.option, ""))
        for r in open_requests[:_MAX_LISTED]
    ]
    more = len(open_requests) - len(breaches)
    message = "; ".join(str(breach) for breach in breaches) + (f"; and {more} more" if more else "")
    raise SproutError(
        message,
        "Ask for what it depends on in a fragment, drop the option, or add a [[waivers]] entry "
        f"with reason and end date to {flavor.path}.",
    )


def _refuse_idle_waivers(flavor: Flavor, missed: set[str]) -> None:
    for waiver in flavor.waivers:
        if waiver.option not in missed:
            raise SproutError(
                f"{flavor.path}: the waiver for {waiver.option} waives nothing",
                "Remove it: no fragment asks for that option in vain.",
            )


def _explain(kbuild: Kbuild, options: list[str]) -> dict[str, str]:
    """Ask the source's own Kconfig parser why each option has its value."""
    scripts = kbuild.out / kbuild.kconfig
    objects = sorted(path for path in scripts.glob("*.o") if path.name != "conf.o")
    program = kbuild.out / "explain"
    sources = kbuild.source / "scripts"
    check(
        [
            "gcc",
            "-O1",
            f"-I{kbuild.source / kbuild.kconfig}",
            f"-I{sources}/include",
            f"-I{scripts}",
        ]
        + [str(_EXPLAIN_SOURCE), *map(str, objects), "-o", str(program)],
        f"{kbuild.kconfig} of this source is not like the ones known so far; report it.",
        env=kbuild.environment(),
    )
    names = [option.removeprefix("CONFIG_") for option in options]
    output = run([program, "Kconfig", *names], cwd=kbuild.out, env=kbuild.kconfig_environment())
    text = output.stdout.decode(errors="replace")
    reasons = {
        f"CONFIG_{name}": ": this kernel has no such option"
        for name in re.findall(r"^unknown (\S+)$", text, re.MULTILINE)
    }
    for block in re.split(r"^symbol ", text, flags=re.MULTILINE)[1:]:
        name = block.split("\n", 1)[0].strip()
        reasons[f"CONFIG_{name}"] = _reason(block)
    return reasons


def _reason(block: str) -> str:
    """Give the part of Kconfig's own description that explains the value."""
    parts = []
    for depends in re.findall(r"^\s*Depends on: (.*)$", block, re.MULTILINE):
        bad = _unmet(depends)
        parts.append(f"; unmet: {', '.join(bad)} in `depends on {depends}`" if bad else "")
    for asked in re.findall(r"^\s*Asked if: (.*)$", block, re.MULTILINE):
        if not "".join(parts):
            bad = _unmet(asked)
            parts.append(f"; unmet: {', '.join(bad)} in `if {asked}` of its prompt" if bad else "")
    selected = re.findall(r"^\s*Selected by \[[ym]\]:\n((?:\s+- .*\n)+)", block, re.MULTILINE)
    for group in selected:
        parts.append("; selected by" + ",".join(group.replace("\n", "").split("  - ")))
    if not "".join(parts) and "Prompt:" not in block:
        parts.append("; it has no prompt: only other options can select it")
    return "".join(dict.fromkeys(parts))


def _unmet(condition: str) -> list[str]:
    """Give the terms of a condition, as Kconfig prints it, that are not as it wants them."""
    terms = re.findall(r"!?\b\w+ \[=[^]]*\]", condition)
    return [term for term in terms if term.endswith("[=n]") != term.startswith("!")]
