"""The planar moves an artist can name, and how several of them become one motion of the camera.

This file decides names, signs and eases. Parallax moves, files of learnt moves and calibration build on top of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import InputError, choose_from, explain
from .path import CameraMotion

Axis = Literal["pan", "tilt", "zoom", "roll"]
AXES: tuple[Axis, ...] = get_args(Axis)

Ease = Literal["linear", "in", "out", "in-out"]
"""How speed is spread over a move's range: even, rising from rest, falling to rest, or both."""


@dataclass(frozen=True, slots=True)
class MoveKind:
    """What a name means: the axis it drives (none for static) and the sign of a positive amount."""

    axis: Axis | None
    sign: int


MOVES: dict[str, MoveKind] = {
    "static": MoveKind(None, 0),
    "pan_left": MoveKind("pan", -1),
    "pan_right": MoveKind("pan", 1),
    "tilt_up": MoveKind("tilt", 1),
    "tilt_down": MoveKind("tilt", -1),
    "zoom_in": MoveKind("zoom", 1),
    "zoom_out": MoveKind("zoom", -1),
    "roll_cw": MoveKind("roll", 1),
    "roll_ccw": MoveKind("roll", -1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraMove:
    """One named move over a range of frames.

    `amount` is a mean speed per second in the axis's unit (% of width or height, % on the log scale, degrees); a
    negative amount reverses the name. The move runs from frame `first` to frame `last`, both counted from 0; None is
    the clip's end.
    """

    name: str
    amount: float
    first: int = 0
    last: int | None = None
    ease: Ease = "linear"

    def __post_init__(self) -> None:
        if self.name not in MOVES:
            raise InputError(choose_from("camera move", self.name, MOVES))
        if self.ease not in get_args(Ease):
            raise InputError(choose_from("ease", self.ease, get_args(Ease)))


def combine(moves: Iterable[CameraMove], frames: int, fps: float) -> CameraMotion:
    """The steps `T-1` of a camera that makes all the moves at once where they overlap.

    Raises:
        InputError: a range that does not lie in the clip.
    """
    totals = {axis: torch.zeros(frames - 1, dtype=torch.float64) for axis in AXES}
    for move in moves:
        kind = MOVES[move.name]
        speeds = _steps(move, frames) * (move.amount / fps)
        if kind.axis is not None:
            totals[kind.axis] = totals[kind.axis] + kind.sign * speeds
    return CameraMotion(**totals)


def progress(ease: Ease, time: Tensor) -> Tensor:
    """Part of a move done at `time` in [0, 1]: 0 at the start, 1 at the end, never backwards."""
    if ease == "in":
        return time**2
    if ease == "out":
        return 1 - (1 - time) ** 2
    if ease == "in-out":
        return time**2 * (3 - 2 * time)
    return time


def _steps(move: CameraMove, frames: int) -> Tensor:
    """Relative speed of each step `T-1`: mean 1 over the move's range whatever its ease, 0 outside."""
    last = frames - 1 if move.last is None else move.last
    if not 0 <= move.first < last < frames:
        raise InputError(
            explain(
                f"a move's frames inside the clip's 0-{frames - 1}, the first before the last",
                f"{move.name} over {move.first}-{last}",
                "Change the move's range or the clip's length.",
            )
        )
    count = last - move.first
    steps = torch.zeros(frames - 1, dtype=torch.float64)
    done = progress(move.ease, torch.linspace(0, 1, count + 1, dtype=torch.float64))
    steps[move.first : last] = done.diff() * count
    return steps
