"""A start that already moves: what the flow engine draws between two pictures, under noise of a middling level."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from torch import Tensor

from ..camera.fallback import levels
from ..errors import InputError, explain
from ..interpolation import Plan, interpolate
from ..interpolation.cuts import is_cut
from ..settings import Start
from ..types import Frames

Encode = Callable[[Tensor], Tensor]
"""Pixels `N 3 H W` in [-1, 1] -> latents `N c h w`, times the scale factor."""

MOST_FREEDOM = 10.0


def check_freedom(value: float) -> float:
    """A `flow_start`: 0 for none, or how much noise, 1 being usual.

    Raises:
        InputError: out of range.
    """
    if not 0 <= value <= MOST_FREEDOM:
        remedy = "0 starts from pure noise; 1 keeps the flow's layout, more leaves the network more freedom."
        raise InputError(explain(f"`flow_start` in 0 .. {MOST_FREEDOM:g}", f"{value:g}", remedy))
    return value


def flow_start(
    pair: Tensor, frames: int, freedom: float, encode: Encode, on_frame: Callable[[int, int], None] | None = None
) -> Start | None:
    """Where a clip of `frames` between pictures `2 3 H W` in [0, 1] starts; None if no motion leads to the second.

    `on_frame` is told (done, total) after every frame drawn; an exception of it ends the work.

    The idea is SDEdit's (arXiv:2108.01073): noise of a middling level keeps where things lie, and the network draws
    them anew. Levels follow the resolution as in `camera.fallback`.
    """
    pictures = pair.movedim(1, -1).cpu()
    if is_cut(pictures[0], pictures[1]):
        return None
    plan = Plan(factor=Fraction(frames - 1))
    drawn = interpolate(Frames(pictures, Fraction(1)), plan, cut_guard="off", on_frame=on_frame).pixels
    latents = encode(drawn.movedim(-1, 1) * 2 - 1)
    return Start(latents=latents, sigma=levels(latents.shape[-2], latents.shape[-1], freedom).start)
