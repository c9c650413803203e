"""A step's key: what changes it, what does not, and what the cache does with it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sprout.base.run import run
from sprout.build.cache import Cache
from sprout.build.memo import Memo
from sprout.build.step import STAMP, Step, perform
from sprout.build.toolchain import toolchain_digest

ROOT = Path(__file__).parents[2]


class Maker:
    """A step's work that counts how often it is done."""

    def __init__(self, text: str = "made") -> None:
        self.calls = 0
        self.text = text

    def __call__(self, out: Path) -> None:
        self.calls += 1
        (out / "file").write_text(self.text)


def step(tmp_path: Path, make: Callable[[Path], None], **parts: str) -> Step:
    return Step("a", tmp_path / "build" / "a", ("file",), (), parts, make)


def test_step_is_made_once(tmp_path: Path) -> None:
    maker, cache = Maker(), Cache(tmp_path / "cache")
    for _ in range(3):
        perform(step(tmp_path, maker, input="1"), cache)
    assert maker.calls == 1
    assert (tmp_path / "build/a/file").read_text() == "made"


def test_step_comes_back_from_the_cache(tmp_path: Path) -> None:
    maker, cache = Maker(), Cache(tmp_path / "cache")
    perform(step(tmp_path, maker, input="1"), cache)
    shutil.rmtree(tmp_path / "build")
    perform(step(tmp_path, maker, input="1"), cache)
    assert maker.calls == 1
    assert (tmp_path / "build/a/file").read_text() == "made"


def test_step_is_made_again_when_a_part_changes(tmp_path: Path) -> None:
    maker, cache = Maker(), Cache(tmp_path / "cache")
    perform(step(tmp_path, maker, input="1", other="x"), cache)
    changed = step(tmp_path, maker, input="2", other="x")
    assert changed.why() == "changed: input"
    perform(changed, cache)
    assert maker.calls == 2
    back = step(tmp_path, maker, input="1", other="x")
    assert not back.is_current()
    perform(back, cache)
    assert maker.calls == 2


@pytest.mark.parametrize("harm", ["remove", "touch", "stamp"])
def test_step_notices_what_was_done_to_its_files(tmp_path: Path, harm: str) -> None:
    one = step(tmp_path, Maker(), input="1")
    perform(one, Cache(tmp_path / "cache"))
    assert one.is_current()
    file = tmp_path / "build/a/file"
    if harm == "remove":
        file.unlink()
    elif harm == "touch":
        file.write_text("other")
    else:
        (tmp_path / "build/a" / STAMP).write_text("[1")
    assert not one.is_current()
    perform(one, Cache(tmp_path / "cache"))
    assert file.read_text() == "made"


@pytest.mark.parametrize("harm", ["file", "manifest", "missing"])
def test_damaged_cache_entry_is_dropped_and_made_again(tmp_path: Path, harm: str) -> None:
    maker, cache = Maker(), Cache(tmp_path / "cache")
    one = step(tmp_path, maker, input="1")
    perform(one, cache)
    entry = tmp_path / "cache/steps" / one.key
    if harm == "file":
        (entry / "file").write_text("evil")
    elif harm == "manifest":
        (entry / "manifest.json").write_text('{"file": 1}')
    else:
        (entry / "file").unlink()
    shutil.rmtree(tmp_path / "build")
    perform(one, cache)
    assert maker.calls == 2
    assert (tmp_path / "build/a/file").read_text() == "made"


def test_failed_step_leaves_nothing(tmp_path: Path) -> None:
    def fail(out: Path) -> None:
        (out / "file").write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        perform(step(tmp_path, fail, input="1"), Cache(tmp_path / "cache"))
    assert list((tmp_path / "build").iterdir()) == []
    assert not (tmp_path / "cache/steps").exists()


def test_sparse_outputs_stay_sparse(tmp_path: Path) -> None:
    def make(out: Path) -> None:
        with (out / "file").open("wb") as stream:
            stream.seek(64 << 20)
            stream.write(b"end")

    cache = Cache(tmp_path / "cache")
    perform(step(tmp_path, make, input="1"), cache)
    shutil.rmtree(tmp_path / "build")
    perform(step(tmp_path, make, input="1"), cache)
    stat = (tmp_path / "build/a/file").stat()
    assert stat.st_size == (64 << 20) + 3
    assert stat.st_blocks * 512 < 4 << 20


def code_of(package: Path, module: str, tmp_path: Path) -> str:
    """Work out a module's digest with a copy of the whole tool."""
    script = (
        "import sys; from pathlib import Path; from sprout.build.code import code_digest;"
        "from sprout.build.memo import Memo;"
        "print(code_digest(sys.argv[1], Memo(Path(sys.argv[2]))))"
    )
    memo = tmp_path / "memo.json"
    words = [sys.executable, "-c", script, module, str(memo)]
    output = run(words, cwd=package, env={"PYTHONPATH": str(package)})
    assert output.status == 0, output.stderr.decode()
    return output.stdout.decode()


def test_only_code_that_a_step_reaches_changes_its_key(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "sprout", tmp_path / "sprout")
    kernel = "sprout.kernel.build"

    def edit(file: str, old: str, new: str) -> str:
        path = tmp_path / "sprout" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return code_of(tmp_path, kernel, tmp_path)

    first = code_of(tmp_path, kernel, tmp_path)
    prose = edit("kernel/build.py", '"""Build the kernel of', '"""Compile the kernel of')
    prose2 = edit("kernel/configure.py", "# Options that nobody", "# Those that nobody")
    elsewhere = edit("image/disk.py", "MAX_DISK_BYTES = 1 << 40", "MAX_DISK_BYTES = 1 << 41")
    assert first == prose == prose2 == elsewhere
    deep = edit("kernel/kbuild.py", '"LC_ALL": "C"', '"LC_ALL": "C.UTF-8"')
    assert deep != first
    deeper = edit("base/files.py", "_CHUNK = 1 << 20", "_CHUNK = 1 << 19")
    assert deeper != deep


def test_compiler_changes_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memo = Memo(tmp_path / "memo.json")
    before = toolchain_digest(("gcc", "ld"), memo)
    wrapper = tmp_path / "gcc"
    wrapper.write_text('#!/bin/sh\nexec /usr/bin/gcc "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert toolchain_digest(("gcc", "ld"), memo) != before


def test_memory_of_digests_follows_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    calls: list[str] = []

    def work(path: Path) -> list[str]:
        calls.append(path.read_text())
        return [path.read_text()]

    for text in ("1", "2"):
        file.write_text(text)
        memo = Memo(tmp_path / "memo.json")
        assert memo.remember("x", file, work) == [text]
        memo.save()
        assert Memo(tmp_path / "memo.json").remember("x", file, work) == [text]
    assert calls == ["1", "2"]
    (tmp_path / "memo.json").write_text("{")
    assert Memo(tmp_path / "memo.json").remember("x", file, work) == ["2"]
