"""What the lines of `svd bench camera` say: scores a LoRA, a camera and a curve, judge by judge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor

from ..camera.curves import speeds
from ..camera.lora import CameraLora
from ..camera.move import Move
from ..camera.moves import AXES, Axis
from ..camera.presets import find_preset
from ..metrics.verdict import STILL
from ..training.camera_moves import target_of
from ..training.camera_shipped import PAIRED, SUBJECT
from ..training.camera_trials import COLUMNS, Readings
from ..training.camera_writing import scores
from .camera_bench import JUDGES
from .camera_cases import BASE, EVEN, STRENGTHS, Case, asked_amount, calibrated, case_name

Lines = Sequence[Mapping[str, Any]]
# What moves without a LoRA must show.
_RIGHT = 0.8
# A curve that is followed.
_FOLLOWED = 0.8


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
            return {
                "camera below 0.3 % a frame": self.row(1.0)["camera"] < STILL,
                "subject moves half as much as without": self.row(1.0)["subject"] >= SUBJECT * self.row(0.0)["subject"],
            }
        amounts = [self.row(strength)["amount"] for strength in (0.0, 0.5, 1.0, 1.5)]
        return {
            "paired shift": self.row(1.0)["paired"] >= PAIRED,
            "off axis under a third": self.row(1.0)["off_axis"] < 1 / 3,
            "mean rises with strength": all(a < b for a, b in pairwise(amounts)),
            "negative reverses": self.row(-1.0)["amount"] < 0,
            "calibrated within 25 %": abs(self.measured / self.asked - 1) <= 0.25,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StackResult:
    """One move of a camera by one judge, on clips held against the same picture and seed without a camera.

    asked, shift: amount a second, positive in the preset's own direction. right, pushed: share of clips that went that
    way, and that went farther that way than without; for static, `right` is the share below 0.3 % a frame. camera: mean
    length of its displacement, % of the width a frame. subject: the subject's motion over the plain run's, the median.
    """

    name: str
    preset: str
    judge: str
    clips: int
    asked: float
    shift: float
    right: float
    pushed: float
    camera: float
    subject: float

    def verdicts(self) -> dict[str, bool]:
        """What it must show, by name."""
        found = {"right way in 80 %": self.right >= _RIGHT, "subject moves half as much": self.subject >= SUBJECT}
        return {"camera below 0.3 % a frame": self.camera < STILL, **found} if self.preset == "static" else found


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveResult:
    """A strength that changes over the frames by one judge: speeds asked for and measured, % of the width a frame.

    correlation: of the mean measured steps with the asked ones. changed: of what the curve changed, against the same
    move with one strength throughout, with what it was to change: the model's own habit of slowing down does not count.
    """

    name: str
    judge: str
    clips: int
    asked: list[float]
    measured: list[float]
    correlation: float
    changed: float

    def verdicts(self) -> dict[str, bool]:
        """What it must show, by name."""
        return {"speed follows the curve": self.changed >= _FOLLOWED}


def move_results(lines: Lines, loras: Sequence[CameraLora], fps: float) -> list[MoveResult]:
    """Every LoRA judge by judge; clips a judge could not read count for nothing."""
    found: list[MoveResult] = []
    for judge in JUDGES:
        for lora in loras:
            levels = (0.0, 1.0) if lora.preset == "static" else (*STRENGTHS, *calibrated(lora))
            named = {strength: case_name(lora, strength, loras) for strength in levels}
            read = _read(lines, judge, list(dict.fromkeys(named.values())))
            if read is None:
                continue
            target = target_of(str(lora.preset), fps)
            readings = Readings({strength: read[name] for strength, name in named.items()})
            found.append(
                MoveResult(
                    preset=str(lora.preset),
                    judge=judge,
                    rows=scores(readings, target),
                    asked=None if lora.calibration is None else asked_amount(lora),
                    measured=next((readings.amount(strength, target) for strength in calibrated(lora)), None),
                )
            )
    return found


def stack_results(lines: Lines, cases: Sequence[Case]) -> list[StackResult]:
    """Every move of every camera that is no curve, judge by judge."""
    found: list[StackResult] = []
    for judge in JUDGES:
        for case in cases:
            read = None if case.stack is None or case.curved else _read(lines, judge, [BASE, case.name])
            if case.stack is not None and read is not None:
                found += [
                    _stack_result(case.name, move, judge, read[BASE], read[case.name]) for move in case.stack.moves
                ]
    return found


def curve_results(lines: Lines, cases: Sequence[Case], fps: float) -> list[CurveResult]:
    """Every curve, judge by judge."""
    found: list[CurveResult] = []
    curved = {case.name: case.stack.moves[0] for case in cases if case.curved and case.stack is not None}
    for judge in JUDGES:
        for name, move in curved.items():
            key = f"{judge} steps"
            kept: dict[str, dict[int, list[float]]] = {name: {}, EVEN: {}}
            for line in lines:
                if line["name"] in kept and key in line:
                    kept[line["name"]][line["clip"]] = line[key]
            clips = sorted(kept[name].keys() & kept[EVEN].keys())
            if name == EVEN or not clips:
                continue
            mean, even = (torch.tensor([kept[one][clip] for clip in clips]).double().mean(0) for one in (name, EVEN))
            wanted, throughout = (_wanted(one, len(mean), fps) for one in (move, curved[EVEN]))
            found.append(
                CurveResult(
                    name=name,
                    judge=judge,
                    clips=len(clips),
                    asked=wanted.tolist(),
                    measured=mean.tolist(),
                    correlation=_correlation(mean, wanted),
                    changed=_correlation(mean - even, wanted - throughout),
                )
            )
    return found


def _wanted(move: Move, steps: int, fps: float) -> Tensor:
    """Speeds asked for, a frame."""
    return speeds(steps + 1, move.frames, move.ease) * (move.speed / fps)


def _stack_result(name: str, move: Move, judge: str, plain: Tensor, made: Tensor) -> StackResult:
    preset = find_preset(str(move.preset))
    camera, subject = made[:, COLUMNS.index("camera")], made[:, COLUMNS.index("subject")]
    ratio = subject / plain[:, COLUMNS.index("subject")].clamp(min=1e-6)
    right, pushed, shift = camera < STILL, camera <= plain[:, COLUMNS.index("camera")] + STILL / 10, torch.zeros(1)
    if preset.channel is not None:
        axis = AXES.index(cast("Axis", preset.channel))
        along, before = made[:, axis] * preset.sign, plain[:, axis] * preset.sign
        right, pushed, shift = along > 0, along > before, along - before
    return StackResult(
        name=name,
        preset=str(move.preset),
        judge=judge,
        clips=len(made),
        asked=0.0 if preset.channel is None else move.speed,
        shift=float(shift.mean()),
        right=float(right.float().mean()),
        pushed=float(pushed.float().mean()),
        camera=float(camera.mean()),
        subject=float(ratio.median()),
    )


def _read(lines: Lines, judge: str, names: Sequence[str]) -> dict[str, Tensor] | None:
    """Readings `N 6` of cases on the clips they all have and the judge lost in none; None where there is no such."""
    cases: dict[str, dict[int, list[float]]] = {name: {} for name in names}
    for line in lines:
        if line["name"] in cases and judge in line and not any(math.isnan(value) for value in line[judge]):
            cases[line["name"]][line["clip"]] = line[judge]
    clips = sorted(set.intersection(*(set(case) for case in cases.values())))
    return {name: torch.tensor([case[clip] for clip in clips]) for name, case in cases.items()} if clips else None


def _correlation(one: Tensor, other: Tensor) -> float:
    """Pearson's; 0 where one does not change at all."""
    if float(one.std()) < 1e-9 or float(other.std()) < 1e-9:
        return 0.0
    return float(torch.corrcoef(torch.stack((one.double(), other.double())))[0, 1])
