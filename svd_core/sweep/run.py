"""The run of a plan: what is left to do goes out to an executor, what comes back goes on record at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..errors import OutputError
from .cells import Cell, cells_of
from .folder import SweepFolder, open_folder
from .jobs import Executor, Job, Outcome
from .manifest import Record
from .plan import AnimateTemplate, GraphTemplate, Plan, Template

OnRecord = Callable[["Progress", Record], None]


@dataclass(slots=True)
class Progress:
    """How far a run is: cells in all, found finished at the start, made since, failed since."""

    total: int
    kept: int
    made: int = 0
    failed: int = 0

    @property
    def left(self) -> int:
        """Cells nobody has reported on yet."""
        return self.total - self.kept - self.made - self.failed


def run_plan(
    plan: Plan,
    out: Path,
    executor: Executor,
    *,
    resume: bool = False,
    cells: Sequence[Cell] | None = None,
    on_start: Callable[[Progress], None] | None = None,
    on_record: OnRecord | None = None,
) -> Progress:
    """Make every cell that `out` does not hold yet; failed ones of an earlier run are tried again.

    A cell that fails is recorded and costs no other cell. `on_record` is told of each, after it is on disk. `cells`: of
    the plan, where the caller has them already.

    Raises:
        InputError: the folder cannot be used.
        OutputError: the disk is full; what is recorded stays.
    """
    settings = plan.template.settings if isinstance(plan.template, AnimateTemplate) else {}
    suffix = _suffix(plan.template)
    cells = cells_of(plan) if cells is None else cells
    with open_folder(out, resume=resume) as folder:
        folder.remember(plan.document())
        finished = folder.finished(cells)
        progress = Progress(total=len(cells), kept=len(finished))
        if on_start is not None:
            on_start(progress)
        missing = [cell for cell in cells if cell.key not in finished]
        jobs = (
            Job(
                cell=cell,
                settings={**settings, **cell.values},
                folder=plan.folder,
                target=folder.target(cell, suffix),
            )
            for cell in missing
        )
        with closing(executor.run(jobs)) as outcomes:
            for outcome in outcomes:
                if outcome.halt:
                    # Not the cell's fault, so nothing is recorded: the next run makes it.
                    raise OutputError(outcome.error)
                record = _recorded(folder, outcome)
                progress.made += record.status == "done"
                progress.failed += record.status == "failed"
                if on_record is not None:
                    on_record(progress, record)
    return progress


def _recorded(folder: SweepFolder, outcome: Outcome) -> Record:
    cell: Cell = outcome.job.cell
    if outcome.error is not None:
        return folder.fail(cell, outcome.error, round(outcome.seconds, 3))
    return folder.record(
        cell,
        outcome.clip or outcome.job.target,
        settings=outcome.settings,
        seconds=round(outcome.seconds, 3),
        track=outcome.track,
    )


def _suffix(template: Template) -> str | None:
    """Of the clips: mp4 unless the plan says otherwise, "" for PNG frames; None where a host's graph decides."""
    if isinstance(template, GraphTemplate):
        return None
    wanted = template.settings.get("format", "mp4")
    return "" if wanted == "png" else f".{wanted}"
