"""`svd bench camera`: do the camera LoRAs do what they say, on pictures and seeds nobody trained on?

Every clip of every strength is a line of a file, so the bench goes on where it was stopped and grows with `--clips`.
Two judges: our meter, and OpenCV's RANSAC fit of tracked corners where OpenCV is installed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from ..camera.adapter import Placeable
from ..camera.lora import CameraLora
from ..camera.moves import AXES
from ..metrics.verdict import STILL
from ..training.camera_clips import ClipSize
from ..training.camera_moves import target_of
from ..training.camera_shipped import PAIRED
from ..training.camera_trials import Bench, Readings, bench_for, by_meter, clips_with
from ..training.camera_writing import scores
from ..training.worlds import HELD_OUT, WorldSize, draw_clips
from ..weights.build import SvdModel
from .ransac import by_opencv, opencv_available

STRENGTHS = (0.0, 0.5, 1.0, 1.5, -1.0)
JUDGES = ("meter", "opencv")
LINES_NAME = "camera.jsonl"
_SEED = 7_777
_CHUNK = 8
# Part of the amount measured at strength 1 that the calibration is asked for.
_ASKED_PART = 0.75
_BASE, _BOTH = "base", "pan_right + zoom_in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something to render: its name in the file, and LoRAs with strengths."""

    name: str
    placed: tuple[Placeable, ...]


def cases_for(loras: Sequence[CameraLora]) -> list[Case]:
    """Strength 0 once, every LoRA at the other strengths and at a calibrated amount, and a pan with a zoom.

    A LoRA that is another's turned round shares its clips: strength s of one is strength -s of the other.
    """
    cases = {_BASE: Case(name=_BASE, placed=())}
    by_preset = {lora.preset: lora for lora in loras}
    for lora in loras:
        strengths = [1.0] if lora.preset == "static" else [*STRENGTHS[1:], *_calibrated(lora)]
        for strength in strengths:
            name = case_name(lora, strength, loras)
            cases.setdefault(name, Case(name=name, placed=((lora, strength),)))
    if "pan_right" in by_preset and "zoom_in" in by_preset:
        both = tuple((by_preset[name], 1.0) for name in ("pan_right", "zoom_in"))
        cases[_BOTH] = Case(name=_BOTH, placed=both)
    return list(cases.values())


def case_name(lora: CameraLora, strength: float, loras: Sequence[CameraLora]) -> str:
    """What the clips of a LoRA at a strength are called."""
    if not strength:
        return _BASE
    first = next((other for other in loras if other is lora or _is_turned(other, lora)), lora)
    return f"{first.preset} {strength if first is lora else -strength:.4g}"


def _is_turned(one: CameraLora, other: CameraLora) -> bool:
    return one.deltas.keys() == other.deltas.keys() and all(
        torch.equal(one.deltas[path].down, delta.down) and torch.equal(one.deltas[path].up, -delta.up)
        for path, delta in other.deltas.items()
    )


def _calibrated(lora: CameraLora) -> list[float]:
    return [] if lora.calibration is None else [lora.calibration.strength_for(asked_amount(lora))]


def asked_amount(lora: CameraLora) -> float:
    """The amount a second the calibrated row asks for: well inside the table."""
    assert lora.calibration is not None
    return _ASKED_PART * dict(lora.calibration.points)[1.0]


def run_cases(
    model: SvdModel, cases: Sequence[Case], clips: int, file: Path, tell: Callable[[int, int], None]
) -> list[dict[str, Any]]:
    """Render and judge what the file does not hold yet; returns all lines of these cases."""
    sampling = model.config.sampling
    size = ClipSize(frames=sampling.frames, height=sampling.height, width=sampling.width)
    lines = _lines(file)
    done = {(line["name"], line["clip"]) for line in lines}
    total, count = len(cases) * clips, 0
    for case in cases:
        for first in range(0, clips, _CHUNK):
            wanted = [index for index in range(first, min(clips, first + _CHUNK)) if (case.name, index) not in done]
            if wanted:
                lines += _chunk(model, case, wanted, size, file)
            count += min(clips, first + _CHUNK) - first
            tell(count, total)
    names = {case.name for case in cases}
    return [line for line in lines if line["name"] in names and line["clip"] < clips]


