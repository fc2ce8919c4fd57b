"""What our own LoRA files say of themselves: the move, the model it was made for, and its measured strengths.

Read without torch and distrusted: a tag that makes no sense is left out, with a sentence about it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

from ..camera.presets import PRESETS
from ..errors import choose_from, explain

CAMERA_KEY = "svd_studio.camera"
"""The metadata entry, one JSON object: `preset`, `base`, `calibration` = {`points`, `fps`}."""

_VERSION = 1
_MOST_POINTS = 64
_LONGEST_BASE = 200
_LARGEST = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraTags:
    """`preset`, `base` and the calibration's (strength, amount) `points` at `fps`; None or empty where not said."""

    preset: str | None = None
    base: str | None = None
    points: tuple[tuple[float, float], ...] = ()
    fps: float = 0.0
    warnings: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The text of the metadata entry."""
        calibration = {"points": self.points, "fps": self.fps} if self.points else None
        tree = {"version": _VERSION, "preset": self.preset, "base": self.base, "calibration": calibration}
        return json.dumps(tree, separators=(",", ":"))


def read_tags(metadata: Mapping[str, str]) -> CameraTags | None:
    """The tags of one of our files; None for any other."""
    if CAMERA_KEY not in metadata:
        return None
    try:
        tree = json.loads(metadata[CAMERA_KEY])
    except (ValueError, RecursionError):
        tree = None
    if not isinstance(tree, dict):
        return CameraTags(warnings=("its camera tags cannot be read and are left out",))
    entries = cast("dict[str, Any]", tree)
    preset, base, warnings = entries.get("preset"), entries.get("base"), list[str]()
    if preset is not None and preset not in PRESETS:
        warnings.append(choose_from("camera preset", str(preset)[:80], PRESETS))
        preset = None
    points, fps = _calibration(entries.get("calibration"))
    if points is None:
        expected = "a calibration table of finite, rising strengths"
        warnings.append(explain(expected, "something else", "The table is left out: calibrate the file again."))
    return CameraTags(
        preset=preset,
        base=base[:_LONGEST_BASE] if isinstance(base, str) else None,
        points=points or (),
        fps=fps,
        warnings=tuple(warnings),
    )


def _calibration(value: object) -> tuple[tuple[tuple[float, float], ...] | None, float]:
    """Points and frame rate; None for points that cannot be used."""
    if value is None:
        return (), 0.0
    tree = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    fps, rows = tree.get("fps"), tree.get("points")
    if not _finite(fps) or cast("float", fps) <= 0 or not isinstance(rows, list):
        return None, 0.0
    pairs = cast("list[object]", rows)
    points: list[tuple[float, float]] = []
    for pair in pairs[:_MOST_POINTS]:
        numbers = cast("list[object]", pair) if isinstance(pair, list) else []
        if len(numbers) != 2 or not all(map(_finite, numbers)):
            return None, 0.0
        points.append((float(cast("float", numbers[0])), float(cast("float", numbers[1]))))
    rising = all(a[0] < b[0] for a, b in pairwise(points))
    return (tuple(points), float(cast("float", fps))) if points and rising else (None, 0.0)


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
