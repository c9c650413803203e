"""What the tests of hosts share: made once."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from host_machine import Machine, Parts, built_parts, make_entries, run_host

from sprout.initramfs.cpio import Entry


@pytest.fixture(scope="session")
def parts() -> Parts:
    return built_parts()


@pytest.fixture(scope="session")
def host_entries(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    return make_entries(parts, tmp_path_factory.mktemp("host"))


@pytest.fixture
def machine(parts: Parts, tmp_path: Path) -> Machine:
    return functools.partial(run_host, parts, tmp_path)
