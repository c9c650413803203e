"""The command `sprout`: finds the verb, runs it, and turns errors into a line, a hint, a status."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from sprout import __version__
from sprout.base.errors import SproutError, UsageError
from sprout.cli.colour import coloured

# Verb and what it does; the module sprout.cli.VERB is imported only when it is used.
VERBS = {
    "build": "build images, kernels, initramfs and disks",
    "boot": "build an image, boot it in QEMU and print the timeline",
    "cost": "measure boots to the instruction, against budgets and a baseline",
    "sign": "sign a boot image or a kernel module",
    "verify": "verify a signed image, module, disk or artifact against keys you trust",
    "pack": "pack an image's parts as OCI artifacts, in a layout on disk",
    "push": "send artifacts to a registry, signed",
    "pull": "fetch an artifact from a registry, if you trust its signer",
    "minimum": "sign the lowest versions that may still be installed",
    "inspect": "show what is inside a boot image, disk, initramfs or artifact",
    "keys": "make, show, exchange and enrol the keys that machines trust",
    "audit": "judge a kernel's configuration by the rules of hardening",
    "repro": "build twice, differently, and compare every byte",
    "update": "move a flavor's sources to the newest verified version",
    "test": "run the test suite",
}
_EPILOG = """\
A first run:  ./sprout.sh boot   sets the machine up, builds `zone`, boots it
Exit status:  0 done, 1 an error you can mend, 2 wrong usage, 3 refused by
              firmware, stub or verify, 130 interrupted
"""


def parser(verb: str | None) -> argparse.ArgumentParser:
    """Give the command line's parser; only `verb`'s own arguments are filled in."""
    top = _Parser(
        prog="sprout",
        description="Builds minimal hardened kernels and boots them through UEFI in milliseconds.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"sprout {__version__}")
    top.add_argument(
        "--tree",
        type=Path,
        metavar="DIR",
        help="the tree to work on: the folder with images.toml (default: here or above)",
    )
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, text in VERBS.items():
        sub = verbs.add_parser(
            name, help=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == verb:
            module = importlib.import_module(f"sprout.cli.{name}")
            sub.description = _wrapped(module.__doc__ or "")
            module.configure(sub)
    return top


def _wrapped(text: str) -> str:
    """Wrap paragraphs to fit a terminal of 80 columns."""
    return "\n\n".join(textwrap.fill(part, 79) for part in text.strip().split("\n\n"))


def main(words: Sequence[str]) -> int:
    """Run one command line and give its exit status."""
    verb = _verb(words)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a bar must not fail on an ASCII terminal
    signal.signal(signal.SIGTERM, _terminated)
    signal.signal(signal.SIGHUP, _terminated)
    try:
        arguments = parser(verb).parse_args(words)
        module = importlib.import_module(f"sprout.cli.{arguments.verb}")
        status: int = module.execute(arguments)
        sys.stdout.flush()
        return status
    except SproutError as error:
        return _report(error)
    except BrokenPipeError:
        # The reader of our output went away: nothing is wrong, and nobody listens.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror or error}"
        return _report(SproutError(text, "Check that path, its permissions and the free space."))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _verb(words: Sequence[str]) -> str | None:
    """Find the verb before argparse does: its module's arguments are the only ones loaded."""
    rest = iter(words)
    for word in rest:
        if word == "--tree":
            next(rest, None)
        elif not word.startswith("-"):
            return word if word in VERBS else None
    return None


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints have the shape of every other error: one line, one hint."""

    def error(self, message: str) -> NoReturn:
        """Raise the complaint, for `main` to print."""
        raise UsageError(f"{self.prog}: {message}", f"`{self.prog} --help` says what there is.")


def _terminated(number: int, frame: FrameType | None) -> None:
    # As an exception it runs every `finally` on the way out, so that nothing stays behind.
    raise SystemExit(128 + number)


def _report(error: SproutError) -> int:
    red, plain = ("\x1b[31m", "\x1b[0m") if coloured(sys.stderr) else ("", "")
    for line in getattr(error, "console_lines", ()):
        print(f"  | {line}", file=sys.stderr)
    print(f"{red}error:{plain} {error.message}", file=sys.stderr)
    print(f"hint: {error.hint}", file=sys.stderr)
    return error.exit_status


def entry() -> None:
    """Start the command from the shell."""
    sys.exit(main(sys.argv[1:]))
