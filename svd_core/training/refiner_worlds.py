"""Pairs of frames out of the embedded model's worlds, with the frames between them drawn at their very times.

Soft, small and with few edges, they are what a refiner taught on sharp scenes alone was seen to harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..camera.path import CameraPath
from .moves import Move
from .refiner_scenes import TIMES, Pair
from .textures import integer, uniform
from .worlds import TRAINING, World, WorldSize, clip_generator, draw_world, render

_FRAMES = 14
# Frames of the clip from the first to the second of a pair: from every frame to motion three times too fast for it.
_MOST_GAP = 8
# The embedded model's own size, and larger ones, in which everything moves farther and is softer still.
SIZES = ((64, 64), (96, 128), (112, 160))
# Moments a frame of the clip at which its camera is known.
_MOMENTS = 240


def draw_world_pair(seed: int, index: int, split: int = TRAINING) -> Pair:
    """The pair of a seed with the given index, a function of these alone; `split` as in `clip_generator`."""
    generator = clip_generator(seed, split, index)
    height, width = SIZES[integer(generator, len(SIZES))]
    size = WorldSize(frames=_FRAMES, height=height, width=width)
    gap = 1 + integer(generator, _MOST_GAP)
    first = integer(generator, _FRAMES - gap)
    # One time in each third.
    parts = [round(gap * _MOMENTS * (third + uniform(generator, 0.05, 0.95)) / TIMES) for third in range(TIMES)]
    world = draw_world(generator, size)
    frames = glimpses(world, size, [first * _MOMENTS + part for part in (0, *parts, gap * _MOMENTS)])
    return Pair(frames[0], frames[-1], tuple(part / (gap * _MOMENTS) for part in parts), frames[1:-1])


def glimpses(world: World, size: WorldSize, moments: Sequence[int]) -> Tensor:
    """The world at any moments of its clip, counted in 240ths of a frame: `K 3 H W` in [0, 1].

    At whole frames this is what `render` draws; between them everything goes on along its own course.
    """
    path = _finely(world.move, size.frames).path((size.frames - 1) * _MOMENTS + 1, world.start)
    still = replace(size, frames=1)
    return torch.cat([(render(_stopped(world, path, size, moment), still)[0] + 1) / 2 for moment in moments])


def _stopped(world: World, path: CameraPath, size: WorldSize, moment: int) -> World:
    """The world as it is at a moment, standing still."""
    since = moment / _MOMENTS - (size.frames - 1) / 2
    now = slice(moment, moment + 1)
    state = CameraPath(pan=path.pan[now], tilt=path.tilt[now], zoom=path.zoom[now], roll=path.roll[now])
    subjects = tuple(
        replace(
            subject,
            place=(subject.place[0] + subject.velocity[0] * since, subject.place[1] + subject.velocity[1] * since),
            angle=subject.angle + subject.spin * since,
        )
        for subject in world.subjects
    )
    move = _Standing(world.move.name, (0.0, 0.0, 0.0, 0.0), 0, state=state)
    return replace(world, subjects=subjects, move=move)


@dataclass(frozen=True, slots=True)
class _Standing(Move):
    """A camera that is where it is."""

    state: CameraPath | None = None

    def path(self, frames: int, start: tuple[float, float]) -> CameraPath:
        assert self.state is not None
        return self.state


def _finely(move: Move, frames: int) -> Move:
    """The same move over as many moments as there are in `frames` frames."""
    rates = move.rates
    shake = move.shake
    if shake is not None:
        count = (frames - 1) * _MOMENTS + 1
        shake = F.interpolate(shake[None], size=count, mode="linear", align_corners=True)[0]
    slower = (rates[0] / _MOMENTS, rates[1] / _MOMENTS, rates[2] / _MOMENTS, rates[3] / _MOMENTS)
    return replace(move, rates=slower, shake=shake)
