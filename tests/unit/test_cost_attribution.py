"""A counted boot becomes phases, functions and initcalls; a damaged one is refused."""

from __future__ import annotations

import pytest

from sprout.base.errors import SproutError
from sprout.cost.attribution import attribute
from sprout.cost.model import Cost
from sprout.vm.counted import read_counted

NAMES = {
    0x10: ("kernel", "start"),
    0x20: ("kernel", "do_one_initcall"),
    0x30: ("kernel", "pty_init"),
    0x40: ("kernel", "register"),
    0x50: ("kernel", "tail"),
}


def name(pc: int, _image: int) -> tuple[str, str]:
    return NAMES[pc & ~0xF]


def begins(pc: int, _image: int) -> bool:
    return not pc & 0xF


def written(*, state: str = "1 1 1 0", rows: str = "", total: str = "64 64") -> bytes:
    return (
        f"sprout-counter 3\nstate {state}\ntotal {total}\nended 0\nat 0 7f00\n"
        "phase firmware 4 0 1\nphase kernel 60 a 2\n"
        "image 1 1000 0 2000 10 20 0\n" + rows + "done\n"
    ).encode()


# start calls do_one_initcall, which calls pty_init, which calls register (that calls itself) and
# ends with a jump to tail.
ROWS = (
    "node 1 0 10 0\nnode 2 1 20 0\nnode 3 2 30 0\nnode 4 3 40 0\nnode 5 4 40 0\n"
    "calls 1 1 1\ncalls 1 2 3\ncalls 1 3 1\ncalls 1 4 2\ncalls 1 5 1\n"
    "count 0 0 10 0 4 1\n"
    "count 1 1 10 0 10 1\ncount 1 1 12 0 1 1\ncount 1 2 20 0 5 3\ncount 1 3 34 0 20 1\n"
    "count 1 3 50 0 5 6\ncount 1 3 52 0 2 1\ncount 1 4 40 0 8 2\ncount 1 5 41 0 2 1\n"
)


def test_every_instruction_has_its_function_and_its_callers() -> None:
    found = attribute(read_counted(written(rows=ROWS)), name, begins)
    assert found.functions["firmware"] == {"kernel:start": Cost(4, 4, 1)}
    kernel = found.functions["kernel"]
    assert kernel["kernel:start"] == Cost(0x11, 0x11 + 5 + 0x20 + 7 + 8 + 2, 1)
    assert kernel["kernel:do_one_initcall"] == Cost(5, 5 + 0x20 + 7 + 8 + 2, 3)
    assert kernel["kernel:pty_init"] == Cost(0x20, 0x20 + 7 + 8 + 2, 1)
    assert kernel["kernel:register"] == Cost(10, 10, 3)
    assert kernel["kernel:tail"] == Cost(7, 7, 6)
    assert found.initcalls == {"pty_init": 0x20 + 7 + 8 + 2}
    assert found.frames["kernel"].total() == 0x11 + 5 + 0x20 + 7 + 8 + 2


def test_calls_belong_to_the_phase_in_which_they_were_made() -> None:
    # register is called from one place in both phases; what it was called for in the first goes on
    # into the second.
    rows = (
        "node 1 0 10 0\nnode 2 1 40 0\ncalls 0 1 1\ncalls 0 2 2\ncalls 1 2 5\n"
        "count 0 1 10 0 1 1\ncount 0 2 40 0 3 2\ncount 1 1 12 0 50 1\ncount 1 2 40 0 10 5\n"
    )
    found = attribute(read_counted(written(rows=rows)), name, begins).functions
    assert found["firmware"]["kernel:register"] == Cost(3, 3, 2)
    assert found["kernel"]["kernel:register"] == Cost(0x10, 0x10, 5)
    assert found["kernel"]["kernel:start"] == Cost(0x50, 0x60, 0)


def test_callers_that_did_nothing_in_a_phase_are_left_out() -> None:
    rows = "node 1 0 10 0\nnode 2 1 20 0\nnode 3 2 30 0\ncalls 1 3 1\ncount 1 3 30 0 60 1\n"
    found = attribute(read_counted(written(rows=rows)), name, begins)
    assert [frame.name for frame in found.frames["kernel"].children.values()] == ["pty_init"]


def test_counted_boot_keeps_its_figures() -> None:
    counted = read_counted(written(rows=ROWS))
    assert [(p.name, p.instructions, p.wait_ns, p.host_ns) for p in counted.phases] == [
        ("firmware", 4, 0, 1),
        ("kernel", 0x60, 10, 2),
    ]
    assert (counted.instructions, counted.emulator_instructions) == (100, 100)
    assert (counted.slide, counted.first_user) == (0, 0x7F00)
    assert counted.images[1].base == 0x1000


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (written()[:-5], "cut short"),
        (b"", "cut short"),
        (written(rows="count 1 2\n"), "damaged"),
        (written(rows="node x 0 0 0\n"), "damaged"),
        (written(rows="node 1 0 0 0 0\n"), "damaged"),
        (written(rows="calls 0 1\n"), "damaged"),
        (written(total="1"), "damaged"),
        (written(state="1 1 0 0"), "not the one"),
        (written(state="0 0 0 0"), "never seen"),
        (written(state="0 1 1 0"), "unseen"),
        (written(state="1 1 1 1"), "more calling contexts"),
        (written(state="0 1 1 1"), "more calling contexts"),
        (written(state="0 1 0 1"), "more calling contexts"),
    ],
)
def test_output_that_is_not_whole_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(SproutError, match=problem):
        read_counted(data)
