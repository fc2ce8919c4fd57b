"""The classes of motion a refiner is judged by before it ships: sharp scenes of one kind each, as exact as can be.

Sizes and ranges are those of the acceptance table of the flow engine; a refiner is not taught on these.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from . import textures
from .refiner_scenes import Course, Layer, Pair, blurred, patched, shown
from .textures import uniform

CLASSES = ("translate", "zoom", "rotate", "large", "occlude", "occlude large")
SIZE = (256, 448)
TIMES = (0.25, 0.5, 0.75)
# Pixels of the background, and of a subject in front, over a frame 256 pixels high.
_BEHIND = {"translate": (4, 14), "large": (30, 48), "occlude": (2, 6), "occlude large": (2, 6)}
_IN_FRONT = {"occlude": (10, 20), "occlude large": (30, 45)}
_SHARP = 0.7
_OCTAVES, _FINEST = 6, 4
_PRIME = 0x9E3779B97F4A7C15


def draw_class_pair(kind: str, seed: int, index: int, height: int, width: int) -> Pair:
    """The pair of a class in `CLASSES`, a function of these alone."""
    place = CLASSES.index(kind)
    generator = torch.Generator().manual_seed(((seed * 4_194_304 + index) * len(CLASSES) + place) * _PRIME % 2**63)
    unit, side = min(height, width) / 256, 2 * max(height, width)
    if kind in _BEHIND:
        layers = [Layer(_grain(generator, side), _straight(generator, *_BEHIND[kind], unit), None)]
    else:
        layers = [Layer(_grain(generator, side), _turning(generator, kind), None)]
    if kind in _IN_FRONT:
        course = _straight(generator, *_IN_FRONT[kind], unit)
        layers.append(Layer(_grain(generator, side), course, _star(generator, height, width)))
    frames = [shown(layers, height, width, time).clamp(0, 1) for time in (0.0, *TIMES, 1.0)]
    return Pair(frames[0], frames[-1], TIMES, torch.stack(frames[1:-1]))


def _grain(generator: Generator, side: int) -> Tensor:
    """A picture `3 side side` in [0, 1] with detail down to four pixels, and flat shapes strewn over it."""
    total = torch.zeros(3, side, side)
    for octave in range(_OCTAVES):
        cells = max(2, side // _FINEST >> octave)
        planes = torch.stack([textures.noise(generator, side, cells) for _ in range(3)])
        total += (planes - 0.5) * 0.75 ** (_OCTAVES - 1 - octave)
    picture = (total - total.amin()) / (total.amax() - total.amin()).clamp(min=1e-3)
    return blurred(patched(generator, picture, textures.palette(generator)), _SHARP)


def _straight(generator: Generator, least: float, most: float, unit: float) -> Course:
    length, heading = unit * uniform(generator, least, most), uniform(generator, 0, 2 * math.pi)
    step = torch.tensor([math.cos(heading), math.sin(heading)]) * length
    return lambda points, time: points - step * time


def _turning(generator: Generator, kind: str) -> Course:
    sign = 1 if uniform(generator, 0, 1) < 0.5 else -1
    growth = sign * uniform(generator, 0.06, 0.14) if kind == "zoom" else 0.0
    angle = math.radians(sign * uniform(generator, 4, 9)) if kind == "rotate" else 0.0

    def home(points: Tensor, time: float) -> Tensor:
        scale, turn = math.exp(-growth * time), -angle * time
        rows = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
        return points @ (scale * torch.tensor(rows)).T

    return home


def _star(generator: Generator, height: int, width: int) -> Callable[[Tensor], Tensor]:
    """Coverage `H W` of a star-shaped blob near the middle, its edge one pixel wide."""
    radius = height * uniform(generator, 0.2, 0.28)
    centre = torch.tensor([uniform(generator, -0.1, 0.1) * width, uniform(generator, -0.1, 0.1) * height])
    waves = [(k, uniform(generator, 0.03, 0.12), uniform(generator, 0, 2 * math.pi)) for k in (2, 3, 5)]

    def coverage(points: Tensor) -> Tensor:
        away = points - centre
        angle = torch.atan2(away[..., 1], away[..., 0])
        edge = torch.ones_like(angle)
        for count, size, phase in waves:
            edge += size * torch.cos(count * angle + phase)
        return (radius * edge - away.norm(dim=-1) + 0.5).clamp(0, 1)

    return coverage
