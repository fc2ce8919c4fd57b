"""One job in a worker, wherever that runs: what goes wrong with the cell becomes its outcome."""

from __future__ import annotations

import time

from ..errors import OutputError, SvdError
from .jobs import Job, Outcome, Render


def outcome_of(render: Render, job: Job) -> Outcome:
    """Make a clip; anything but an `SvdError` ends the worker."""
    started = time.perf_counter()
    try:
        return render(job)
    except SvdError as error:
        seconds = time.perf_counter() - started
        return Outcome(job=job, seconds=seconds, error=str(error), halt=isinstance(error, OutputError))
