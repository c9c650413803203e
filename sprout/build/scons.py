"""The adapter between SCons and the graph: each step becomes a target, SCons walks them.

SCons signs an action by its own code only, so every target depends on a Value: the step's key,
which holds all that goes into it, our code included. What is current, comes from the cache or is
made is the step's own decision, so that `scons` and `sprout build` never disagree.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

from sprout.base.errors import SproutError
from sprout.build.cache import Cache
from sprout.build.graph import Graph, Settings, load_graph
from sprout.build.step import STAMP, Step, exclusive, perform
from sprout.build.tree import load_tree

_FAILED = "scons: *** "
_NOISE = "scons: building terminated because of errors."


def define(script: dict[str, Any]) -> None:
    """Define the targets of the tree whose SConstruct calls this with its `globals()`.

    `script` brings SCons's own functions. Options: `-j N` is the one job budget, handed to the
    kernel's make; `--locked` refuses sources that the lock does not name.
    """
    script["AddOption"](
        "--locked",
        action="store_true",
        default=False,
        help="refuse any source that kernels/sources.lock does not name",
    )
    get_option = script["GetOption"]
    jobs = int(get_option("num_jobs"))
    _one_step_at_a_time()
    settings = Settings(jobs if jobs > 1 else _requested_one(), bool(get_option("locked")))
    sys.stderr = _UsersWords(sys.stderr)
    wanted = [str(name) for name in script["COMMAND_LINE_TARGETS"]]
    idle = any(get_option(name) for name in ("clean", "no_exec", "help"))
    try:
        with _interruptible():
            graph = _load(Path(script["Dir"]("#").abspath), settings, wanted, fetch=not idle)
    except SproutError as error:
        _exit(script, f"{error.message}\nhint: {error.hint}", error.exit_status)
    except OSError as error:
        _exit(script, f"{error.filename}: {error.strerror}\nhint: Check its permissions.", 1)
    except KeyboardInterrupt:
        _exit(script, "interrupted\nhint: Run it again.", 130)
    script["SConsignFile"]("unused", _Forgetting)
    env = script["Environment"](ENV=dict(os.environ))
    env.Decider("timestamp-match")
    cleaning = bool(get_option("clean"))
    for step in graph.steps.values():
        needs = [env.Alias(need) for need in step.needs]
        if cleaning or not step.is_current():
            _target(script, env, step, needs, graph.cache)
        else:
            # Of its files SCons would read and hash every one only to do nothing.
            env.Alias(step.name, needs)
    script["Default"](*_disks(graph))


def _one_step_at_a_time() -> None:
    """Keep SCons on its main thread: a step has the whole budget, and Ctrl-C ends it.

    What was said on the command line stands above SetOption, so it is changed where it is kept.
    """
    from SCons.Script.Main import OptionsParser  # noqa: PLC0415 - only SCons runs this

    OptionsParser.values.num_jobs = 1


def _load(root: Path, settings: Settings, wanted: list[str], *, fetch: bool) -> Graph:
    """Load the graph, and have the sources of what was asked for where that is to be built."""
    tree = load_tree(root)
    tree.build.mkdir(exist_ok=True)
    graph = load_graph(tree, settings)
    if fetch:
        named = [name for name in map(_step_of, wanted) if name in graph.steps]
        if graph.ensure_sources(graph.select(named or _disks(graph)), settings):
            graph = load_graph(tree, settings)
    return graph


def _step_of(target: str) -> str:
    """Give the step of a target that is named by one of its files, as SCons allows."""
    parts = Path(target).parts
    return parts[1] if parts[:1] == ("build",) and len(parts) > 1 else target


def _exit(script: dict[str, Any], words: str, status: int) -> NoReturn:
    sys.stderr.write(f"error: {words}\n")
    script["Exit"](status)
    raise SystemExit(status)


def _literal(path: Path) -> str:
    """Give a path as SCons takes it without substituting anything in it."""
    return str(path).replace("$", "$$")


def _disks(graph: Graph) -> list[str]:
    return [name for name in graph.steps if name.endswith("-disk")]


def _requested_one() -> int | None:
    """Give 1 when `-j 1` was asked for; SCons's own default is 1 too, ours is one per processor."""
    return 1 if any(argument.startswith(("-j", "--jobs")) for argument in sys.argv) else None


def _target(
    script: dict[str, Any],
    env: Any,  # noqa: ANN401 - SCons has no types
    step: Step,
    needs: list[Any],
    cache: Cache,
) -> None:
    made = [_literal(path) for path in (step.directory / STAMP, *step.files())]
    action = env.Action(_action(step, cache), lambda *_: "")
    nodes = env.Command(made, [script["Value"](step.key)], action)
    script["Depends"](nodes, needs)
    script["AlwaysBuild"](nodes)
    script["Precious"](nodes)
    env.Alias(step.name, nodes)


def _action(step: Step, cache: Cache) -> Callable[..., int]:
    def act(target: Any, source: Any, env: Any) -> int:  # noqa: ANN401 - SCons's signature
        from SCons.Errors import BuildError  # noqa: PLC0415 - only SCons runs this

        with _interruptible():
            try:
                with exclusive(step.directory.parent):
                    perform(step, cache)
            except SproutError as error:
                text = f"{error.message}\nhint: {error.hint}"
                raise BuildError(errstr=text, status=1, exitstatus=1) from None
            except OSError as error:
                text = f"{error.filename}: {error.strerror}\nhint: Check its permissions."
                raise BuildError(errstr=text, status=1, exitstatus=1) from None
            except KeyboardInterrupt:
                raise BuildError(
                    errstr="interrupted\nhint: Run it again; it goes on with what was finished.",
                    status=130,
                    exitstatus=130,
                ) from None
        return 0

    return act


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the step at once; SCons alone would wait for it to finish."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    old = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class _Forgetting(dict[str, bytes]):
    """SCons's database, which ends with the process.

    What is current each step's own stamp tells. A file of SCons's beside that would be one more
    that two builds of a tree write at once.
    """

    @classmethod
    def open(cls, name: str, mode: str) -> _Forgetting:
        """Give an empty one, as a module of dbm's kind gives what it has of that name."""
        return cls()


class _UsersWords:
    """Standard error with SCons's own framing of a failure turned into our `error:` line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if text.startswith(_FAILED):
            words = text.removeprefix(_FAILED)
            if words.startswith("[") and "] " in words:
                words = words.split("] ", 1)[1]
            self._stream.write(f"error: {words}")
        elif text.strip() != _NOISE:
            self._stream.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a text stream has
        return getattr(self._stream, name)
