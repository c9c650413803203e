"""The kernel's own selftests in a zone: what it offers works, what it leaves out is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from debian_root import Contents, make_root
from ktap import Expected, complaints
from program_machine import zone_running
from selftests import Chosen, compile_selftests, load_chosen

_HERE = Path(__file__).parent
_CHOSEN = load_chosen(_HERE / "selftests.toml")
_PACKAGES = ("coreutils", "dash", "iproute2", "libcap2", "libpopt0", "mount", "procps")
_USERS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
_GROUPS = "root:x:0:\nnogroup:x:65534:\n"
_LIMIT_S = 400.0
_SAID = re.compile(r"^# begin (\S+)\n(.*?)^# end \1 (\d+)$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def said(zone_kernel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, int]]:
    """What each selftest wrote in a zone, and its exit status."""
    work = tmp_path_factory.mktemp("selftests")
    programs = compile_selftests(_CHOSEN, "zone", work)
    make_root(_PACKAGES, contents(_CHOSEN, programs), work / "root.squashfs")
    root = work / "root.squashfs"
    with zone_running(zone_kernel, root, "-- /bin/selftests", work) as zone:
        text = zone.ended(_LIMIT_S)
    return {name: (body, int(status)) for name, body, status in _SAID.findall(text)}


def contents(chosen: Chosen, programs: dict[str, bytes]) -> Contents:
    """Give what the zone's root has beside the packages."""
    files = {f"selftests/{name}": (0o755, data) for name, data in programs.items()}
    names = "".join(f"{expected.program}\n" for expected in chosen.expected)
    files["selftests/list"] = (0o644, names.encode())
    files["bin/selftests"] = (0o755, (_HERE / "programs" / "selftests").read_bytes())
    files["etc/passwd"] = (0o644, _USERS.encode())
    files["etc/group"] = (0o644, _GROUPS.encode())
    return Contents(files=files)


@pytest.mark.parametrize("expected", _CHOSEN.expected, ids=lambda one: one.program)
def test_selftest(said: dict[str, tuple[str, int]], expected: Expected) -> None:
    assert expected.program in said, f"it did not run; the last that did: {list(said)[-1:]}"
    text, status = said[expected.program]
    assert complaints(expected, text, status) == [], text
