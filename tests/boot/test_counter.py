"""The counting plugin bears whatever a guest does, and sees marks where memory is used again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sprout.base.errors import SproutError
from sprout.base.run import check
from sprout.vm.console import Console
from sprout.vm.counted import read_counted
from sprout.vm.exact import SHIFT, exact_machine
from sprout.vm.plugin import build_plugin, level_for, plugin_name
from sprout.vm.qemu import Counting, Direct, find_qemu
from sprout.vm.session import End, Verdict, run_machine
from sprout.vm.watch import Watch, at_code

GUEST = Path(__file__).with_name("machine") / "counted.c"
LIMIT_S = 60.0
# What the guest puts in the place of other code: mov $1, %ecx; nop; nop; ret
MARKED = bytes.fromhex("b901000000 9090c3")
Count = Callable[[str], bytes]


@pytest.fixture(scope="module")
def count(tmp_path_factory: pytest.TempPathFactory) -> Count:
    """Runs a guest that behaves as its name says (see counted.c), and gives what was counted."""
    directory = tmp_path_factory.mktemp("counter")
    level = level_for(find_qemu("x86_64").version)
    plugin = directory / plugin_name(level)
    build_plugin(plugin, level)

    def run(behaviour: str) -> bytes:
        guest = directory / behaviour
        compile_guest(guest, behaviour)
        qemu, machine = exact_machine(Direct(guest), uefi=False, memory_mib=64)
        watch = Watch(("firmware", "marked"), (at_code("marked", MARKED),))
        config, out = directory / "config", directory / "out"
        config.write_text(watch.text())
        counting = Counting(plugin, config, out, SHIFT)
        ran = run_machine(
            qemu,
            replace(machine, counting=counting),
            console=Console(None),
            judge=lambda line, _: Verdict(End.REACHED) if line == "guest: done" else None,
            timeout_s=LIMIT_S,
            ending_s=LIMIT_S,
        )
        assert ran.end is End.REACHED, ran
        return out.read_bytes()

    return run


def compile_guest(target: Path, behaviour: str) -> None:
    command: list[str | Path] = [
        *("clang", "-target", "i386-unknown-linux-gnu", "-std=c17", "-O1"),
        *("-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-pic", "-fno-stack-protector"),
        *("-mno-sse", "-mno-mmx", "-static", "-nostdlib", "-fuse-ld=lld"),
        *("-Wl,--image-base=0x100000", "-Wl,--build-id=none", f"-DBEHAVIOUR={behaviour}"),
        *("-o", target, GUEST),
    ]
    check(command, "Mend the guest.", timeout=60)


def words_of(counted: bytes, first: str) -> list[str]:
    """Give the words of the line that begins with `first`, without it."""
    lines = counted.decode("ascii").splitlines()
    assert lines[-1] == "done"
    line = next(line for line in lines if line.startswith(f"{first} "))
    return line.removeprefix(f"{first} ").split(" ")


def test_code_far_from_where_its_memory_lies_is_counted(count: Count) -> None:
    with pytest.raises(SproutError, match="never seen"):
        read_counted(count("MAPPED"))


def test_more_images_than_there_is_room_for_are_told(count: Count) -> None:
    with pytest.raises(SproutError, match="or images than it has room for"):
        read_counted(count("IMAGES"))


def test_mark_is_seen_where_other_code_ran_before(count: Count) -> None:
    # The phase before a mark is closed, and so has a length, when the mark is passed.
    assert int(words_of(count("REUSED"), "phase firmware")[0], 16) > 0
