"""Camera moves without training: a clip that starts from the source picture moved by the camera.

The idea is CamTrol's (arXiv:2406.10126): noise of a middling level keeps where things lie and forgets what they do, so
a clip denoised from the noised, moved picture follows the camera while the network animates the subject. Two things
are added. The levels follow the resolution, since noise of one level hides less of a larger picture
(arXiv:2301.11093). And the camera is corrected once on the way: a rough clip is measured, each of its frames moved by
what the camera still lacks, noised a little and denoised again; the subject's own motion is in those frames already
and survives. A camera that shall stand still takes the network's own clip for a rough one, so its subject moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from ..errors import InputError, explain
from ..sampling.schedules import starting_at
from ..settings import Start
from ..types import Frames
from .blocks import SMALLEST_SIDE
from .meter import measure
from .parallax import nearness, render_parallax
from .path import CameraMotion, CameraPath, integrate
from .stack import Plan
from .virtual import render

Encode = Callable[[Tensor], Tensor]
"""Pixels `N 3 H W` in [-1, 1] -> latents `N c h w`, times the scale factor."""

# Measured on the embedded model, at 8 cells a side; a level means the same layout at so many cells as sides are long.
_START, _STEER, _CELLS = 2.0, 0.5, 8.0
_DEGREE = math.pi / 180
_PERCENT = 0.01
_STILL = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Noise in the network's sigma: put on the moved picture, and on the corrected rough clip."""

    start: float
    steer: float


def levels(height: int, width: int, freedom: float = 1.0) -> Levels:
    """Levels for latents of `height` x `width` cells; `freedom` above 1 gives the subject more and the camera less.

    Raises:
        InputError: `freedom` is not positive.
    """
    if not 0 < freedom < math.inf:
        remedy = "1 is the usual; lower follows the camera more closely, higher moves the subject more."
        raise InputError(explain("`freedom` above 0", f"{freedom:g}", remedy))
    scale = freedom * math.sqrt(height * width) / _CELLS
    return Levels(start=_START * scale, steer=_STEER * scale)


def halves(sigmas: Tensor, height: int, width: int, *, moving: bool, freedom: float = 1.0) -> tuple[Tensor, Tensor]:
    """The schedule of the rough clip, down to the second level and then to its end, and that of the fine one.

    sigmas: `S + 1`, descending to 0, as for a plain clip; a camera that does not move starts at their first. Together
    they have about as many steps as the plain schedule has below the start. Errors as in `levels`.
    """
    level, highest = levels(height, width, freedom), float(sigmas[0])
    second = min(level.steer, highest / 2)
    first = starting_at(sigmas, min(level.start, highest)) if moving else sigmas
    ending = torch.tensor([second, 0.0], dtype=sigmas.dtype)
    return torch.cat((first[first > second], ending)), starting_at(sigmas, second)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Course:
    """Where the camera shall be in one clip: the source as it then appears, and the motion to be measured in the end.

    frames: `T 3 H W` in [0, 1]. moving: whether the camera goes anywhere.
    """

    frames: Tensor
    motion: CameraMotion
    moving: bool


def chart(source: Tensor, plan: Plan, depth: Tensor | None = None) -> Course:
    """The source picture `3 H W` in [0, 1], at the clip's size, as a plan's camera sees it; frame 0 is the picture.

    depth: white is near (`nearness`); used if the plan was resolved with it.

    Raises:
        InputError: the plan has no move for the training-free way, the depth image is none, or the clip is too small
            to be measured.
    """
    if plan.planar is None:
        raise InputError(explain("a plan with a move for the training-free way", "none", "Its LoRAs carry every move."))
    height, width = source.shape[-2:]
    if min(height, width) < SMALLEST_SIDE:
        expected = f"a clip of at least {SMALLEST_SIDE} pixels a side for training-free moves"
        raise InputError(explain(expected, f"{width}x{height}", "Make the clip larger, or use a LoRA."))
    moving = _moving(plan)
    if depth is not None and plan.travel is not None:
        near = nearness(depth, height, width)
        frames = render_parallax(source, near, plan.travel, plan.planar)
        # Parallax has no exact planar part: what the meter sees in the moved picture is what it shall see in the clip.
        seen = measure(rearrange(frames, "t c h w -> t h w c")).motion if moving else plan.planar
        return Course(frames=frames, motion=seen, moving=moving)
    path = _float(integrate(plan.planar, height, width))
    return Course(frames=render(source, path, (height, width), whole=True)[0], motion=plan.planar, moving=moving)


