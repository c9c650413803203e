"""Two builds as different as can be give the same bytes; where they do not, the place is named."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest
from commands import ROOT, Sprout, assert_one_error

from sprout.base.errors import SproutError
from sprout.base.run import check
from sprout.build import twice
from sprout.build.twice import _elsewhere, built_twice

# What the two builds see of their machine, each kind in a file of its own.
PROBE = """
import os, socket, sys, time
from pathlib import Path
out = Path(sys.argv[1])
masked = os.umask(0)
facts = {
    "day": int(time.time()) // 86400,
    "user": (os.getuid(), os.getgid()),
    "host": socket.gethostname(),
    "umask": masked,
    "order": os.listdir("/usr/lib"),
    "preload": Path("/etc/ld.so.preload").read_text(),
}
out.write_text(repr(facts))
"""


def test_other_machine_is_another_one(tmp_path: Path) -> None:
    """All that should be another one is, to a program that knows nothing of it."""
    (tmp_path / "side").mkdir()
    script, said = tmp_path / "probe.py", tmp_path / "said"
    script.write_text(PROBE)
    words = _elsewhere(tmp_path / "side")
    check([*words, sys.executable, script, said], "x", cwd=tmp_path)
    facts = ast.literal_eval(said.read_text())
    listed = [path.name for path in Path("/usr/lib").iterdir()]
    assert facts["order"] == listed[::-1]
    assert facts["host"] == "elsewhere.example"
    assert facts["user"] == (54321, 54321)
    assert facts["umask"] == 0o007
    here = int(check(["date", "+%s"], "x"))
    assert facts["day"] - here // 86400 in (3, 4)
    other = check([*words, "date", "+%s"], "x")
    assert 270_000 < int(other) - here < 271_500
    assert not Path("/etc/ld.so.preload").exists()


@pytest.mark.parametrize("text", ["__TIME__", "__DATE__"])
def test_planted_difference_is_named(sprout: Sprout, tree: Path, text: str) -> None:
    """The very symbol, though it lies in a program in an archive."""
    path = tree / "initramfs/zone/main.c"
    path.write_text(
        path.read_text().replace(
            "int main(int argc, char **argv)\n{\n",
            "int main(int argc, char **argv)\n{\n"
            f"    static const char planted[] = {text};\n"
            "    (void)*(const volatile char *)planted;\n",
        )
    )
    assert "planted" in path.read_text()
    output = sprout("--tree", tree, "repro", "zone-initramfs")
    assert_one_error(
        output, "zone-initramfs/initramfs.cpio: differs first in init in the archive, section"
    )
    assert "DIFFERS: init in the archive, section " in output.stdout.decode()


def test_what_is_compiled_here_is_reproducible(sprout: Sprout) -> None:
    """The stub and the zone's init; CI has the command prove the kernel and all that holds it."""
    output = sprout("repro", "zone-initramfs", "stub", "--json")
    assert output.status == 0, output.stderr.decode()
    rows = json.loads(output.stdout)  # and nothing of what the builds say
    assert all(row["same"] and len(row["sha256"]) == 64 for row in rows)
    assert {"zone-initramfs/initramfs.cpio", "stub/stub.efi"} <= {row["file"] for row in rows}


def test_host_is_packed_the_same_twice(sprout: Sprout, tree: Path) -> None:
    """All of it but what is compiled: evidence, too, of two C libraries and a hypervisor."""
    digests = []
    for root in (ROOT, tree):
        output = sprout("--tree", root, "pack", "host")
        assert output.status == 0, output.stderr.decode()
        digests.append(json.loads((root / "build/host-oci/index.json").read_bytes()))
    assert digests[0] == digests[1]


def test_wrong_use(sprout: Sprout, tmp_path: Path, tree: Path) -> None:
    assert_one_error(sprout("repro", "nothing"), "nothing: no such image or target", status=2)
    output = sprout("repro", "zone", "--keep", tmp_path)
    assert_one_error(output, "is there already")
    output = sprout("--tree", tree, "repro", "zone-initramfs", "--keep", tree / "kept")
    assert_one_error(output, "lies in the tree")


def test_second_build_has_other_settings(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[dict[str, str], int]] = []

    def build(
        _side: Path, _commands: object, _before: object, environment: dict[str, str], jobs: int
    ) -> None:
        seen.append((environment, jobs))

    monkeypatch.setattr(twice, "_build", build)
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("SPROUT_CACHE", str(tmp_path / "cache"))
    with built_twice(tree, [["build", "stub"]], keep=None, jobs=2):
        (first, jobs), (second, other_jobs) = seen
    assert (jobs, other_jobs) == (2, 3)
    for name in ("LC_ALL", "TZ", "USER", "LOGNAME", "HOME"):
        assert first.get(name) != second[name], name
    assert "SPROUT_CACHE" not in first | second


def test_edit_meanwhile_is_no_difference(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who goes on working while a kernel compiles twice compares what was there when it began."""
    edited = tree / "images.toml"
    before = edited.read_text()

    def edit(side: Path, *_: object) -> None:
        edited.write_text(f"# {side}\n")

    monkeypatch.setattr(twice, "_build", edit)
    with built_twice(tree, [["build", "stub"]], keep=None, jobs=None) as pair:
        assert edited.read_text() != before
        for build in (pair.first, pair.second):
            assert (build.parent / "images.toml").read_text() == before


def test_build_that_fails_is_no_difference(tree: Path) -> None:
    (tree / "initramfs/zone/main.c").write_text("#error planted\n")
    commands = [["build", "zone-initramfs"]]
    with (
        pytest.raises(SproutError, match="failed"),
        built_twice(tree, commands, keep=None, jobs=None),
    ):
        raise AssertionError
