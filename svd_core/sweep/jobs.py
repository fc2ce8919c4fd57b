"""What passes between the one process that keeps the record and those that make clips."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .cells import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A cell to be made: every setting it has, what relative paths among them start in, and where its clip goes.

    The target of a graph's cell has no suffix yet.
    """

    cell: Cell
    settings: Mapping[str, Any]
    folder: Path
    target: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a job: an error, or a clip (None: at the job's target) with its settings and track.

    `halt`: the error is that of the disk, and would be that of every other cell.
    """

    job: Job
    seconds: float
    clip: Path | None = None
    settings: Mapping[str, Any] | None = None
    track: Mapping[str, Any] | None = None
    error: str | None = None
    halt: bool = False


Render = Callable[[Job], Outcome]
"""Makes one clip. What goes wrong with the cell is in the outcome; what it raises ends the worker."""

MakeRender = Callable[[str], Render]
"""Given a device, gets ready to render; a function of a module, so that another process can import it."""


class Executor(Protocol):
    """Whoever makes clips: processes of this machine, servers, a cluster."""

    def run(self, jobs: Iterable[Job]) -> Generator[Outcome, None, None]:
        """Outcomes in the order they come; every job has exactly one. Closing the iterator stops the work."""
        ...
