"""What happens between the steps of a run: the log, sample clips with their measured track, and the early stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..video_io import write_clip
from .camera_loop import CameraReport, CameraTrainer
from .camera_moves import Target
from .camera_trials import Bench, Readings, clips_with, read
from .run_log import append_line
from .sampler import Model

Tell = Callable[[str, int, int, float | None], None]
"""Told what is being done, how far, of how much, and the loss where there is one; may raise to stop."""

_LOG_EVERY = 10
_CHECKS = 5
# Two checks in a row within this of the asked speed, and the other axes below this share, are enough.
_REACHED, _CLEAN = 0.9, 1 / 3


class Watcher:
    """Called after every step; returns whether to stop."""

    def __init__(
        self,
        trainer: CameraTrainer,
        model: Model,
        target: Target,
        bench: Bench,
        folder: Path,
        *,
        early_stop: bool,
        tell: Tell,
    ) -> None:
        self._trainer, self._model, self._target, self._bench, self._folder = trainer, model, target, bench, folder
        self._early_stop, self._tell = early_stop, tell
        self._losses: list[float] = []
        self.notes: list[str] = []

    def __call__(self, report: CameraReport) -> bool:
        """Log, tell, and every fifth of the run look at samples."""
        self._losses.append(report.loss)
        last = report.step == report.steps
        self._tell("training", report.step, report.steps, report.loss)
        check = self._early_stop and not last and report.step % max(1, report.steps // _CHECKS) == 0
        found = self._look(report) if check else None
        if found is not None or last or report.step % _LOG_EVERY == 0:
            self._log(report, found)
        return self.reached(report.step)

    def _look(self, report: CameraReport) -> Readings:
        """Try the averaged LoRA, write a sample, remember what the meter said."""
        lora = self._trainer.lora
        readings = read(self._model, lambda strength: [(lora, strength)], (1.0,), self._bench)
        amount, off = readings.amount(1.0, self._target), readings.off_axis(1.0, self._target)
        self._trainer.history.append([float(report.step), amount, off])
        clip = next(clips_with(self._model, [(lora, 1.0)], self._bench))
        write_clip(clip, self._folder / "samples" / f"{report.step:05d}.webp", metadata={"measured": amount})
        return readings

    def reached(self, step: int) -> bool:
        """Whether an early stop ends the run at a step, where the second of two good checks must have been made."""
        checks = self._trainer.history[-2:]
        if not self._early_stop or self._target.axis is None or len(checks) < 2 or checks[-1][0] != step:
            return False
        good = all(amount >= _REACHED * self._target.reference and off <= _CLEAN for _, amount, off in checks)
        if good:
            self.notes.append(f"Stopped at step {step}: the meter read the asked speed twice.")
        return good

    def _log(self, report: CameraReport, found: Readings | None) -> None:
        mean = sum(self._losses) / len(self._losses)
        entry: dict[str, float] = {"step": report.step, "loss": mean, "spent": round(report.spent, 1)}
        if found is not None:
            entry |= {"amount": found.amount(1.0, self._target), "off_axis": found.off_axis(1.0, self._target)}
        self._losses.clear()
        append_line(self._folder, entry)
