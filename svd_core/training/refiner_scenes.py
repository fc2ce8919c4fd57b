"""Pairs of frames with everything between them known: layers that slide, turn, zoom, bend and hide one another.

A scene is a function of (seed, index) alone. Every point of a layer moves at constant velocity, or along its arc where
a layer turns, so the frame at any time is exact: its pixels look up where their points came from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from . import textures
from .subjects import SHAPES, inside
from .textures import integer, uniform

TIMES = 3
_PRIME = 0x9E3779B97F4A7C15
_LEAST_MOVE, _MOST_MOVE = 0.3, 0.2
_FIXED_POINT_STEPS = 5
_MOST_SUBJECTS = 3

Course = Callable[[Tensor, float], Tensor]
"""Points `H W 2` at a time, pixels from the frame's middle, to where they were at time 0."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two frames `3 H W` in [0, 1], and the frames `K 3 H W` at `times` between them."""

    first: Tensor
    second: Tensor
    times: tuple[float, ...]
    truth: Tensor


@dataclass(frozen=True, slots=True)
class Layer:
    """A texture `3 S S`, its course, and coverage `H W` of what is cut out of it (all of it without one)."""

    texture: Tensor
    course: Course
    outline: Callable[[Tensor], Tensor] | None

    def over(self, canvas: Tensor, points: Tensor, time: float) -> Tensor:
        """The layer at a time laid over `canvas` `3 H W` at points `H W 2`."""
        home = self.course(points, time)
        colours = F.grid_sample(
            self.texture[None],
            (home / (self.texture.shape[-1] / 2))[None],
            mode="bicubic",
            padding_mode="reflection",
            align_corners=False,
        )[0]
        return colours if self.outline is None else torch.lerp(canvas, colours, self.outline(home))


def draw_pair(seed: int, index: int, height: int, width: int) -> Pair:
    """The pair of a seed with the given index."""
    generator = torch.Generator().manual_seed((seed * 4_194_304 + index) * _PRIME % 2**63)
    layers = _layers(generator, height, width)
    gain, offset = _light(generator)
    # One time in each third.
    times = tuple((third + uniform(generator, 0.05, 0.95)) / TIMES for third in range(TIMES))
    drawn = ((time, shown(layers, height, width, time)) for time in (0.0, *times, 1.0))
    frames = [(canvas * (1 + time * (gain - 1)) + time * offset).clamp(0, 1) for time, canvas in drawn]
    return Pair(frames[0], frames[-1], times, torch.stack(frames[1:-1]))


