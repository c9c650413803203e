"""The stub's logic on the host: mock firmware, address and undefined-behaviour sanitizers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sprout.base.run import check, run
from sprout.format import levels, stamps
from sprout.image.stub import stub_sources

TESTS = Path(__file__).parent / "stub"


def host_sources() -> list[Path]:
    """Give the stub's C files that are no mere stand-in for a C library."""
    return [path for path in stub_sources() if path.suffix == ".c" and path.name != "memory.c"]


def include_options(generated: Path) -> list[str]:
    """Give the include path on which the mock's cpu.h takes the place of the processor's."""
    (generated / "sprout_stamps.h").write_text(stamps.c_header())
    (generated / "sprout_levels.h").write_text(levels.c_header())
    (generated / "version.h").write_text('#define SPROUT_VERSION u"1.2.3-test"\n')
    roots = {path.parent for path in stub_sources() if path.name == "main.c"}
    return [f"-I{path}" for path in (TESTS, *roots, generated)]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("stub")
    program = directory / "runner"
    flags = ["-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = [*host_sources(), *sorted(TESTS.glob("*.c"))]
    check(
        ["clang", *flags, *include_options(directory), *sources, "-o", program],
        "Mend the C that does not compile.",
        timeout=120,
    )
    return program


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        names = [
            name
            for path in sorted(TESTS.glob("test_*.c"))
            for name in re.findall(r"^TEST\((\w+)\)", path.read_text(), re.MULTILINE)
        ]
        metafunc.parametrize("case", names)


def test_stub(runner: Path, case: str) -> None:
    output = run([runner, case], timeout=60)
    assert output.status == 0, output.stderr.decode(errors="replace")


def test_runner_fails_on_what_is_no_test(runner: Path) -> None:
    assert run([runner, "no_such_test"], timeout=60).status == 2
