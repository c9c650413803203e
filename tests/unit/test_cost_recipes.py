"""The recipes for other people's CI: their shape is YAML's, and the commands in them exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commands import ROOT

from sprout.base.run import run
from sprout.cli.main import parser

RECIPES = sorted((ROOT / "ci").glob("*/*.yml"))
_ENTRY = re.compile(r"""(?:- )*(?:(?:[A-Za-z_~-][\w~-]*:(?: .*)?)|(?:- .+))""")


def lines_of(recipe: Path) -> list[str]:
    """Give the lines that are not comments."""
    lines = recipe.read_text().splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def commands_of(recipe: Path) -> list[str]:
    return re.findall(r"\./sprout\.sh [^\n]*", "\n".join(lines_of(recipe)))


def test_there_are_recipes_for_both() -> None:
    assert {recipe.parent.name for recipe in RECIPES} == {"github", "gitlab"}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.parent.name)
def test_recipe_is_indented_like_yaml(recipe: Path) -> None:
    depth, literal = 0, 99
    for line in lines_of(recipe):
        assert "\t" not in line
        indent = len(line) - len(line.lstrip())
        assert indent % 2 == 0, line
        if indent > literal:
            continue  # inside of a block of text
        literal = 99
        assert indent <= depth + 4, line
        assert _ENTRY.fullmatch(line.strip()), line
        assert line.count('"') % 2 == 0, line
        depth = indent
        if line.endswith((" |", " >")):
            literal = indent


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.parent.name)
def test_commands_of_the_recipe_exist(recipe: Path) -> None:
    found = commands_of(recipe)
    verbs = [command.split()[1] for command in found]
    assert verbs == ["build", "cost"]
    for command in found:
        words = command.split(">>")[0].split()[1:]
        parser(words[0]).parse_args(words)
        assert "--accept" not in words


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.parent.name)
def test_shell_of_the_recipe_parses(recipe: Path, tmp_path: Path) -> None:
    text = "\n".join(lines_of(recipe))
    found = re.findall(r"^ *(?:- )?run: (?!\|)(.*)$|^ +- (\.?/?[a-z].* .*)$", text, re.MULTILINE)
    script = tmp_path / "script.sh"
    commands = ["".join(pair) for pair in found if not re.match(r"[\w-]+: ", "".join(pair))]
    script.write_text("\n".join(commands))
    assert len(commands) >= 3, commands
    assert run(["bash", "-n", script]).status == 0


def test_recipes_have_the_history_and_keep_the_page() -> None:
    github, gitlab = (path.read_text() for path in RECIPES)
    assert "fetch-depth: 0" in github
    assert "GITHUB_STEP_SUMMARY" in github
    assert "upload-artifact" in github
    assert "contents: read" in github
    assert 'GIT_DEPTH: "0"' in gitlab
    assert "artifacts:" in gitlab
    for text in (github, gitlab):
        assert "cost.html" in text
        assert "git remote set-head origin" in text