def shown(layers: Sequence[Layer], height: int, width: int, time: float) -> Tensor:
    """Layers over one another at a time, `3 H W`."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5 - height / 2, torch.arange(width) + 0.5 - width / 2, indexing="ij")
    points = torch.stack((x, y), dim=-1)
    canvas = torch.zeros(3, height, width)
    for layer in layers:
        canvas = layer.over(canvas, points, time)
    return canvas


def _layers(generator: Generator, height: int, width: int) -> list[Layer]:
    side = 2 * max(height, width)
    layers = [Layer(_texture(generator, side), _course(generator, height, width), None)]
    for _ in range(integer(generator, _MOST_SUBJECTS + 1)):
        layers.append(
            Layer(_texture(generator, side), _course(generator, height, width), _shape(generator, height, width))
        )
    if uniform(generator, 0, 1) < 0.2:
        colour = torch.rand(3, 1, 1, generator=generator).expand(3, 8, 8)
        layers.append(Layer(colour, lambda points, _: points, _title(generator, height, width)))
    return layers


def _texture(generator: Generator, side: int) -> Tensor:
    """A picture `3 side side` in [0, 1]: one of the worlds', or fine grain with flat patches, more or less sharp."""
    colours = textures.palette(generator)
    if uniform(generator, 0, 1) < 0.4:
        draw = textures.BACKGROUNDS[integer(generator, len(textures.BACKGROUNDS))]
        picture = draw(generator, colours, side, 2.0).clamp(0, 1)
    else:
        cells = 4 + integer(generator, side // 16)
        octaves = max(1, int(math.log2(side / 3 / cells)))
        planes = torch.stack([textures.fractal(generator, side, cells, octaves) for _ in range(3)])
        picture = torch.lerp(planes.mean(dim=0), planes, uniform(generator, 0.1, 1.0))
        picture = (picture - picture.amin()) / (picture.amax() - picture.amin()).clamp(min=1e-3)
        picture = patched(generator, picture, colours)
    return blurred(picture, uniform(generator, 0.5, 1.2))


def blurred(picture: Tensor, sigma: float) -> Tensor:
    """A Gaussian of `sigma` pixels over `3 S S`, edges mirrored."""
    taps = torch.exp(-0.5 * (torch.arange(-3, 4) / sigma) ** 2)
    kernel = (taps / taps.sum()).expand(3, 1, 7)
    across = F.conv2d(F.pad(picture[None], (3, 3, 3, 3), mode="reflect"), kernel[..., None, :], groups=3)
    return F.conv2d(across, kernel[..., None], groups=3)[0]


def patched(generator: Generator, picture: Tensor, colours: Tensor) -> Tensor:
    """Flat shapes strewn over a picture."""
    side = picture.shape[-1]
    for _ in range(side // 12):
        radius = uniform(generator, 3, 18)
        reach = math.ceil(1.3 * radius)
        x, y = (integer(generator, side - 2 * reach) for _ in range(2))
        offset = (torch.arange(2 * reach) + 0.5 - reach) / radius
        local = torch.stack(torch.meshgrid(offset, offset, indexing="xy"), dim=-1)
        cover = (inside(integer(generator, len(SHAPES)), local) * radius + 0.5).clamp(0, 1)
        window = picture[:, y : y + 2 * reach, x : x + 2 * reach]
        shade = colours[integer(generator, 4)] if integer(generator, 2) else torch.rand(3, generator=generator)
        window.copy_(torch.lerp(window, shade[:, None, None].expand_as(window), cover))
    return picture


def _course(generator: Generator, height: int, width: int) -> Course:
    """A straight move of random length, often with a turn and a zoom, sometimes with a bend."""
    span = min(height, width)
    length = math.exp(uniform(generator, math.log(_LEAST_MOVE), math.log(_MOST_MOVE * span)))
    heading = uniform(generator, 0, 2 * math.pi)
    step = torch.tensor([math.cos(heading), math.sin(heading)]) * (0.0 if integer(generator, 8) == 0 else length)
    turning = uniform(generator, 0, 1) < 0.5
    angle = math.radians(uniform(generator, -10, 10)) if turning else 0.0
    growth = uniform(generator, -0.15, 0.15) if turning else 0.0
    bend = _bend(generator, span) if uniform(generator, 0, 1) < 0.35 else None

    def home(points: Tensor, time: float) -> Tensor:
        turn, scale = -angle * time, math.exp(-growth * time)
        cosine, sine = math.cos(turn) * scale, math.sin(turn) * scale
        matrix = torch.tensor([[cosine, -sine], [sine, cosine]])
        ends = (points - step * time) @ matrix.T
        if bend is None:
            return ends
        # A point starts where its own bend, not that of the place it reaches, carries it from.
        starts = ends
        for _ in range(_FIXED_POINT_STEPS):
            starts = ends - time * bend(starts)
        return starts

    return home


def _bend(generator: Generator, span: int) -> Callable[[Tensor], Tensor]:
    """A smooth field of moves over points `H W 2`, gentle enough that it never folds."""
    waves: list[tuple[Tensor, Tensor, float]] = []
    for _ in range(3):
        length, heading = uniform(generator, 0.6, 1.6) * span, uniform(generator, 0, 2 * math.pi)
        frequency = torch.tensor([math.cos(heading), math.sin(heading)]) * (2 * math.pi / length)
        strength = torch.randn(2, generator=generator) * 0.012 * length
        waves.append((frequency, strength, uniform(generator, 0, 2 * math.pi)))
    return lambda points: sum(
        (torch.sin(points @ frequency + phase)[..., None] * strength for frequency, strength, phase in waves),
        torch.zeros_like(points),
    )


def _shape(generator: Generator, height: int, width: int) -> Callable[[Tensor], Tensor]:
    """Coverage `H W` of a shape somewhere in the frame, its edge one pixel wide."""
    kind, radius = integer(generator, len(SHAPES)), uniform(generator, 0.1, 0.35) * min(height, width)
    centre = torch.tensor([uniform(generator, -0.35, 0.35) * width, uniform(generator, -0.35, 0.35) * height])
    angle = uniform(generator, 0, 2 * math.pi)
    matrix = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / radius
    return lambda points: (inside(kind, (points - centre) @ matrix.T) * radius + 0.5).clamp(0, 1)


def _title(generator: Generator, height: int, width: int) -> Callable[[Tensor], Tensor]:
    """Coverage of a few strokes in a row, as letters have them."""
    stroke, size = uniform(generator, 1.0, 4.0), uniform(generator, 8, 20)
    left, middle = uniform(generator, -0.4, 0.0) * width, uniform(generator, -0.4, 0.4) * height
    kinds = [SHAPES[integer(generator, len(SHAPES))] for _ in range(2 + integer(generator, 4))]

    def coverage(points: Tensor) -> Tensor:
        total = torch.zeros(points.shape[:-1])
        for place, kind in enumerate(kinds):
            local = (points - torch.tensor([left + place * 1.6 * size, middle])) * 2 / size
            edge = inside(SHAPES.index(kind), local) * size / 2
            total = torch.maximum(total, (stroke / 2 + 0.5 - (edge - stroke / 2).abs()).clamp(0, 1))
        return total

    return coverage


def _light(generator: Generator) -> tuple[float, float]:
    """Gain and offset of the second frame's light against the first's; mostly none."""
    if uniform(generator, 0, 1) > 0.12:
        return 1.0, 0.0
    return uniform(generator, 0.75, 1.2), uniform(generator, -0.05, 0.05)
