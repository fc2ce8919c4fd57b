"""A sweep on disk to draw sheets of."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from svd_core.sweep.manifest import Manifest, Record
from svd_core.types import Frames
from svd_core.video_io import write_clip

SHADES = {0: 0.2, 1: 0.5, 2: 0.9}


def sweep_folder(folder: Path, *, plan: bool = True) -> Path:
    """2 x 3 cells: one failed, one never made; each clip is a plain grey that tells its seed."""
    (folder / "cells").mkdir(parents=True)
    manifest = Manifest(folder / "manifest.jsonl")
    for index, (image, seed) in enumerate([("a.png", 0), ("a.png", 1), ("a.png", 2), ("b.png", 0), ("b.png", 1)]):
        values: dict[str, Any] = {"image": image, "seed": seed}
        if index == 3:
            manifest.append(Record(cell=str(index), index=index, status="failed", values=values, error="<no> picture"))
            continue
        clip = folder / f"cells/{index}.webp"
        ramp = torch.linspace(0, 0.1, 4)[:, None, None, None]
        write_clip(Frames((SHADES[seed] + ramp).expand(4, 24, 32, 3), Fraction(8)), clip)
        track = {"per_second": {"pan": -3.0, "tilt": 1.0}, "motion": 0.5}
        manifest.append(
            Record(cell=str(index), index=index, status="done", values=values, file=f"cells/{index}.webp", track=track)
        )
    if plan:
        axes = [{"name": "image", "values": ["a.png", "b.png"]}, {"name": "seed", "count": 3}]
        document = {"version": 1, "name": "test", "template": {"kind": "animate"}, "axes": axes}
        (folder / "plan.json").write_text(json.dumps(document))
    return folder
