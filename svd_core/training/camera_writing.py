"""The finished camera LoRA on disk: matrices, tags, calibration, a preview beside it, and a report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ..camera.lora import CameraLora, LowRank
from ..types import Frames
from ..video_io import atomic_file, write_clip
from ..weights.lora import save_camera_lora
from .camera_moves import Target
from .camera_trials import Readings

TRAINING_KEY = "svd_studio.training"
"""The metadata entry about how a LoRA was made: one JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """All there is to write about one LoRA; `recipe` and `readings` travel inside the file.

    preview: a clip at strength 1; turned_preview: the same picture and seed at strength -1, None for static.
    """

    deltas: Mapping[str, LowRank]
    rank: int
    target: Target
    base: str
    readings: Readings
    recipe: Mapping[str, object]
    preview: Frames
    turned_preview: Frames | None


def as_lora(finished: Finished) -> CameraLora:
    """With its tags and calibration."""
    count = len(finished.deltas)
    return CameraLora(
        name=finished.target.preset,
        deltas=finished.deltas,
        dialect="ours",
        rank=finished.rank,
        alpha=finished.rank,
        total=count,
        no_effect=0,
        preset=finished.target.preset,
        base=finished.base,
        calibration=finished.readings.calibration(finished.target, finished.target.fps),
    )


def write_finished(finished: Finished, path: Path) -> Path:
    """Write the LoRA in half precision, and its preview beside it; returns the preview's path."""
    training = {**finished.recipe, "measured": scores(finished.readings, finished.target)}
    metadata = {TRAINING_KEY: json.dumps(training, separators=(",", ":"))}
    save_camera_lora(as_lora(finished), path, dtype=torch.float16, metadata=metadata)
    preview = path.with_suffix(".webp")
    write_clip(finished.preview, preview, metadata={"preset": finished.target.preset, "strength": 1.0})
    report = {"lora": path.name, "preview": preview.name, **training}
    with atomic_file(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return preview


def scores(readings: Readings, target: Target) -> list[dict[str, float]]:
    """One row a strength: amount a second along the axis, shares of clips, other axes, camera and subject motion."""
    return [
        {
            "strength": strength,
            "clips": readings.clips,
            "amount": round(readings.amount(strength, target), 4),
            "mean": round(readings.mean(strength, target.axis), 4) if target.axis else 0.0,
            "right": round(readings.right(strength, target), 4),
            "paired": round(readings.paired(strength, target), 4),
            "off_axis": round(readings.off_axis(strength, target), 4),
            "camera": round(readings.mean(strength, "camera"), 4),
            "subject": round(readings.mean(strength, "subject"), 4),
        }
        for strength in sorted(readings.by_strength)
    ]
