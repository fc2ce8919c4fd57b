"""Everything the command line prints goes through here: results to stdout, progress and notices to stderr."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from argparse import Namespace
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO, cast

from tqdm import tqdm

_LOG_INTERVAL = 10.0
_TERMINAL_INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class Console:
    """Where a command speaks; `json` keeps stdout to one JSON document, `quiet` silences stderr but for errors."""

    json: bool = False
    quiet: bool = False

    @staticmethod
    def of(options: Namespace) -> Console:
        """The console the user asked for."""
        return Console(json=bool(getattr(options, "json", False)), quiet=bool(getattr(options, "quiet", False)))

    def say(self, text: str = "") -> None:
        """A line of the result for human eyes."""
        if not self.json:
            _write(sys.stdout, text + "\n")

    def note(self, text: str) -> None:
        """A remark beside the result."""
        if not self.quiet:
            # tqdm lifts its bars out of the way of the line.
            tqdm.write(_printable(text, sys.stderr), file=sys.stderr)

    def result(self, tree: Mapping[str, object]) -> None:
        """The result for programs; nothing unless `--json` was given."""
        if self.json:
            _write(sys.stdout, to_json(tree) + "\n")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns wide enough for their words; those of numbers are right-aligned."""
        columns = list(zip(header, *rows, strict=True))
        widths = [max(map(len, column)) for column in columns]
        numeric = [all(map(_is_number, column[1:])) for column in columns]
        for row in [header, *rows]:
            cells = [
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, numeric, strict=True)
            ]
            self.say("  ".join(cells).rstrip())

    def progress(self, total: int, label: str) -> tqdm[Any]:
        """A bar on stderr, as a context manager with `update()`.

        On a terminal it moves; in a log file it is a line every ten seconds, and none for shorter work.
        """
        terminal = sys.stderr.isatty()
        return tqdm(
            total=total,
            desc=label,
            file=sys.stderr,
            disable=self.quiet,
            ascii=True,
            dynamic_ncols=True,
            leave=False,
            delay=0 if terminal else _LOG_INTERVAL,
            mininterval=_TERMINAL_INTERVAL if terminal else _LOG_INTERVAL,
        )


def show(bar: tqdm[Any], done: int, total: int, label: str = "", note: str = "") -> None:
    """Set a bar to `done` of `total`. A count that falls is the next stage's: its bar begins anew."""
    if done < bar.n:
        # Not `reset`: it prints at once, also where short work is to stay silent.
        bar.n, bar.last_print_n, bar.start_t = 0, 0, time.time()
    bar.total = total
    if label:
        bar.set_description(label, refresh=False)
    bar.set_postfix_str(note, refresh=False)
    bar.update(done - bar.n)


@contextmanager
def log_to(console: Console) -> Generator[None, None, None]:
    """Show the package's warnings (a leaner retry, frames decoded again in float32) as notes while a command runs."""
    logger = logging.getLogger(__name__.partition(".")[0])
    handler = _Notes(console)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Notes(logging.Handler):
    """A log handler that speaks through a console."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.note(record.getMessage())


def write_error(sentence: str) -> None:
    """One line on stderr, whatever the message holds."""
    _write(sys.stderr, f"svd: {' '.join(sentence.split())}\n")


def to_json(tree: object, *, indent: int | None = 2) -> str:
    """ASCII JSON; numbers that JSON has no word for (NaN, infinity) become null."""
    return json.dumps(_finite(tree), indent=indent, default=str, allow_nan=False)


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.lstrip("+-").replace(".", "").replace("e-", "").replace("e+", "").isdigit()


def _finite(tree: object) -> object:
    if isinstance(tree, float) and not math.isfinite(tree):
        return None
    if isinstance(tree, Mapping):
        return {str(key): _finite(value) for key, value in cast("Mapping[object, object]", tree).items()}
    if isinstance(tree, list | tuple):
        return [_finite(value) for value in cast("Sequence[object]", tree)]
    return tree


def _write(stream: TextIO, text: str) -> None:
    stream.write(_printable(text, stream))
    stream.flush()


def _printable(text: str, stream: TextIO) -> str:
    """Replace what the console's code page lacks: a file name must not end the program on Windows."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
