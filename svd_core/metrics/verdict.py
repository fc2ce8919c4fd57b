"""Did the camera do what it was asked to? A measured track beside the motion asked for, axis by axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..camera.meter import Track
from ..camera.moves import AXES, UNITS, Axis
from ..camera.path import CameraMotion
from ..errors import InputError, explain
from .report import ClipReport

Answer = Literal["yes", "weak", "no", "held", "moved", "not asked"]
STILL = 0.3
"""A camera that moves a mean pixel less than this, in % of the width a frame, is held."""

# A move is there when at least this part of it is; below the second part it is not there at all.
_CLEAR, _TRACE = 0.5, 0.15
# Asked steps smaller than this, in the axis's unit a frame, count as none.
_NOTHING = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisVerdict:
    """One axis: asked and measured mean amounts a frame, and the part of what was asked that was done.

    `part` follows the asked steps in time (the slope of measured over asked), so that a pan in the first half and none
    in the second is judged where it was wanted. None where nothing was asked of the axis.
    """

    asked: float
    measured: float
    part: float | None
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All axes, the answer over all, and the sentence that says it. `fps` turns a frame into a second."""

    axes: dict[Axis, AxisVerdict]
    answer: Answer
    sentence: str
    fps: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        axes = {
            axis: {
                "asked_per_frame": one.asked,
                "asked_per_second": one.asked * self.fps,
                "measured_per_frame": one.measured,
                "measured_per_second": one.measured * self.fps,
                "part": one.part,
                "answer": one.answer,
            }
            for axis, one in self.axes.items()
        }
        return {"answer": self.answer, "sentence": self.sentence, "axes": axes}


def verdict(track: Track, report: ClipReport, asked: CameraMotion | None, *, still: bool = False) -> Verdict:
    """Compare a track of T frames with the steps asked for, `T-1`.

    asked: None when nothing in particular was; still: a held camera was asked for.

    Raises:
        InputError: the steps are those of a clip of another length.
    """
    if asked is not None and asked.pan.shape != track.pan.shape:
        found = f"{asked.pan.shape[-1] + 1}"
        raise InputError(explain(f"a camera for {track.frames} frames", found, "Give the frames this camera made."))
    fps = float(track.fps)
    axes: dict[Axis, AxisVerdict] = {
        axis: _axis(track, axis, None if asked is None else getattr(asked, axis)) for axis in AXES
    }
    wanted: dict[Axis, AxisVerdict] = {axis: one for axis, one in axes.items() if one.part is not None}
    if not bool(track.trusted.any()):
        return Verdict(axes=axes, answer="no", sentence="The camera could not be measured on this clip.", fps=fps)
    if wanted:
        worst = _RANK[min(_RANK.index(one.answer) for one in wanted.values())]
        said = "; ".join(_say(axis, one, fps) for axis, one in wanted.items())
        return Verdict(axes=axes, answer=worst, sentence=f"{_HEADS[worst]} {said}.", fps=fps)
    held = report.camera_motion < STILL
    moving = f"camera {report.camera_motion:.2f} % of the width a frame, subject {report.subject_motion:.2f} %"
    answer: Answer = ("held" if held else "moved") if still else "not asked"
    return Verdict(axes=axes, answer=answer, sentence=f"{_HEADS[answer]} {moving}.", fps=fps)


_HEADS: dict[Answer, str] = {
    "yes": "The move is there:",
    "weak": "The move is weak:",
    "no": "The move is not there:",
    "held": "The camera is held:",
    "moved": "The camera is not held:",
    "not asked": "No move was asked for:",
}
_RANK: tuple[Answer, ...] = ("no", "weak", "yes")


def _axis(track: Track, axis: Axis, asked: Tensor | None) -> AxisVerdict:
    steps: Tensor = getattr(track, axis)[track.trusted]
    measured = float(steps.mean()) if len(steps) else 0.0
    if asked is None or float(asked.abs().max()) < _NOTHING:
        return AxisVerdict(asked=0.0, measured=measured, part=None, answer="not asked")
    wanted = asked.to(torch.float64)
    seen = wanted[track.trusted]
    part = float((steps * seen).sum() / seen.square().sum().clamp(min=_NOTHING**2)) if len(steps) else 0.0
    answer: Answer = "yes" if part >= _CLEAR else "weak" if part >= _TRACE else "no"
    return AxisVerdict(asked=float(wanted.mean()), measured=measured, part=part, answer=answer)


def _say(axis: Axis, one: AxisVerdict, fps: float) -> str:
    unit = UNITS[axis]
    done = "none of it" if one.part is None or abs(one.part) < _TRACE / 2 else f"{one.part:.0%} of it"
    return f"{axis} {one.asked * fps:+.1f} {unit} a second asked, {one.measured * fps:+.1f} measured ({done})"
