"""The planar moves an artist can name, and how several of them become one motion of the camera.

This file decides names and signs. Parallax moves, files of learnt moves and joins build on top of it: `stack`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from ..errors import InputError, choose_from
from .curves import EaseName as Ease
from .curves import check_ease, speeds
from .path import CameraMotion

Axis = Literal["pan", "tilt", "zoom", "roll"]
AXES: tuple[Axis, ...] = get_args(Axis)


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
        check_ease(self.ease)


def combine(moves: Iterable[CameraMove], frames: int, fps: float) -> CameraMotion:
    """The steps `T-1` of a camera that makes all the moves at once where they overlap.

    Raises:
        InputError: a range that does not lie in the clip.
    """
    totals = {axis: torch.zeros(frames - 1, dtype=torch.float64) for axis in AXES}
    for move in moves:
        kind = MOVES[move.name]
        span = move.first, frames - 1 if move.last is None else move.last
        steps = speeds(frames, span, move.ease) * (move.amount / fps)
        if kind.axis is not None:
            totals[kind.axis] = totals[kind.axis] + kind.sign * steps
    return CameraMotion(**totals)
