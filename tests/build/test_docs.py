"""Every command in the README and the docs is run, so that none of them can go stale."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from commands import ROOT

from sprout.base.run import check, run

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
# The suite cannot run itself; that it finds its tests is what is left to check.
_SUITE = re.compile(r"\./sprout\.sh test(?P<part> unit| boot)?(?: .*)?")


def commands_of(page: Path) -> list[str]:
    lines = "".join(_BLOCK.findall(page.read_text())).splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip()]


def test_there_are_commands() -> None:
    for page in PAGES:
        if page.name not in ("fresh.md", "benchmarks.md", "boot-cost-steps.md"):
            assert commands_of(page), page


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_of_the_page(page: Path, tree: Path, zone_disk: Path, tmp_path: Path) -> None:
    binaries = Path(sys.executable).parent
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    for entry in (".venv", "sprout", "tests", "pyproject.toml", "sprout.sh"):
        (tree / entry).symlink_to(ROOT / entry)
    # Where the baseline is of another machine, the commit before is built and measured too.
    who = ("-c", "user.name=reader", "-c", "user.email=reader@localhost")
    check(["git", "init", "-q", "-b", "main"], "", cwd=tree)
    for text in ("one", "two"):
        (tree / "notes").write_text(text)
        check(["git", "add", "-A"], "", cwd=tree)
        check(["git", *who, "commit", "-q", "-m", text], "", cwd=tree)
    for text in commands_of(page):
        words = text.replace("$SPROUT_KEYS", str(tmp_path / "keys")).split()
        if _SUITE.fullmatch(text):
            part = _SUITE.fullmatch(text)
            assert part is not None
            words = ["./sprout.sh", "test", *(part["part"] or "").split()]
            words += ["--", "--collect-only", "-q"]
        if words[0] == "./sprout.sh":
            words[0] = str(ROOT / "sprout.sh")
        if "ruff" in text:
            words.append("--check")
        command = ["sh", "-c", 'exec "$@"', "sh", *_quoted(words)]
        # A page is for a person at a terminal, also where this suite is run by CI.
        environment = {name: value for name, value in os.environ.items() if name != "CI"}
        environment["PATH"] = f"{binaries}:{os.environ['PATH']}"
        environment["SPROUT_KEYS"] = str(tmp_path / "keys")
        environment["SOFTHSM2_CONF"] = str(tmp_path / "softhsm2.conf")
        output = run(command, cwd=tree, env=environment, timeout=1500)
        assert output.status == 0, f"{text}\n{output.stderr.decode()}"


def _quoted(words: list[str]) -> list[str]:
    """Join what stands between double quotes, as a shell would."""
    joined = re.findall(r'"([^"]*)"|(\S+)', " ".join(words))
    return [quoted or plain for quoted, plain in joined]
