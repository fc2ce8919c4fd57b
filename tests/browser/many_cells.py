"""A finished sweep of many cells on disk, as a server would have left it; all of them share one small clip."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import torch

from svd_core.sweep.cells import cells_of
from svd_core.sweep.manifest import FILE_NAME
from svd_core.sweep.plan import load_plan
from svd_core.types import Frames
from svd_core.video_io import write_clip

FOLDER = "many"
_CLIP = "cells/one.mp4"
_ROW = 100


def many_cells(folder: Path, count: int) -> None:
    """`count` cells of two axes: nine of ten done and measured, one of twenty failed, the rest waiting."""
    if (folder / "plan.json").exists():
        return
    (folder / "cells").mkdir(parents=True)
    levels = torch.linspace(0.1, 0.9, 6).view(6, 1, 1, 1)
    write_clip(Frames(levels.expand(6, 64, 64, 3), Fraction(8)), folder / _CLIP)
    # Graphs of hosts are not needed to be looked at.
    prompt = {"1": {"class_type": "Any", "inputs": {"seed": 0, "bucket": 0}}}
    plan = {
        "version": 1,
        "name": FOLDER,
        "template": {"kind": "graph", "prompt": prompt, "bindings": {"seed": ["1", "seed"], "bucket": ["1", "bucket"]}},
        "axes": [
            {"name": "seed", "values": list(range(_ROW))},
            {"name": "bucket", "values": list(range(count // _ROW))},
        ],
        "order": "given",
    }
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    (folder / "state.json").write_text(json.dumps({"wish": "paused"}), encoding="utf-8")
    with (folder / FILE_NAME).open("w", encoding="utf-8") as stream:
        for place, cell in enumerate(cells_of(load_plan(folder / "plan.json"))):
            shared = {"cell": cell.key, "index": cell.index, "values": dict(cell.values)}
            if place < count * 9 // 10:
                track = {"motion": place % 97 / 10, "flicker": place % 31 / 100, "frames": 6, "fps": 8.0}
                record = {"status": "done", "file": _CLIP, "sha256": "0" * 64, "seconds": 1.0, "track": track}
            elif place < count * 19 // 20:
                record = {"status": "failed", "error": "Expected a picture, found a text. Take it out of the folder."}
            else:
                break
            stream.write(json.dumps(shared | record) + "\n")
