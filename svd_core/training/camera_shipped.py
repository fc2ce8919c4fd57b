"""The camera LoRAs that ship with the embedded model: one run an axis, both directions of it, and a test to pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..camera.presets import find_preset
from ..video_io import atomic_file
from ..weights.build import SvdModel
from .camera import CameraTrainOptions, begun, train_camera
from .camera_layers import turned
from .camera_moves import Target, target_of
from .camera_trials import Readings
from .camera_watch import Tell
from .camera_writing import Finished, scores, write_finished

SHIPPED = ("pan_right", "tilt_up", "static")
"""What is trained, at the trainer's defaults; the opposite of each comes with it. Zoom and roll fail: see README.md."""
ON_MODEL = 0.15
"""Work of one run relative to the embedded model's own training."""
FOLDER, TABLE_NAME = "shipped", "camera.json"
PAIRED, SUBJECT = 0.97, 0.5
"""A move that pushes less than this share of the clips the asked way, at strength 1, is not shipped, nor a held camera
that leaves the subject less than this share of its motion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedMove:
    """One preset: its file, None where the test was failed, and its scores by strength."""

    preset: str
    file: Path | None
    scores: list[dict[str, float]]


def train_shipped(
    options: CameraTrainOptions,
    tell: Tell | None = None,
    *,
    presets: Sequence[str] = SHIPPED,
    model: SvdModel | None = None,
) -> list[ShippedMove]:
    """Train every preset and its opposite from drawn worlds into `out/shipped`, and write the table of their scores.

    options: `preset` is not looked at; each run has a folder of its own in `out`. With `resume` those that were begun
    go on, and finished ones are only measured again. Errors as in `train_camera`.
    """
    folder = options.out / FOLDER
    moves: list[ShippedMove] = []
    for preset in presets:
        place = options.out / preset
        resume = options.resume and begun(place)
        done = train_camera(replace(options, preset=preset, out=place, resume=resume), tell, model=model).finished
        moves += [_ship(finished, folder) for finished in _both(done)]
    table = {move.preset: {"shipped": move.file is not None, "scores": move.scores} for move in moves}
    with atomic_file(folder / TABLE_NAME) as temporary:
        temporary.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return moves


def passes(readings: Readings, target: Target) -> bool:
    """Whether a LoRA does at strength 1 what its name says."""
    moved = readings.mean(1.0, "subject") >= SUBJECT * readings.mean(0.0, "subject")
    return readings.paired(1.0, target) >= PAIRED and (target.axis is not None or moved)


def _both(finished: Finished) -> list[Finished]:
    """The move and its opposite, which is the same LoRA turned round."""
    opposite = find_preset(finished.target.preset).opposite
    if opposite is None or finished.turned_preview is None:
        return [finished]
    other = replace(
        finished,
        target=target_of(opposite, finished.target.fps, finished.target.reference),
        deltas=turned(finished.deltas),
        readings=finished.readings.turned(),
        preview=finished.turned_preview,
        turned_preview=finished.preview,
    )
    return [finished, other]


def _ship(finished: Finished, folder: Path) -> ShippedMove:
    preset = finished.target.preset
    path = folder / f"{preset}.safetensors"
    rows = scores(finished.readings, finished.target)
    if not passes(finished.readings, finished.target):
        for leftover in folder.glob(f"{preset}.*"):
            leftover.unlink()
        return ShippedMove(preset=preset, file=None, scores=rows)
    write_finished(finished, path)
    return ShippedMove(preset=preset, file=path, scores=rows)
