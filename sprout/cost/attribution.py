"""Turns a counted boot into functions: who spent the instructions, and on whose behalf."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sprout.cost.model import Cost, Frame
from sprout.vm.counted import Counted

# Gives an address's program and function: (unit, name); the number is that of the image it is in.
Namer = Callable[[int, int], tuple[str, str]]
# Says whether a function begins at an address of the image of that number.
Begins = Callable[[int, int], bool]

_INITCALL_CALLER = "do_one_initcall"


@dataclass(frozen=True)
class Attribution:
    """Functions by phase and name ("unit:function"), initcalls, and one root frame per phase."""

    functions: dict[str, dict[str, Cost]]
    initcalls: dict[str, int]
    frames: dict[str, Frame]


def attribute(counted: Counted, name: Namer, begins: Begins) -> Attribution:
    """Attribute every instruction of `counted` to a function and a chain of callers.

    A function was called as often as it was entered: by a call, or by a jump to its first
    instruction (a tail call).
    """
    frames = _frames(counted, name, begins)
    functions = {phase: _functions(frame) for phase, frame in frames.items()}
    initcalls: dict[str, int] = {}
    for frame in frames.values():
        for caller in _named(frame, _INITCALL_CALLER):
            for (_, callee), child in caller.children.items():
                initcalls[callee] = initcalls.get(callee, 0) + child.total()
    return Attribution(functions, initcalls, frames)


def _frames(counted: Counted, name: Namer, begins: Begins) -> dict[str, Frame]:
    """Build the frames of each phase; a tail call is a frame below the function that made it."""
    roots = [Frame(phase.name, "phase") for phase in counted.phases]
    known: dict[tuple[int, int], Frame] = {(n, 0): root for n, root in enumerate(roots)}

    def frame_of(phase: int, context: int) -> Frame:
        path = []
        while (phase, context) not in known:
            path.append(context)
            context = counted.contexts[context].parent
        frame = known[phase, context]
        for context in reversed(path):
            called = counted.contexts[context]
            frame = _child(frame, name(called.pc, called.image))
            known[phase, context] = frame
        return frame

    for phase, context, pc, image, instructions, times in counted.counts:
        outer = frame_of(phase, context)
        frame = _child(outer, name(pc, image))
        frame.own += instructions
        if frame is not outer and begins(pc, image):
            frame.calls += times
    for (phase, context), calls in counted.calls.items():
        frame_of(phase, context).calls += calls
    return {root.name: _trimmed(root) for root in roots}


def _child(frame: Frame, named: tuple[str, str]) -> Frame:
    """Give the frame for a function called from `frame`: itself where that is the function."""
    unit, function = named
    if (frame.unit, frame.name) == named:
        return frame
    child = frame.children.get(named)
    if child is None:
        child = frame.children[named] = Frame(function, unit)
    return child


def _trimmed(root: Frame) -> Frame:
    """Leave out the callers that stand above a whole phase and did nothing in it.

    The stub's phase hangs below the firmware that started it, the decompressor's below both.
    """
    while True:
        only = list(root.children.values())
        if len(only) != 1 or root.own or only[0].own:
            return root
        if not only[0].children:
            return root
        root.children = only[0].children


def _functions(root: Frame) -> dict[str, Cost]:
    """Sum the frames below `root` by function; what a recursion spends is in its total once."""
    own: dict[str, int] = {}
    total: dict[str, int] = {}
    calls: dict[str, int] = {}
    entered: dict[str, int] = {}  # how often a function is on the path that is being walked
    sums = [0]  # instructions of each frame on that path, with what was below it so far
    stack = [(child, False) for child in root.children.values()]
    while stack:
        frame, leaving = stack.pop()
        key = f"{frame.unit}:{frame.name}"
        if leaving:
            amount = sums.pop()
            sums[-1] += amount
            entered[key] -= 1
            if entered[key] == 0:
                total[key] = total.get(key, 0) + amount
            continue
        own[key] = own.get(key, 0) + frame.own
        calls[key] = calls.get(key, 0) + frame.calls
        entered[key] = entered.get(key, 0) + 1
        sums.append(frame.own)
        stack.append((frame, True))
        stack.extend((child, False) for child in frame.children.values())
    if root.own:
        key = f"{root.unit}:{root.name}"
        own[key] = total[key] = root.own
        calls[key] = 0
    return {key: Cost(own[key], total[key], calls[key]) for key in sorted(own)}


def _named(root: Frame, name: str) -> list[Frame]:
    found, pending = [], [root]
    while pending:
        frame = pending.pop()
        if frame.name == name and frame.unit == "kernel":
            found.append(frame)
            continue
        pending.extend(frame.children.values())
    return found