def _chunk(model: SvdModel, case: Case, wanted: Sequence[int], size: ClipSize, file: Path) -> list[dict[str, Any]]:
    """Neighbouring clips of a case, judged and written down."""
    bench = held_out_bench(model, size, range(wanted[0], wanted[-1] + 1))
    lines: list[dict[str, Any]] = []
    for index, clip in zip(range(wanted[0], wanted[-1] + 1), clips_with(model, case.placed, bench), strict=True):
        if index not in wanted:
            continue
        line: dict[str, Any] = {"name": case.name, "clip": index, "meter": by_meter(clip)}
        if opencv_available():
            line["opencv"] = by_opencv(clip)
        lines.append(line)
    with file.open("a", encoding="utf-8") as stream:
        stream.write("".join(json.dumps(line) + "\n" for line in lines))
    return lines


def held_out_bench(model: SvdModel, size: ClipSize, indices: range) -> Bench:
    """First frames of worlds of the evaluation's own stream; clip n has seed n."""
    world = WorldSize(frames=2, height=size.height, width=size.width)
    pictures = draw_clips(_SEED, HELD_OUT, indices, world).pixels[:, 0]
    return bench_for(model, size, pictures, batch=_CHUNK, first_seed=indices.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveResult:
    """One LoRA by one judge: scores by strength, and the calibrated amount asked for and measured, None for static."""

    preset: str
    judge: str
    rows: list[dict[str, float]]
    asked: float | None
    measured: float | None

    def row(self, strength: float) -> dict[str, float]:
        """Scores at a strength."""
        return next(row for row in self.rows if row["strength"] == strength)

    def verdicts(self) -> dict[str, bool]:
        """What a shipped move must show, by name."""
        if self.asked is None or self.measured is None:
            return {"camera below 0.3 % a frame": self.row(1.0)["camera"] < STILL}
        amounts = [self.row(strength)["amount"] for strength in (0.0, 0.5, 1.0, 1.5)]
        return {
            "paired shift": self.row(1.0)["paired"] >= PAIRED,
            "off axis under a third": self.row(1.0)["off_axis"] < 1 / 3,
            "mean rises with strength": all(a < b for a, b in pairwise(amounts)),
            "negative reverses": self.row(-1.0)["amount"] < 0,
            "calibrated within 25 %": abs(self.measured / self.asked - 1) <= 0.25,
        }


def results(lines: Sequence[Mapping[str, Any]], loras: Sequence[CameraLora], fps: float) -> list[MoveResult]:
    """The table, judge by judge; clips a judge could not read count for nothing."""
    found: list[MoveResult] = []
    for judge in JUDGES:
        by_case = _by_case(lines, judge)
        if _BASE not in by_case:
            continue
        for lora in loras:
            target = target_of(str(lora.preset), fps)
            named = {strength: case_name(lora, strength, loras) for strength in (*STRENGTHS, *_calibrated(lora))}
            readings = Readings({strength: by_case[name] for strength, name in named.items() if name in by_case})
            found.append(
                MoveResult(
                    preset=str(lora.preset),
                    judge=judge,
                    rows=scores(readings, target),
                    asked=None if lora.calibration is None else asked_amount(lora),
                    measured=next((readings.amount(strength, target) for strength in _calibrated(lora)), None),
                )
            )
    return found


def both_at_once(lines: Sequence[Mapping[str, Any]], judge: str) -> tuple[float, float] | None:
    """Mean shift of pan and zoom a second where both LoRAs are on, against none."""
    by_case = _by_case(lines, judge)
    if _BOTH not in by_case or _BASE not in by_case:
        return None
    shift = (by_case[_BOTH] - by_case[_BASE]).nanmean(dim=0)
    return float(shift[AXES.index("pan")]), float(shift[AXES.index("zoom")])


def _by_case(lines: Sequence[Mapping[str, Any]], judge: str) -> dict[str, torch.Tensor]:
    """Readings `N 6` by case, clips in order; a clip the judge lost in any case is left out of all."""
    kept = [line for line in lines if judge in line]
    lost = {line["clip"] for line in kept if any(math.isnan(value) for value in line[judge][: len(AXES)])}
    cases: dict[str, dict[int, list[float]]] = {}
    for line in kept:
        if line["clip"] not in lost:
            cases.setdefault(line["name"], {})[line["clip"]] = line[judge]
    clips = sorted(set.intersection(*(set(case) for case in cases.values()))) if cases else []
    return {name: torch.tensor([case[clip] for clip in clips]) for name, case in cases.items() if clips}


def _lines(file: Path) -> list[dict[str, Any]]:
    """What an earlier run left; a half-written last line is dropped."""
    if not file.is_file():
        return []
    lines: list[dict[str, Any]] = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines
