"""What every training run is asked alike: where to, how long, on what, from which seed; and the refusals of that."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import FileFormatError, InputError, explain
from ..video_io.atomic import check_writable

PLAN_NAME = "plan.json"
"""What a run set out to do, beside its state."""
STATE_NAME, REFINER_STATE_NAME = "state.pt", "refiner.pt"
STATES = (STATE_NAME, REFINER_STATE_NAME)
"""What runs go on from, by kind; no two kinds share a folder, whose log and scores would get mixed."""
_MOST_MINUTES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """`out` is a folder: the run's state and log land there, and what comes of it.

    Give `steps`, or `minutes` of computing, or neither for the recipe's own length. `resume` goes on with the run in
    the folder. `threads` are a processor's; None leaves PyTorch's setting alone.
    """

    out: Path
    steps: int | None = None
    minutes: float | None = None
    device: str = "cpu"
    threads: int | None = 1
    resume: bool = False
    seed: int = 0

    def check(self, *marks: str) -> None:
        """Refuse what no run can be made of before anything is computed; makes the folder.

        marks: names of files, any of which tells that a run was begun in the folder.

        Raises:
            InputError: numbers out of range, steps and minutes together, a run in a folder that was to be new, one of
                another kind, none to resume, or a folder that cannot be written to.
            OutputError: the disk is full.
        """
        if self.steps is not None and self.minutes is not None:
            raise InputError(explain("--steps or --minutes", "both", "Give one of them."))
        if self.steps is not None and self.steps < 1:
            raise InputError(explain("at least one training step", str(self.steps), "Ask for more steps."))
        if self.minutes is not None and not 0 < self.minutes <= _MOST_MINUTES:
            expected = f"a positive number of minutes, at most {_MOST_MINUTES}"
            raise InputError(explain(expected, f"{self.minutes:g}", "Give e.g. --minutes 30."))
        if self.threads is not None and self.threads < 1:
            raise InputError(explain("at least one thread", str(self.threads), "Give e.g. --threads 1."))
        if any((self.out / state).is_file() for state in STATES if state not in marks):
            found = f"a run of another kind in {self.out}"
            raise InputError(explain("a training folder of its own", found, "Choose another."))
        begun = any((self.out / mark).is_file() for mark in marks)
        if begun and not self.resume:
            remedy = "Add --resume to continue it, or choose another."
            raise InputError(explain("an empty training folder", f"a run in {self.out}", remedy))
        if self.resume and not begun:
            raise InputError(explain(f"a run to resume in {self.out}", "none", "Start without --resume."))
        check_writable(self.out / marks[0])

    def set_threads(self) -> None:
        """Compute with so many threads from now on, in the whole process."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)


def planned_steps(path: Path) -> int:
    """The steps that a run's plan of one stage set out to make.

    Raises:
        FileFormatError: the file is damaged.
    """
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["steps"])
    except (ValueError, KeyError, TypeError) as error:
        remedy = "Delete it, and give --steps as before with --resume."
        raise FileFormatError(explain("a training plan", f"damage in {path}", remedy)) from error