def start_from(course: Course, encode: Encode, *, freedom: float = 1.0) -> Start | None:
    """What sampling starts from: the moved source as latents `T c h w` and its noise level; None for pure noise.

    For a sampler that must begin at its own highest sigma: predicting these latents as `denoised` while sigma is above
    the level comes to the same, since the noise then shrinks along a straight line towards them.

    Raises:
        InputError: `freedom` is not positive.
    """
    if not course.moving:
        return None
    latents = encode(course.frames * 2 - 1)
    return Start(latents=latents, sigma=levels(latents.shape[-2], latents.shape[-1], freedom).start)


def steer(rough: Frames, course: Course, encode: Encode, *, freedom: float = 1.0) -> Start:
    """The second start: the rough clip with every frame moved to where the camera should be.

    rough: the clip decoded so far, `T H W 3`. Errors as in `start_from`.
    """
    frames = corrected(rearrange(rough.pixels.float(), "t h w c -> t c h w"), course.motion)
    latents = encode(frames * 2 - 1)
    return Start(latents=latents, sigma=levels(latents.shape[-2], latents.shape[-1], freedom).steer)


def corrected(frames: Tensor, wanted: CameraMotion) -> Tensor:
    """Frames `T 3 H W` in [0, 1], each seen from where `wanted` puts the camera instead of where it was measured."""
    height, width = frames.shape[-2:]
    track = measure(rearrange(frames, "t c h w -> t h w c"))
    path = between(track.path, integrate(wanted, height, width), height, width)
    views = [
        render(frame[None], _frame(path, index), (height, width), whole=True)[0] for index, frame in enumerate(frames)
    ]
    return torch.cat(views)


def between(have: CameraPath, want: CameraPath, height: int, width: int) -> CameraPath:
    """Where the cameras of `want` are as seen from those of `have`, frame by frame, `T` each.

    In the terms of `path`: a point `p` of the wanted view lies at `p (m'/m) + (d' - d)/m` of the present one.
    """
    here, turn_here = _complex(have, height, width)
    there, turn_there = _complex(want, height, width)
    place, turn = (there - here) / turn_here, turn_there / turn_here
    return CameraPath(
        pan=place.real / (_PERCENT * width),
        tilt=-place.imag / (_PERCENT * height),
        zoom=-turn.abs().log() / _PERCENT,
        roll=turn.angle() / _DEGREE,
    )


def _complex(path: CameraPath, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Centre `d` and turn `m` of every view, in pixels, y down."""
    centre = torch.complex(path.pan * (_PERCENT * width), -path.tilt * (_PERCENT * height)).to(torch.complex128)
    return centre, torch.polar(1 / path.scale, path.roll * _DEGREE).to(torch.complex128)


def _moving(plan: Plan) -> bool:
    """Whether the camera goes anywhere; under `static` it does not."""
    planar, travel = plan.planar, plan.travel
    steps = [] if planar is None else [planar.pan, planar.tilt, planar.zoom, planar.roll]
    steps += [] if travel is None else [travel.truck, travel.pedestal, travel.dolly, travel.orbit]
    return any(float(step.abs().max()) > _STILL for step in steps)


def _frame(path: CameraPath, index: int) -> CameraPath:
    """A path of one clip and one frame."""
    pan, tilt, zoom, roll = (value[index].reshape(1, 1) for value in (path.pan, path.tilt, path.zoom, path.roll))
    return CameraPath(pan=pan, tilt=tilt, zoom=zoom, roll=roll)


def _float(path: CameraPath) -> CameraPath:
    """In float32: nothing that is drawn needs more."""
    pan, tilt, zoom, roll = (value.float() for value in (path.pan, path.tilt, path.zoom, path.roll))
    return CameraPath(pan=pan, tilt=tilt, zoom=zoom, roll=roll)
