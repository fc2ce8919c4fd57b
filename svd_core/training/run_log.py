"""A run's log: one JSON line every few steps, appended, so that it outlives whatever ends the run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..video_io.atomic import output_error
from .loop import Report

LOG_NAME = "log.jsonl"
_LOG_EVERY = 20


def append_line(folder: Path, entry: Mapping[str, object]) -> None:
    """Append one line to the log in a run's folder.

    Raises:
        OutputError, InputError: the disk is full or failed; the run's state is as it was last saved.
    """
    path = folder / LOG_NAME
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise output_error(path, error) from error


@dataclass(slots=True)
class MeanLog:
    """The log of a `Loop`: every twentieth step of a stage and its last, with the mean loss since the line before."""

    folder: Path
    total: float = 0.0
    count: int = 0

    def add(self, report: Report) -> None:
        """Count a step, and write a line where one is due; errors as in `append_line`."""
        self.total += report.loss
        self.count += 1
        if report.step < report.steps and report.step % _LOG_EVERY:
            return
        entry = {
            "stage": report.stage,
            "step": report.step,
            "loss": report.loss,
            "spent": round(report.spent, 1),
            "mean_loss": self.total / self.count,
            "time": round(time.time(), 1),
        }
        append_line(self.folder, entry)
        self.total, self.count = 0.0, 0
