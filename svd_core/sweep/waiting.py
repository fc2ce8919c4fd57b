"""Jobs nobody works on yet, and those whose worker has died."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ..errors import explain
from .jobs import Job, Outcome

# A cell that takes its worker down twice does so by itself.
TRIES = 2


class Waiting:
    """Jobs in their order; those a worker died of come first."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)
        self._returned: deque[Job] = deque()
        self._tries: dict[str, int] = {}

    def next(self) -> Job | None:
        """The next job, None if there is none left."""
        return self._returned.popleft() if self._returned else next(self._jobs, None)

    def again(self, job: Job, found: str) -> Outcome | None:
        """Take a job back from a dead worker; `found` says how it died. An outcome if it has had its chances."""
        tries = self._tries[job.cell.key] = self._tries.get(job.cell.key, 0) + 1
        if tries < TRIES:
            self._returned.append(job)
            return None
        remedy = "Look at its settings; less memory is needed with a smaller size or fewer frames."
        return Outcome(job=job, seconds=0.0, error=explain("a clip", f"{found}, {TRIES} times", remedy))
