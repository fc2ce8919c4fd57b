"""`svd`: finds the command, runs it, and turns what goes wrong into one line and an exit code.

Exit codes: 0 done, 1 failed, 2 bad input, 130 stopped by the user.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType, TracebackType
from typing import Any, NoReturn

from ..errors import (
    Cancelled,
    FileFormatError,
    InputError,
    SvdError,
    UnsupportedModelError,
    WeightsMismatchError,
    explain,
)
from .output import Console, log_to, write_error

COMMANDS = {
    "demo": "clips and a contact sheet from the embedded model, to see that all works",
    "animate": "turn pictures into clips",
    "in-between": "make the clip that leads from picture to picture, or round to the first",
    "interpolate": "bring a clip to another frame rate, loop it or ease it",
    "inspect": "say what a checkpoint file or folder is, from its header alone",
    "measure": "measure camera motion and quality of a clip",
    "sweep": "make every clip of a plan, whatever stops the work in between",
    "sheet": "draw the contact sheets of a sweep again",
    "train": "teach a camera move, or make the embedded model again",
    "bench": "speed and memory of this machine, side by side",
    "selftest": "prove on this machine that the networks compute what they should",
}
_BAD_INPUT = (InputError, FileFormatError, UnsupportedModelError, WeightsMismatchError)
_FAILED, _REFUSED, _STOPPED = 1, 2, 130


class Parser(argparse.ArgumentParser):
    """argparse that raises our error instead of printing the usage and leaving; options are not abbreviated."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - argparse's own keywords
        settings.setdefault("allow_abbrev", False)
        super().__init__(**settings)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:]}. `{self.prog} --help` lists what is possible.")


def entry() -> None:
    """The `svd` script."""
    # What no handler foresaw is a fault of ours: still one line, and the way to the rest of it.
    sys.excepthook = _unforeseen
    sys.exit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code and leaves sys.exit to the caller."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except SvdError as error:
        return _fail(error, str(error), arguments)
    except KeyboardInterrupt as error:
        return _fail(error, "Stopped.", arguments)
    except BrokenPipeError:
        # The reader of our output has left (`| head`); the interpreter must not complain when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except OSError as error:
        return _fail(error, f"The system refused: {error}. Check the path, the permissions and the disk.", arguments)
    except MemoryError as error:
        return _fail(
            error, "Memory ran out. Choose a smaller size, fewer frames or a smaller --decode-chunk.", arguments
        )


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser with the options of one command; the others are names with a line of help only."""
    parser = Parser(prog="svd", description="SVD Studio: image to video, with the camera in your hand.")
    parser.add_argument("--version", action="store_true", help="print the version and leave")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, line in COMMANDS.items():
        if name == command:
            _module(name).add_parser(subparsers)
            _add_common(subparsers.choices[name])
        else:
            subparsers.add_parser(name, help=line)
    return parser


def _run(arguments: list[str]) -> int:
    command = next((word for word in arguments if not word.startswith("-")), None)
    parser = build_parser(command if command in COMMANDS else None)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        remedy = f"`svd {options.command or ''}".rstrip() + " --help` lists what is possible."
        raise InputError(explain("options of this command", " ".join(unknown), remedy))
    if options.version:
        sys.stdout.write(f"svd-studio {_version()}\n")
        return 0
    if options.command is None:
        parser.print_help()
        return _REFUSED
    with log_to(Console.of(options)):
        return int(_module(options.command).run(options) or 0)


def _version() -> str:
    from .. import __version__

    return __version__


def _module(name: str) -> ModuleType:
    return import_module(f".{name.replace('-', '_')}", __package__)


def _add_common(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--quiet", action="store_true", help="no progress and no notices")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _fail(error: BaseException, sentence: str, arguments: Sequence[str]) -> int:
    if "--debug" in arguments:
        traceback.print_exception(error)
    write_error(sentence)
    if isinstance(error, KeyboardInterrupt | Cancelled):
        return _STOPPED
    return _REFUSED if isinstance(error, _BAD_INPUT) else _FAILED


def _unforeseen(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if "--debug" in sys.argv:
        sys.__excepthook__(kind, error, trace)
    if issubclass(kind, KeyboardInterrupt):
        write_error("Stopped.")
        return
    write_error(f"Internal error ({kind.__name__}: {error}). Run again with --debug and report what it shows.")
