"""The recipes for other people's CI: what CI reads of them, and that the commands in them exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT

from sprout.base.run import run
from sprout.cli.main import parser

yaml = importlib.import_module("yaml")  # it has no types
RECIPES = {path.parent.name: path for path in (ROOT / "ci").glob("*/*.yml")}


class _Words(yaml.SafeLoader):  # type: ignore[misc,name-defined]
    """Reads YAML whose plain words stay words: `on` is no truth value to GitHub."""


_Words.yaml_implicit_resolvers = {}


def read(recipe: str) -> dict[str, Any]:
    found = yaml.load(RECIPES[recipe].read_text(), Loader=_Words)
    assert isinstance(found, dict)
    return found


def github_steps() -> list[dict[str, Any]]:
    (job,) = read("github")["jobs"].values()
    steps = job["steps"]
    assert isinstance(steps, list)
    return steps


def commands_of(recipe: str) -> list[str]:
    """Give the shell commands that CI runs, in order."""
    if recipe == "github":
        return [step["run"] for step in github_steps() if "run" in step]
    (job,) = read(recipe).values()
    return [*job["before_script"], *job["script"]]


def ours(recipe: str) -> list[list[str]]:
    """Give the words of each call of this tool."""
    lines = "\n".join(commands_of(recipe))
    return [line.split(">>")[0].split() for line in re.findall(r"\./sprout\.sh ([^\n]*)", lines)]


def test_there_are_recipes_for_both() -> None:
    assert RECIPES.keys() == {"github", "gitlab"}


@pytest.mark.parametrize("recipe", ["github", "gitlab"])
def test_commands_of_the_recipe_exist(recipe: str) -> None:
    found = ours(recipe)
    assert [words[0] for words in found] == ["build", "cost"]
    for words in found:
        parser(words[0]).parse_args(words)
        assert "--accept" not in words


@pytest.mark.parametrize("recipe", ["github", "gitlab"])
def test_shell_of_the_recipe_parses(recipe: str, tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    commands = commands_of(recipe)
    assert len(commands) >= 4
    script.write_text("\n".join(commands))
    assert run(["bash", "-n", script]).status == 0
    assert any("git remote set-head origin" in command for command in commands)


def test_github_has_the_history_and_keeps_the_page() -> None:
    recipe = read("github")
    assert recipe["on"].keys() == {"pull_request", "push"}
    assert recipe["permissions"] == {"contents": "read"}
    uses = {step["uses"].split("@")[0]: step for step in github_steps() if "uses" in step}
    assert uses["actions/checkout"]["with"]["fetch-depth"] == "0"
    assert uses["actions/cache"]["with"]["path"] == "~/.cache/sprout"
    kept = uses["actions/upload-artifact"]
    assert kept["if"] == "always()"
    assert kept["with"]["path"].split() == ["cost.html", "cost.json"]
    (cost,) = [step["run"] for step in github_steps() if " cost " in step.get("run", "")]
    assert cost.endswith('--html cost.html >> "$GITHUB_STEP_SUMMARY"')
    assert "--json cost.json" in cost


def test_gitlab_has_the_history_and_keeps_the_page() -> None:
    (job,) = read("gitlab").values()
    assert job["variables"]["GIT_DEPTH"] == "0"
    assert job["variables"]["SPROUT_CACHE"].endswith("/" + job["cache"]["paths"][0])
    assert job["artifacts"] == {"when": "always", "paths": ["cost.html", "cost.json"]}
    assert "--json cost.json --html cost.html" in job["script"][0]
